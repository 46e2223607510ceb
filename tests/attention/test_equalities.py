"""Options at which two mechanisms are the same function, tested with shared weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from paca_bench.attention.base import Attention, tokens_to_map
from paca_bench.attention.registry import Grid, create_attention
from tests.attention.cases import DIM, HEADS, randomise, tokens

GRID: Grid = (6, 9)


def build(mechanism: str, grid: Grid = GRID, **options: Any) -> Attention:
    module = create_attention(mechanism, dim=DIM, num_heads=HEADS, grid=grid, **options)
    randomise(module, seed=3)
    return module.double()


def sharing_weights_of(vit: Attention, mechanism: str, grid: Grid, **options: Any) -> Attention:
    """``mechanism`` with the projections of ``vit``, however it names and groups them."""
    module = build(mechanism, grid, **options)
    state = module.state_dict()
    source = vit.state_dict()
    for kind in ("weight", "bias"):
        q, k, v = source[f"qkv.{kind}"].chunk(3)
        parts = {"q": q, "k": k, "v": v, "kv": torch.cat([k, v]), "qkv": source[f"qkv.{kind}"]}
        parts["proj"] = source[f"proj.{kind}"]
        state.update({f"{n}.{kind}": p for n, p in parts.items() if f"{n}.{kind}" in state})
    module.load_state_dict(state)
    return module


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.fixture
def vit() -> Attention:
    return build("vit")


@pytest.fixture
def x() -> Tensor:
    return tokens(GRID, dtype=torch.float64)


def test_spatial_reduction_by_one_is_self_attention(vit: Attention, x: Tensor) -> None:
    assert_same(sharing_weights_of(vit, "pvt", GRID, sr_ratio=1)(x, GRID), vit(x, GRID))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("side", [1, 4, 7])
def test_one_window_without_bias_is_self_attention(
    vit: Attention, side: int, shifted: bool
) -> None:
    grid = (side, side)
    swin = sharing_weights_of(vit, "swin", grid, window_size=side, shifted=shifted)
    swin.relative_position_bias_table.data.zero_()
    x = tokens(grid, dtype=torch.float64)
    assert_same(swin(x, grid), vit(x, grid))


def test_windows_of_one_token_mix_nothing(vit: Attention, x: Tensor) -> None:
    swin = sharing_weights_of(vit, "swin", GRID, window_size=1)
    value = vit.qkv(x).chunk(3, dim=-1)[2]
    assert_same(swin(x, GRID), vit.proj(value))


@pytest.mark.parametrize("grid", [(7, 7), (3, 5), (7, 20), (14, 6)], ids=str)
def test_shift_has_no_effect_up_to_one_window(grid: Grid) -> None:
    plain, shifted = build("swin", grid), build("swin", grid, shifted=True)
    x = tokens(grid, dtype=torch.float64)
    assert torch.equal(plain(x, grid), shifted(x, grid))


def test_shift_has_an_effect_beyond_one_window() -> None:
    grid = (8, 8)
    plain, shifted = build("swin", grid), build("swin", grid, shifted=True)
    x = tokens(grid, dtype=torch.float64)
    assert (plain(x, grid) - shifted(x, grid)).abs().max() > 1e-2


def test_identity_assignment_is_self_attention(vit: Attention, x: Tensor) -> None:
    paca = sharing_weights_of(
        vit, "paca", GRID, num_clusters=x.shape[1], cluster_norm=False, shares_assignment=True
    )
    identity = torch.eye(x.shape[1], dtype=x.dtype)
    assert_same(paca(x, GRID, identity.expand(2, -1, -1)), vit(x, GRID))


def test_no_clusters_is_self_attention(vit: Attention, x: Tensor) -> None:
    paca = sharing_weights_of(vit, "paca", GRID, num_clusters=0)
    assert paca.make_shared(x, GRID) is None
    assert not paca.uses_shared
    assert_same(paca(x, GRID), vit(x, GRID))


def test_one_uniform_cluster_gives_every_token_the_same_output(vit: Attention, x: Tensor) -> None:
    paca = sharing_weights_of(vit, "paca", GRID, num_clusters=1, cluster_norm=False)
    uniform = torch.full((2, 1, x.shape[1]), 1 / x.shape[1], dtype=x.dtype)
    mean = x.mean(dim=1, keepdim=True)
    expected = vit.proj(vit.qkv(mean).chunk(3, dim=-1)[2])
    assert_same(paca(x, GRID, uniform), expected.expand_as(x))


def test_each_cluster_weighs_all_tokens_to_one(x: Tensor) -> None:
    for clustering in ("conv", "mlp", "linear"):
        assignment = build("paca", clustering=clustering).make_shared(x, GRID)
        assert assignment.shape == (2, 100, x.shape[1])
        assert (assignment > 0).all()
        assert_same(assignment.sum(-1), torch.ones(2, 100, dtype=x.dtype))


def test_pooling_a_grid_of_its_own_size_is_the_identity() -> None:
    grid = (7, 7)
    pooled = build("pvt_linear", grid)
    x = tokens(grid, dtype=torch.float64)
    assert_same(pooled.pool(tokens_to_map(x, grid)), tokens_to_map(x, grid))


def test_pooling_to_one_token_is_the_mean_of_all(x: Tensor) -> None:
    pooled = build("pvt_linear", pool_size=1)
    source = pooled.reduce(x.mean(dim=1, keepdim=True), (1, 1))
    assert_same(pooled.reduce(x, GRID), source)


@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("vit", {}),
        ("paca", {"clustering": "mlp", "num_clusters": 5}),
        ("paca", {"clustering": "linear", "num_clusters": 5}),
    ],
    ids=str,
)
def test_without_a_map_the_order_of_tokens_does_not_matter(
    mechanism: str, options: dict[str, Any], x: Tensor
) -> None:
    module = build(mechanism, **options)
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(5))
    assert_same(module(x[:, order], GRID), module(x, GRID)[:, order])


@pytest.mark.parametrize("shifted", [False, True])
def test_a_token_sees_its_window_and_nothing_else(shifted: bool) -> None:
    """By the gradient: Swin on 8 x 8 with windows of 4, shifted by 2 or not."""
    grid = (8, 8)
    module = build("swin", grid, window_size=4, shifted=shifted)
    x = tokens(grid, batch=1, dtype=torch.float64).requires_grad_()
    out = module(x, grid)[0]
    shift = 2 if shifted else 0
    edges = [(i - shift) // 4 for i in range(8)]  # -1, 0, 1: the band of a row or column
    for row, column in [(0, 0), (1, 6), (3, 3), (7, 2)]:
        (gradient,) = torch.autograd.grad(out[row * 8 + column].sum(), x, retain_graph=True)
        seen = gradient[0].abs().sum(-1).view(grid) > 1e-12
        expected = [
            [edges[r] == edges[row] and edges[c] == edges[column] for c in range(8)]
            for r in range(8)
        ]
        assert seen.tolist() == expected
