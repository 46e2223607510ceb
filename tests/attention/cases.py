"""The mechanisms, options and grids that the contract is tested on."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from paca_bench.attention.base import Attention
from paca_bench.attention.registry import Grid, create_attention

DIM, HEADS = 12, 3

# One token, lines, windows of 7 met exactly, short by one and missed, odd and non-square.
GRIDS: list[Grid] = [
    (1, 1), (1, 9), (9, 1), (3, 4), (7, 7), (8, 8), (5, 11), (14, 10), (13, 17), (16, 8),
]  # fmt: skip


class Subject(NamedTuple):
    """A mechanism with options, and the smallest side of a grid that it works on."""

    mechanism: str
    options: dict[str, Any]
    smallest_side: int = 1

    def __str__(self) -> str:
        return "-".join([self.mechanism, *(f"{k}={v}" for k, v in self.options.items())])

    def build(self, grid: Grid, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Attention:
        """The module with all weights drawn at a size that no term vanishes beside another."""
        module = create_attention(
            self.mechanism, dim=DIM, num_heads=HEADS, grid=grid, **self.options
        )
        randomise(module, seed)
        return module.to(dtype)

    def supports(self, grid: Grid) -> bool:
        return min(grid) >= self.smallest_side


# Of every mechanism, the defaults and each option away from its default.
SUBJECTS = [
    Subject("vit", {}),
    Subject("swin", {}),
    Subject("swin", {"shifted": True}),
    Subject("swin", {"window_size": 4, "shifted": True}),
    Subject("swin", {"window_size": 1, "shifted": True}),
    Subject("pvt", {}),
    Subject("pvt", {"sr_ratio": 2}, 2),
    Subject("pvt", {"sr_ratio": 8}, 8),
    Subject("pvt_linear", {}),
    Subject("pvt_linear", {"pool_size": 3}),
    Subject("paca", {}),
    Subject("paca", {"num_clusters": 1, "kernel_size": 3}),
    Subject("paca", {"num_clusters": 9, "holds_assignment": True}),
    Subject("paca", {"num_clusters": 0}),
    Subject("paca", {"num_clusters": 9, "clustering": "mlp"}),
    Subject("paca", {"num_clusters": 9, "clustering": "linear", "cluster_norm": False}),
    Subject("identity", {}),
]


@torch.no_grad()
def randomise(module: torch.nn.Module, seed: int) -> None:
    """Standard normal weights over the square root of the fan-in, everything else near 1/2."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        value = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            value /= parameter[0].numel() ** 0.5
        else:
            value = 0.5 + 0.2 * value
        parameter.copy_(value)


def tokens(
    grid: Grid, *, batch: int = 2, dim: int = DIM, seed: int = 1, dtype: torch.dtype = torch.float32
) -> Tensor:
    """``[B, H*W, C]``, standard normal."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, grid[0] * grid[1], dim, generator=generator, dtype=torch.float64)
    return x.to(dtype)
