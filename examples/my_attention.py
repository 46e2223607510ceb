"""A mechanism of your own in one file: linear attention, O(N C²/h), as a plugin.

    paca-bench sweep --plugin examples/my_attention.py --mechanism vit,paca,linear --res 224..512

Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
Attention", ICML 2020, equation 5: softmax(q·k) is replaced by phi(q)·phi(k) with
phi = elu + 1, so that the keys and values of all tokens fold into one d x d matrix a head.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import elu

from paca_bench import register_attention
from paca_bench.attention.base import Attention, merge_heads, split_heads
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols

N, C, d = symbols("N C d")


def linear_cost(*, grid: tuple[int, int], dim: int, num_heads: int) -> Cost:
    """``4NC² + 2NCd`` for one image, with ``d = C/h``. A sweep checks it against a counter."""
    return Cost(
        {"projections": 4 * N * C**2, "products": 2 * N * C * d},
        {"N": grid[0] * grid[1], "C": dim, "d": dim // num_heads},
        {"projections": 4 * C**2 + 4 * C},
    )


@register_attention(
    "linear",
    title="Linear attention",
    source="Katharopoulos et al., ICML 2020",
    cost=linear_cost,
)
class LinearAttention(Attention):
    """Tokens [B, N, C] to tokens of the same shape."""

    def __init__(self, *, dim: int, num_heads: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: tuple[int, int], shared: Tensor | None = None) -> Tensor:
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, dim=-1))
        q, k = elu(q) + 1, elu(k) + 1
        # Dividing by the number of tokens keeps the sums in range in half precision.
        memory = k.transpose(-2, -1) @ v / x.shape[1]
        norm = (q * k.mean(dim=-2, keepdim=True)).sum(dim=-1, keepdim=True)
        return self.proj(merge_heads(q @ memory / norm))
