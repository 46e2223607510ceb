"""Spatial-reduction attention: queries from all tokens, keys and values from fewer.

``pvt``: Wang et al., "Pyramid Vision Transformer", ICCV 2021, section 3.3 (an R x R
convolution of stride R reduces the grid). ``pvt_linear``: Wang et al., "PVT v2", CVMJ 2022,
section 3.2 (average pooling to 7 x 7). Parameter names are those of the official
checkpoints; the norm after the reduction has the official eps of 1e-5.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from paca_bench.attention.base import (
    Attention,
    check_tokens,
    map_to_tokens,
    merge_heads,
    split_heads,
    tokens_to_map,
)
from paca_bench.attention.registry import Grid, Options, Place, check_integer, register_attention
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import Expr, symbols
from paca_bench.complexity.term import (
    N_R,
    C,
    N,
    Term,
    attention,
    convolution,
    linear,
    norm,
)
from paca_bench.errors import UnsupportedError

R, P = symbols("R P")

SR_RATIOS = (8, 4, 2, 1)


def _terms(keys: Expr, **reduction: Term) -> dict[str, Term]:
    """Queries from all tokens, keys and values in one map from ``keys`` tokens."""
    projections = linear(N, C, C) + linear(keys, C, 2 * C) + linear(N, C, C)
    return {"projections": projections, **reduction, "products": attention(N, keys, C)}


_UNREDUCED = _terms(N)
_REDUCED = _terms(N_R, reduction=convolution(N, N_R, R**2, C, C), norm=norm(C))
_POOLED = _terms(P, reduction=linear(P, C, C), norm=norm(C))


def pvt_cost(*, grid: Grid, dim: int, sr_ratio: int) -> Cost:
    """``2NC² + R²N_RC² + 2N_RC² + 2N N_R C`` with ``N_R = floor(H/R) floor(W/R)``.

    The convolution reads ``R²N_R`` tokens, which is N where R divides both sides. Without
    reduction (R = 1) there is no convolution: ``4NC² + 2N²C``.
    """
    values = {"N": grid[0] * grid[1], "C": dim}
    if sr_ratio == 1:
        return Cost(_UNREDUCED, values)
    height, width = reduced_grid(grid, sr_ratio)
    return Cost(_REDUCED, {**values, "R": sr_ratio, "N_R": height * width})


def pvt_linear_cost(*, grid: Grid, dim: int, pool_size: int) -> Cost:
    """``2NC² + PC² + 2PC² + 2NPC`` with ``P`` = 49 pooled tokens, whatever the grid."""
    check_integer("pool_size", pool_size)
    return Cost(_POOLED, {"N": grid[0] * grid[1], "C": dim, "P": pool_size**2})


def pvt_stage_options(place: Place, options: Options) -> Options:
    """The published reduction ratios 8, 4, 2, 1 of the four stages, unless the user chose."""
    return {"sr_ratio": SR_RATIOS[min(place.stage, 4) - 1], **options}


class _ReducedAttention(Attention):
    """Attention of all tokens to the fewer tokens that ``reduce`` leaves."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def reduce(self, x: Tensor, grid: Grid) -> Tensor:
        """``[B, N, C]`` -> ``[B, fewer, C]``."""
        raise NotImplementedError

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """See ``Attention.forward``."""
        check_tokens(x, grid)
        q = split_heads(self.q(x), self.num_heads)
        key_value = self.kv(self.reduce(x, grid)).chunk(2, dim=-1)
        k, v = (split_heads(t, self.num_heads) for t in key_value)
        return self.proj(merge_heads(scaled_dot_product_attention(q, k, v)))


@register_attention(
    "pvt",
    title="PVT (spatial reduction)",
    source="Wang et al., ICCV 2021",
    cost=pvt_cost,
    stage_options=pvt_stage_options,
)
class SpatialReductionAttention(_ReducedAttention):
    """Keys and values from an R x R convolution of stride R: O(N²/R²).

    Args:
        dim: channels C.
        num_heads: heads h.
        grid: (H, W), each at least R.
        sr_ratio: R; 1 is plain self-attention.
    """

    def __init__(self, *, dim: int, num_heads: int, grid: Grid, sr_ratio: int = 1) -> None:
        super().__init__(dim, num_heads)
        reduced_grid(grid, sr_ratio)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, kernel_size=sr_ratio, stride=sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def reduce(self, x: Tensor, grid: Grid) -> Tensor:
        """``[B, N, C]`` -> ``[B, floor(H/R)*floor(W/R), C]``."""
        if self.sr_ratio == 1:
            return x
        reduced_grid(grid, self.sr_ratio)
        return self.norm(map_to_tokens(self.sr(tokens_to_map(x, grid))))


@register_attention(
    "pvt_linear",
    title="PVT v2 linear (pooled spatial reduction)",
    source="Wang et al., CVMJ 2022",
    cost=pvt_linear_cost,
)
class LinearSpatialReductionAttention(_ReducedAttention):
    """Keys and values from the grid pooled to ``pool_size`` squared tokens: O(N).

    Args:
        dim: channels C.
        num_heads: heads h.
        grid: (H, W); a side shorter than ``pool_size`` is pooled with overlap.
        pool_size: side of the pooled grid, 7 as published.
    """

    def __init__(self, *, dim: int, num_heads: int, grid: Grid, pool_size: int = 7) -> None:
        super().__init__(dim, num_heads)
        check_integer("pool_size", pool_size)
        self.pool = nn.AdaptiveAvgPool2d(pool_size)
        self.sr = nn.Conv2d(dim, dim, kernel_size=1)
        self.norm = nn.LayerNorm(dim)
        self.act = nn.GELU()

    def reduce(self, x: Tensor, grid: Grid) -> Tensor:
        """``[B, N, C]`` -> ``[B, pool_size², C]``."""
        pooled = self.sr(self.pool(tokens_to_map(x, grid)))
        return self.act(self.norm(map_to_tokens(pooled)))


def reduced_grid(grid: Grid, sr_ratio: int) -> Grid:
    """(floor(H/R), floor(W/R)).

    Raises:
        SpecError: R is not a positive integer.
        UnsupportedError: a side is shorter than R, so that no token would be left.
    """
    check_integer("sr_ratio", sr_ratio)
    height, width = grid[0] // sr_ratio, grid[1] // sr_ratio
    if not height or not width:
        raise UnsupportedError(
            f"pvt with sr_ratio {sr_ratio} needs a grid of at least {sr_ratio}x{sr_ratio} tokens, "
            f"not {grid[0]}x{grid[1]}; take a higher resolution or a smaller ratio"
        )
    return height, width
