"""The architectures against outputs, keys and counts of the official implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from paca_bench.models.registry import create_model, model_cost
from paca_bench.models.segmenter import PaCaSegHead
from tests.fill import _normal, fill
from tests.models.golden import (
    ATOL,
    DATA,
    assert_golden,
    assert_official_keys,
    golden,
    measured,
    statistics,
)

STAGES = ("norm1", "norm2", "norm3", "norm4")
# Model -> the modules that the golden statistics are of.
ROWS = {
    "deit_tiny_patch16_224": ("patch_embed", "blocks.2", "blocks.5", "blocks.8", "norm"),
    "swin_tiny_patch4_window7_224": (
        "patch_embed",
        *(f"layers.{i}.downsample" for i in range(3)),
        "norm",
    ),
    "pvt_tiny": ("block1.1", "block2.1", "block3.1", "block4.1", "norm"),
    "pvt_v2_b0": ("block1.1", *STAGES),
    "pacavit_tiny_p2cconv_100_0": ("patch_embed", *STAGES),
    "pacavit_small_p2cconv_100_0": ("patch_embed", *STAGES),
    "pacavit_convmixer_tiny_100": ("patch_embed", *STAGES),
}
CASES = [
    (name, key.removeprefix("logits64_"))
    for name in ROWS
    for key in golden(name)
    if key.startswith("logits64_")
]
# In float64, where nothing but a difference of the function shows, one odd size of each suffices.
EXACT = [
    (name, size) for name, size in dict(CASES).items() if name != "pacavit_small_p2cconv_100_0"
]
KEYS = sorted(path.name.removesuffix(".keys.json") for path in DATA.glob("*.keys.json"))


@pytest.mark.parametrize(("name", "size"), CASES)
def test_outputs(name: str, size: str) -> None:
    height, width = map(int, size.split("x"))
    assert_golden(name, size, torch.float32, ROWS[name], img_size=(height, width))


@pytest.mark.parametrize(("name", "size"), EXACT)
def test_exact_outputs_of_a_model_built_for_224(name: str, size: str) -> None:
    if name.startswith("deit"):
        size = "224x224"  # the one architecture that is bound to its size
    assert_golden(name, size, torch.float64, ROWS[name])


@pytest.mark.parametrize("name", KEYS)
def test_state_dict_is_that_of_the_official_checkpoint(name: str) -> None:
    if name == "pacaseghead_150":
        module: torch.nn.Module = PaCaSegHead((96, 192, 320, 384), 150)
    else:
        with torch.device("meta"):
            module = create_model(name)
    assert_official_keys(module, name)


@pytest.mark.parametrize("name", measured())
def test_counts_are_exact_at_every_size(name: str) -> None:
    for size, expected in measured()[name].items():
        height, width = map(int, size.split("x"))
        cost = model_cost(name, height=height, width=width)
        assert (cost.macs, cost.params) == (expected["macs"], expected["params"]), size


@pytest.mark.parametrize("dtype", ATOL, ids=str)
def test_segmentation_head(dtype: torch.dtype) -> None:
    expected = golden("pacaseghead_150")
    widths = (96, 192, 320, 384)
    head = PaCaSegHead(widths, 150)
    fill(head)
    head = head.to(dtype).eval()
    for batch, (height, width), step in ((2, (16, 12), 1), (1, (128, 128), 16)):
        maps = [
            _normal(10 + i, (batch, c, -(-height // 2**i), -(-width // 2**i))).to(dtype)
            for i, c in enumerate(widths)
        ]
        with torch.no_grad():
            out = head(maps)
        size = f"{height}x{width}"
        # The maps are kept in float32.
        np.testing.assert_allclose(
            out[..., ::step, ::step], expected[f"out_{size}"], rtol=0, atol=max(ATOL[dtype], 1e-6)
        )
        exact = {"rtol": 0, "atol": ATOL[dtype]}
        np.testing.assert_allclose(statistics(out), expected[f"out_stats_{size}"], **exact)
        mean = out.mean(dim=(0, 2, 3))
        np.testing.assert_allclose(mean, expected[f"out_class_mean_{size}"], **exact)
