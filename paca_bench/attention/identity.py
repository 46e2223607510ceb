"""No attention at all: the control that says what a host learns without any."""

from __future__ import annotations

from torch import Tensor

from paca_bench.attention.base import Attention, check_tokens
from paca_bench.attention.registry import Grid, register_attention
from paca_bench.complexity.cost import Cost


def identity_cost() -> Cost:
    """Nothing: no multiply-accumulates and no parameters."""
    return Cost({}, {})


@register_attention(
    "identity",
    title="attention cut out: a block is its MLP alone",
    source="compare the identity mixer of Yu et al., CVPR 2022",
    cost=identity_cost,
    control=True,
)
class NoAttention(Attention):
    """Adds nothing to the residual path, which so is the identity.

    Tokens then meet only in the host's convolutions, and where the head takes their mean.
    """

    def __init__(self, *, dim: int, num_heads: int, grid: Grid) -> None:
        super().__init__()

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """Zeros; see ``Attention.forward``."""
        check_tokens(x, grid)
        # A product, so that gradients and what is not a number pass as through the others.
        return 0 * x
