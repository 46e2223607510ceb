"""Every built-in mechanism once more, from its paper, as plainly as it can be written.

Nothing of the package is used: softmax and products are explicit, windows are a mask over
all pairs of tokens, convolutions are sums over offsets or patches, pooling is a loop. Slow,
and meant for float64 on small grids. Each function takes the parameters by their checkpoint
names, tokens ``[B, N, C]`` and the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Params = Mapping[str, Tensor]
Grid = tuple[int, int]


def linear(p: Params, name: str, x: Tensor) -> Tensor:
    """``x Wᵀ + b``; a 1x1 convolution's weight is a matrix too."""
    y = torch.einsum("...i,oi->...o", x, p[f"{name}.weight"].flatten(1))
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def layer_norm(p: Params, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / (variance + eps) ** 0.5 * p[f"{name}.weight"] + p[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def softmax(x: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | float = 0.0) -> Tensor:
    """Eq. 1 of "Attention Is All You Need", per head; ``bias`` is ``[h, N, K]``."""
    q, k, v = (t.unflatten(-1, (heads, -1)) for t in (q, k, v))
    scores = torch.einsum("bnhd,bkhd->bhnk", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("bhnk,bkhd->bnhd", softmax(scores + bias), v).flatten(2)


def vit(p: Params, x: Tensor, grid: Grid, heads: int) -> Tensor:
    q, k, v = linear(p, "qkv", x).tensor_split(3, dim=-1)
    return linear(p, "proj", attend(q, k, v, heads))


def pvt(p: Params, x: Tensor, grid: Grid, heads: int, sr_ratio: int = 1) -> Tensor:
    source = x
    if sr_ratio > 1:
        # The R x R convolution of stride R is one matrix for the R² tokens of each patch.
        r, (h, w) = sr_ratio, (side // sr_ratio for side in grid)
        image = x.unflatten(1, grid)[:, : h * r, : w * r]
        patches = image.unflatten(2, (w, r)).unflatten(1, (h, r))
        reduced = torch.einsum("bhiwjc,ocij->bhwo", patches, p["sr.weight"]) + p["sr.bias"]
        source = layer_norm(p, "norm", reduced.flatten(1, 2), 1e-5)
    k, v = linear(p, "kv", source).tensor_split(2, dim=-1)
    return linear(p, "proj", attend(linear(p, "q", x), k, v, heads))


def pvt_linear(p: Params, x: Tensor, grid: Grid, heads: int, pool_size: int = 7) -> Tensor:
    image = x.unflatten(1, grid)
    spans = [
        [(i * side // pool_size, -(-(i + 1) * side // pool_size)) for i in range(pool_size)]
        for side in grid
    ]
    cells = [image[:, t:b, le:r].mean((1, 2)) for t, b in spans[0] for le, r in spans[1]]
    reduced = linear(p, "sr", torch.stack(cells, 1))
    source = gelu(layer_norm(p, "norm", reduced, 1e-5))
    k, v = linear(p, "kv", source).tensor_split(2, dim=-1)
    return linear(p, "proj", attend(linear(p, "q", x), k, v, heads))


def swin(
    p: Params, x: Tensor, grid: Grid, heads: int, window_size: int = 7, shifted: bool = False
) -> Tensor:
    """All pairs of padded tokens, with every pair that does not share a window masked out."""
    side = window_size
    shift = side // 2 if shifted and min(grid) > side else 0
    height, width = (math.ceil(s / side) * side for s in grid)
    image = x.new_zeros(x.shape[0], height, width, x.shape[2])
    image[:, : grid[0], : grid[1]] = x.unflatten(1, grid)

    row, column = torch.arange(height * width) // width, torch.arange(height * width) % width
    # Where the cyclic shift puts a token, and whether it went around the edge on its way.
    moved = (row - shift) % height, (column - shift) % width
    wrapped = 2 * (row < shift) + (column < shift)
    window = moved[0] // side * width + moved[1] // side
    within = [m % side for m in moved]
    offset = [(m[:, None] - m[None, :] + side - 1).clamp(0, 2 * side - 2) for m in within]
    table = p["relative_position_bias_table"].unflatten(0, (2 * side - 1, 2 * side - 1))
    bias = table[offset[0], offset[1]].permute(2, 0, 1)
    bias = bias - 100.0 * (wrapped[:, None] != wrapped[None, :])
    bias = bias.masked_fill(window[:, None] != window[None, :], -math.inf)

    q, k, v = linear(p, "qkv", image.flatten(1, 2)).tensor_split(3, dim=-1)
    out = linear(p, "proj", attend(q, k, v, heads, bias))
    return out.unflatten(1, (height, width))[:, : grid[0], : grid[1]].flatten(1, 2)


def paca_assignment(p: Params, x: Tensor, grid: Grid, clustering: str = "conv") -> Tensor:
    """``[B, M, N]``: a softmax over the tokens, for each cluster."""
    name = "clustering.clustering"
    if clustering == "conv":
        hidden = gelu(depthwise(p, f"{name}.0", x, grid))
        scores = linear(p, f"{name}.4", gelu(linear(p, f"{name}.2", hidden)))
    elif clustering == "mlp":
        scores = linear(p, f"{name}.2", gelu(linear(p, f"{name}.0", x)))
    else:
        scores = linear(p, f"{name}.0", x)
    return softmax(scores.mT)


def depthwise(p: Params, name: str, x: Tensor, grid: Grid) -> Tensor:
    """Each channel's k x k convolution with zero padding, as a sum over the k² offsets."""
    kernel = p[f"{name}.weight"]
    reach = kernel.shape[-1] // 2
    padded = x.new_zeros(x.shape[0], grid[0] + 2 * reach, grid[1] + 2 * reach, x.shape[2])
    padded[:, reach : reach + grid[0], reach : reach + grid[1]] = x.unflatten(1, grid)
    total = p[f"{name}.bias"].expand_as(x.unflatten(1, grid))
    for i in range(kernel.shape[-2]):
        for j in range(kernel.shape[-1]):
            total = total + padded[:, i : i + grid[0], j : j + grid[1]] * kernel[:, 0, i, j]
    return total.flatten(1, 2)


def paca(
    p: Params,
    x: Tensor,
    grid: Grid,
    heads: int,
    num_clusters: int = 100,
    clustering: str = "conv",
    kernel_size: int = 7,
    cluster_norm: bool = True,
    holds_assignment: bool = False,
    assignment: Tensor | None = None,
) -> Tensor:
    """Equations 4 to 7 of PaCa-ViT; the kernel size is that of the weights.

    Whether the assignment is held makes no difference in the result.
    """
    source = x
    if num_clusters:
        z = paca_assignment(p, x, grid, clustering) if assignment is None else assignment
        source = torch.einsum("bmn,bnc->bmc", z, x)
        if cluster_norm:
            source = layer_norm(p, "cluster_norm", source, 1e-6)
    q, k, v = linear(p, "q", x), linear(p, "k", source), linear(p, "v", source)
    return linear(p, "proj", attend(q, k, v, heads))


def identity(p: Params, x: Tensor, grid: Grid, heads: int) -> Tensor:
    """Nothing is added to the residual path."""
    return torch.zeros_like(x) * x


REFERENCES: Mapping[str, Callable[..., Tensor]] = {
    "vit": vit,
    "swin": swin,
    "pvt": pvt,
    "pvt_linear": pvt_linear,
    "paca": paca,
    "identity": identity,
}
