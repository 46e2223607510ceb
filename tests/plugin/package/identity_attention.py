"""A mechanism in a package of its own: one projection, and no attention at all."""

from __future__ import annotations

from torch import Tensor, nn

from paca_bench.attention.base import Attention
from paca_bench.attention.registry import Grid, register_attention
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols

N, C = symbols("N C")


def identity_cost(*, grid: Grid, dim: int) -> Cost:
    return Cost(
        {"projection": N * C**2},
        {"N": grid[0] * grid[1], "C": dim},
        {"projection": C**2 + C},
    )


@register_attention("skipped", title="No attention", cost=identity_cost)
class IdentityAttention(Attention):
    """Every token is projected by itself: what a host does without any mixing by attention."""

    def __init__(self, *, dim: int, num_heads: int, grid: Grid) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        return self.proj(x)
