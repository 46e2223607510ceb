"""The interface that every attention mechanism has."""

from __future__ import annotations

from torch import Tensor, nn

from paca_bench.attention.registry import Grid
from paca_bench.errors import SpecError


class Attention(nn.Module):
    """Base of all mechanisms: tokens in, tokens out, on a grid.

    A subclass's constructor takes the keywords ``dim``, ``num_heads`` and ``grid`` and its
    own options; ``forward`` must work for any grid that it supports, not only for the one it
    was built for.

    Attributes:
        uses_shared: True if ``forward`` needs the ``shared`` that the stage's first block
            made, and cannot make it itself.
    """

    uses_shared: bool = False

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            x: tokens ``[B, H*W, C]``, row by row.
            grid: (H, W).
            shared: what ``make_shared`` of the stage's first block gave, or None to make it
                here where the mechanism has such a thing.

        Returns:
            ``[B, H*W, C]``.
        """
        raise NotImplementedError

    def make_shared(self, x: Tensor, grid: Grid) -> Tensor | None:
        """What the blocks of a stage share, made from the first block's tokens.

        The result goes into ``forward`` of every block of the stage, this one included.
        None, the default, where a mechanism shares nothing.
        """
        return None


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """``[B, N, C]`` -> ``[B, h, N, C/h]``, as a view."""
    batch, tokens, channels = x.shape
    return x.view(batch, tokens, num_heads, channels // num_heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """``[B, h, N, d]`` -> ``[B, N, h*d]``."""
    return x.transpose(1, 2).flatten(2)


def tokens_to_map(x: Tensor, grid: Grid) -> Tensor:
    """``[B, H*W, C]`` -> ``[B, C, H, W]`` with the strides of channels-last, without a copy."""
    return x.reshape(x.shape[0], *grid, x.shape[2]).permute(0, 3, 1, 2)


def map_to_tokens(x: Tensor) -> Tensor:
    """``[B, C, H, W]`` -> ``[B, H*W, C]``."""
    return x.flatten(2).transpose(1, 2)


def map_grid(image: Tensor) -> Grid:
    """(H, W) of a map ``[B, C, H, W]``."""
    return (image.shape[2], image.shape[3])


def check_tokens(x: Tensor, grid: Grid) -> None:
    """Raise ``SpecError`` unless ``x`` is ``[B, H*W, C]`` on ``grid``."""
    if x.dim() != 3 or x.shape[1] != grid[0] * grid[1]:
        raise SpecError(
            f"tokens of shape {tuple(x.shape)} do not lie on the grid {grid[0]}x{grid[1]}; "
            f"expected [B, {grid[0] * grid[1]}, C]"
        )
