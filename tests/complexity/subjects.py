"""Shapes and options of every mechanism, drawn by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from torch import Tensor, nn

from paca_bench.attention.base import Attention
from paca_bench.attention.registry import Grid, get_mechanism

SIDES = st.integers(1, 13)


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3]))
    return {
        "grid": (draw(SIDES), draw(SIDES)),
        "dim": heads * draw(st.sampled_from([1, 4, 8])),
        "num_heads": heads,
    }


@st.composite
def options(draw: st.DrawFn, mechanism: str, grid: Grid) -> dict[str, Any]:
    """Options that ``mechanism`` can have on ``grid``; none for one that is not built in."""
    if mechanism == "swin":
        return {"window_size": draw(st.integers(1, 8)), "shifted": draw(st.booleans())}
    if mechanism == "pvt":
        return {"sr_ratio": draw(st.integers(1, min(*grid, 8)))}
    if mechanism == "pvt_linear":
        return {"pool_size": draw(st.integers(1, 8))}
    if mechanism == "paca":
        return {
            "num_clusters": draw(st.sampled_from([0, 1, 5, 49, 300])),
            "clustering": draw(st.sampled_from(["conv", "mlp", "linear"])),
            "kernel_size": draw(st.sampled_from([1, 3, 7])),
            "cluster_norm": draw(st.booleans()),
            "shares_assignment": draw(st.booleans()),
            "holds_assignment": draw(st.booleans()),
        }
    return {}


class OneInput(nn.Module):
    """A mechanism on its grid, given a stage's assignment if it needs one."""

    def __init__(self, attention: Attention, grid: Grid) -> None:
        super().__init__()
        self.attention = attention
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        shared = None
        if self.attention.uses_shared:
            # Made from the tokens, so that it wants a gradient.
            shared = x.mean(-1)[:, None].repeat(1, self.attention.num_clusters, 1)
        return self.attention(x, self.grid, shared)


def build(mechanism: str, shape: dict[str, Any], chosen: dict[str, Any]) -> OneInput:
    return OneInput(get_mechanism(mechanism).build(**shape, **chosen), shape["grid"])
