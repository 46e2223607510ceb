"""Window and shifted-window attention with relative position bias.

Liu et al., "Swin Transformer", ICCV 2021, section 3.2. Any grid is padded with zero tokens
at the bottom and right to whole windows, as the official code for dense tasks does; padded
tokens take part as keys. Parameter names are those of the official checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from paca_bench.attention.base import Attention, check_tokens
from paca_bench.attention.registry import Grid, Options, Place, check_integer, register_attention
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols
from paca_bench.complexity.term import C, N_w, linear, parameters, w, window_attention

h, t, b = symbols("h t b")
_TERMS = {
    "projections": linear(N_w, C, 3 * C) + linear(N_w, C, C),
    # Each of N_w queries meets the w² keys of its window, with b different biases of scores.
    "products": window_attention(N_w, w**2, C, bias=b * w**4),
    "position_bias": parameters(t * h),
}


def padded_grid(grid: Grid, window_size: int) -> Grid:
    """``grid`` with both sides rounded up to whole windows."""
    return (-(-grid[0] // window_size) * window_size, -(-grid[1] // window_size) * window_size)


def swin_cost(*, grid: Grid, dim: int, num_heads: int, window_size: int, shifted: bool) -> Cost:
    """``4N_wC² + 2N_w w²C``, ``N_w`` the number of tokens after padding to whole windows."""
    check_integer("window_size", window_size)
    height, width = padded_grid(grid, window_size)
    values = {"N_w": height * width, "C": dim, "w": window_size, "h": num_heads}
    windows = height * width // window_size**2
    # Without a mask all windows have the same biases; a single one is not copied for each.
    copies = 1 if num_heads == 1 and not shift_of(grid, window_size, shifted) else windows
    values |= {"t": (2 * window_size - 1) ** 2, "b": num_heads * copies}
    return Cost(_TERMS, values)


def shift_of(grid: Grid, window_size: int, shifted: bool) -> int:
    """How far windows are moved: not at all where the grid is not larger than one."""
    return window_size // 2 if shifted and min(grid) > window_size else 0


def swin_stage_options(place: Place, options: Options) -> Options:
    """Every second block of a stage shifts its windows, unless the user chose."""
    return {"shifted": bool(place.block and place.block % 2), **options}


@register_attention(
    "swin",
    title="Swin (shifted windows)",
    source="Liu et al., ICCV 2021",
    cost=swin_cost,
    stage_options=swin_stage_options,
)
class WindowAttention(Attention):
    """Tokens attend within windows of ``window_size`` squared: O(N w²).

    Args:
        dim: channels C.
        num_heads: heads h.
        grid: the grid (H, W) that the shift's mask is prepared for; others work too.
        window_size: side w of a window.
        shifted: move the windows by half a window; without effect where the grid is not
            larger than one window, as in the official code.
    """

    relative_position_index: Tensor
    _mask: Tensor | None

    def __init__(
        self, *, dim: int, num_heads: int, grid: Grid, window_size: int = 7, shifted: bool = False
    ) -> None:
        super().__init__()
        check_integer("window_size", window_size)
        self.num_heads = num_heads
        self.window_size = window_size
        self.shifted = shifted
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        table = torch.empty((2 * window_size - 1) ** 2, num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", relative_position_index(window_size))
        self._mask_grid = grid
        self.register_buffer("_mask", self._make_mask(grid), persistent=False)

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """See ``Attention.forward``."""
        check_tokens(x, grid)
        batch, _, dim = x.shape
        height, width = padded_grid(grid, self.window_size)
        shift = self._shift(grid)
        image = x.view(batch, *grid, dim)
        if (height, width) != grid:
            image = pad(image, (0, 0, 0, width - grid[1], 0, height - grid[0]))
        if shift:
            image = image.roll((-shift, -shift), dims=(1, 2))
        image = self._merge(self._attend(self._split(image), grid), (height, width))
        if shift:
            image = image.roll((shift, shift), dims=(1, 2))
        return image[:, : grid[0], : grid[1]].reshape(batch, -1, dim)

    def _attend(self, windows: Tensor, grid: Grid) -> Tensor:
        """``[B, n, T, C]`` -> the same: attention inside each of the n windows."""
        batch, count, tokens, dim = windows.shape
        qkv = self.qkv(windows).view(batch, count, tokens, 3, self.num_heads, -1)
        # Windows join the heads, so that the bias of a window and head, with the mask of the
        # shift in it, is one additive term that broadcasts over the batch.
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3)
        out = scaled_dot_product_attention(q, k, v, attn_mask=self._bias(count, grid))
        out = out.view(batch, count, self.num_heads, tokens, -1).transpose(2, 3)
        return self.proj(out.reshape(batch, count, tokens, dim))

    def _bias(self, count: int, grid: Grid) -> Tensor:
        """Position bias plus mask, ``[1, n*h, T, T]``."""
        tokens = self.window_size**2
        table = self.relative_position_bias_table
        bias = table[self.relative_position_index.view(-1)].view(tokens, tokens, -1)
        bias = bias.permute(2, 0, 1)
        mask = self._mask if grid == self._mask_grid else self._make_mask(grid)
        if mask is None:
            bias = bias.expand(count, -1, -1, -1)
        else:
            bias = bias + mask.to(device=bias.device, dtype=bias.dtype)[:, None]
        return bias.reshape(1, -1, tokens, tokens)

    def _shift(self, grid: Grid) -> int:
        return shift_of(grid, self.window_size, self.shifted)

    def _make_mask(self, grid: Grid) -> Tensor | None:
        """``[n, T, T]``: -100 between tokens that are neighbours only through the wrap-around.

        The finite value is the official one; it is part of the published function.
        """
        shift = self._shift(grid)
        if not shift:
            return None
        height, width = padded_grid(grid, self.window_size)
        bands = [_bands(side, self.window_size, shift) for side in (height, width)]
        region = 3 * bands[0][:, None] + bands[1][None, :]
        regions = self._split(region[None, :, :, None])[0, :, :, 0]
        return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, -100.0)

    def _split(self, image: Tensor) -> Tensor:
        """``[B, H, W, C]`` -> ``[B, n, T, C]``: the windows, row by row."""
        batch, height, width, dim = image.shape
        side = self.window_size
        rows = image.view(batch, height // side, side, width // side, side, dim)
        return rows.transpose(2, 3).reshape(batch, -1, side * side, dim)

    def _merge(self, windows: Tensor, grid: Grid) -> Tensor:
        """The inverse of ``_split`` for a padded ``grid``."""
        batch, _, _, dim = windows.shape
        side = self.window_size
        rows = windows.view(batch, grid[0] // side, grid[1] // side, side, side, dim)
        return rows.transpose(2, 3).reshape(batch, *grid, dim)


def relative_position_index(window_size: int) -> Tensor:
    """``[T, T]``: which row of the bias table belongs to a pair of tokens of a window."""
    side = torch.arange(window_size)
    row, column = torch.meshgrid(side, side, indexing="ij")
    row, column = row.flatten(), column.flatten()
    offset = window_size - 1
    rows = row[:, None] - row[None, :] + offset
    columns = column[:, None] - column[None, :] + offset
    return rows * (2 * window_size - 1) + columns


def _bands(side: int, window_size: int, shift: int) -> Tensor:
    """``[side]``: 0, 1 or 2 for the three bands that the cyclic shift brings together."""
    band = torch.zeros(side, dtype=torch.int64)
    band[side - window_size : side - shift] = 1
    band[side - shift :] = 2
    return band
