"""PaCa's layer against golden outputs of the official implementation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from paca_bench.attention.base import Attention
from paca_bench.attention.registry import Grid, create_attention
from tests.fill import fill, layer_input

DATA = Path(__file__).parents[1] / "data"
SMALL, LARGE = (14, 10), (56, 56)
# The golden arrays are float32 roundings of float64 results; their statistics are not rounded.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 4e-7}


def paca(grid: Grid, dtype: torch.dtype, **options: object) -> Attention:
    module = create_attention("paca", dim=96, num_heads=2, grid=grid, **options)
    fill(module)
    return module.to(dtype)


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{name}.npz") as archive:
        return dict(archive)


def assert_golden(got: Tensor, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.detach(), expected, rtol=0, atol=TOLERANCE[got.dtype])


def statistics(x: Tensor) -> list[float]:
    return [x.mean().item(), x.std(correction=0).item(), x.min().item(), x.max().item()]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_clustering_cluster_tokens_and_output(dtype: torch.dtype) -> None:
    expected = golden("pacalayer_conv_M100")
    module = paca(SMALL, dtype)
    x = layer_input(2, 140).to(dtype)
    z = module.make_shared(x, SMALL)
    assert_golden(z, expected["z_14x10"])
    assert_golden(z @ x, expected["c_raw_14x10"])
    assert_golden(module.cluster_norm(z @ x), expected["c_14x10"])
    assert_golden(module(x, SMALL), expected["out_14x10"])
    held = paca(SMALL, dtype, holds_assignment=True)
    assert_golden(held(x, SMALL), expected["out_14x10"])
    assert torch.equal(held(x, SMALL, z), held(x, SMALL))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_second_block_uses_the_assignment_of_the_first(dtype: torch.dtype) -> None:
    z = paca(SMALL, dtype).make_shared(layer_input(2, 140).to(dtype), SMALL)
    second = paca(SMALL, dtype, shares_assignment=True)
    out = second(layer_input(2, 140, seed=2).to(dtype), SMALL, z)
    assert_golden(out, golden("pacalayer_conv_M100")["shared_out_14x10"])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_large_grid(dtype: torch.dtype) -> None:
    expected = golden("pacalayer_conv_M100")
    # Built for the small grid: the parameters do not depend on it.
    module = paca(SMALL, dtype)
    x = layer_input(1, 56 * 56).to(dtype)
    assert_golden(module.make_shared(x, LARGE)[..., ::64], expected["z_56x56"])
    assert_golden(module(x, LARGE)[:, ::64], expected["out_56x56"])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_no_clusters_is_plain_attention(dtype: torch.dtype) -> None:
    expected = golden("pacalayer_full_M0")
    module = paca(SMALL, dtype, num_clusters=0)
    assert_golden(module(layer_input(2, 140).to(dtype), SMALL), expected["out_14x10"])
    out = module(layer_input(1, 56 * 56).to(dtype), LARGE)
    assert_golden(out[:, ::64], expected["out_56x56"])


@pytest.mark.parametrize(("name", "clusters"), [("conv_M100", 100), ("full_M0", 0)])
def test_float64_statistics(name: str, clusters: int) -> None:
    expected = golden(f"pacalayer_{name}")
    module = paca(SMALL, torch.float64, num_clusters=clusters)
    for grid in (SMALL, LARGE):
        batch = 2 if grid == SMALL else 1
        out = module(layer_input(batch, grid[0] * grid[1]).double(), grid)
        recorded = expected[f"out_stats_{grid[0]}x{grid[1]}"]
        np.testing.assert_allclose(statistics(out), recorded, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv_M100", {}),
        ("mlp_M49", {"clustering": "mlp", "num_clusters": 49}),
        ("full_M0", {"num_clusters": 0}),
    ],
)
def test_state_dict_is_that_of_the_official_checkpoints(
    name: str, options: dict[str, object]
) -> None:
    official = json.loads((DATA / f"pacalayer_{name}.json").read_text())
    state = create_attention("paca", dim=96, num_heads=2, grid=SMALL, **options).state_dict()
    assert [(key, list(value.shape)) for key, value in state.items()] == [
        (key, entry["shape"]) for key, entry in official.items()
    ]
