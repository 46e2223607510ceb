"""Multi-head self-attention, as in ViT and DeiT.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017; Dosovitskiy et al., "An Image Is
Worth 16x16 Words", ICLR 2021. Parameter names are those of the DeiT checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from paca_bench.attention.base import Attention, check_tokens, merge_heads, split_heads
from paca_bench.attention.registry import Grid, register_attention
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.term import C, N, attention, linear

# One map to queries, keys and values; one of the result.
SELF_ATTENTION = {
    "projections": linear(N, C, 3 * C) + linear(N, C, C),
    "products": attention(N, N, C),
}


def vit_cost(*, grid: Grid, dim: int) -> Cost:
    """``4NC² + 2N²C``: four projections, and the two products over all pairs of tokens."""
    return Cost(SELF_ATTENTION, {"N": grid[0] * grid[1], "C": dim})


@register_attention(
    "vit",
    title="ViT (multi-head self-attention)",
    source="Dosovitskiy et al., ICLR 2021",
    cost=vit_cost,
)
class SelfAttention(Attention):
    """Every token attends to every token: O(N²)."""

    def __init__(self, *, dim: int, num_heads: int, grid: Grid) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """See ``Attention.forward``."""
        check_tokens(x, grid)
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, dim=-1))
        return self.proj(merge_heads(scaled_dot_product_attention(q, k, v)))
