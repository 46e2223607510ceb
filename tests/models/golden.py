"""Official outputs, keys and counts, and the comparisons that architectures' tests share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paca_bench.models.registry import create_model
from tests.fill import fill, image_input

DATA = Path(__file__).parents[1] / "data" / "golden"
# The float32 bar; in float64 the logits and statistics agree to the last few bits.
ATOL = {torch.float32: 2e-5, torch.float64: 1e-9}


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{name}.npz") as archive:
        return dict(archive)


def measured() -> dict[str, dict[str, dict[str, int]]]:
    """Model -> ``HxW`` -> exact ``macs`` and ``params``."""
    return json.loads((DATA / "measured.json").read_text())


def assert_official_keys(module: nn.Module, name: str) -> None:
    """All entries of the state dict, buffers included, in the official order."""
    official = [tuple(row) for row in json.loads((DATA / f"{name}.keys.json").read_text())]
    state = module.state_dict().items()
    own = [(k, list(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in state]
    assert own == official


def assert_golden(
    name: str, size: str, dtype: torch.dtype, rows: Sequence[str], **options: Any
) -> None:
    """Logits, and statistics and samples of the tokens that the modules ``rows`` give."""
    expected = golden(name)
    height, width = map(int, size.split("x"))
    model = create_model(name, **options)
    fill(model)
    model = model.to(dtype).eval()
    outputs: dict[str, Tensor] = {}
    for row in rows:
        model.get_submodule(row).register_forward_hook(_keep(outputs, row))
    with torch.no_grad():
        logits = model(image_input(height, width).to(dtype))
    atol = ATOL[dtype]
    np.testing.assert_allclose(logits, expected[f"logits64_{size}"], rtol=0, atol=atol)
    for row, stats, sample in zip(
        rows, expected[f"stats_{size}"], expected[f"sample_{size}"], strict=True
    ):
        tokens = outputs[row]
        np.testing.assert_allclose(statistics(tokens), stats, rtol=0, atol=5 * atol)
        picked = tokens[0, [0, tokens.shape[1] // 2, tokens.shape[1] - 1], :8]
        np.testing.assert_allclose(picked, sample, rtol=0, atol=5 * atol)


def _keep(outputs: dict[str, Tensor], row: str) -> Any:
    def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
        # A PaCa block gives the assignment beside its tokens.
        outputs[row] = output[0] if isinstance(output, tuple) else output

    return hook


def statistics(x: Tensor) -> list[float]:
    return [x.mean().item(), x.std(correction=0).item(), x.min().item(), x.max().item()]
