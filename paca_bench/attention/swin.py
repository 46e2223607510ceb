"""Window and shifted-window attention with relative position bias.

Liu et al., "Swin Transformer", ICCV 2021, section 3.2. Any grid is padded with zero tokens
at the bottom and right to whole windows, as the official code for dense tasks does; padded
tokens take part as keys. Parameter names are those of the official checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from paca_bench.attention.base import Attention, check_tokens, merge_heads
from paca_bench.attention.registry import Grid, Options, Place, check_integer, register_attention
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols
from paca_bench.complexity.term import C, N_w, linear, parameters, w, window_attention

# What depends on the grid alone, see ``WindowAttention._prepare``.
_Prepared = tuple[Tensor, Tensor, Tensor, Tensor | None]
_PREPARED = ("_order", "_place", "_padding", "_mask")

h, t = symbols("h t")
# Each of N_w queries meets the w² keys of its window.
_PLAIN, _SHIFTED = (
    {
        "projections": linear(N_w, C, 3 * C) + linear(N_w, C, C),
        "products": window_attention(N_w, w**2, C, h, masked=masked),
        "position_bias": parameters(t * h),
    }
    for masked in (False, True)
)


def padded_grid(grid: Grid, window_size: int) -> Grid:
    """``grid`` with both sides rounded up to whole windows."""
    return (-(-grid[0] // window_size) * window_size, -(-grid[1] // window_size) * window_size)


def swin_cost(*, grid: Grid, dim: int, num_heads: int, window_size: int, shifted: bool) -> Cost:
    """``4N_wC² + 2N_w w²C``, ``N_w`` the number of tokens after padding to whole windows."""
    check_integer("window_size", window_size)
    height, width = padded_grid(grid, window_size)
    values = {"N_w": height * width, "C": dim, "w": window_size, "h": num_heads}
    values["t"] = (2 * window_size - 1) ** 2
    return Cost(_SHIFTED if shift_of(grid, window_size, shifted) else _PLAIN, values)


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
        grid: the grid (H, W) that windows and mask are prepared for; others work too.
        window_size: side w of a window.
        shifted: move the windows by half a window; without effect where the grid is not
            larger than one window, as in the official code.
    """

    relative_position_index: Tensor
    _order: Tensor
    _place: Tensor
    _padding: Tensor
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
        self._prepared_grid = grid
        for name, prepared in zip(_PREPARED, self._prepare(grid), strict=True):
            self.register_buffer(name, prepared, persistent=False)

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        """See ``Attention.forward``."""
        check_tokens(x, grid)
        batch, _, dim = x.shape
        order, place, padding, mask = self._prepared(grid, x.device)
        # Padding, shift and windows are one copy of the tokens, and their undoing another.
        x = x.index_select(1, order)
        if len(padding):
            x = x.index_fill_(1, padding, 0)
        windows = self._attend(x.view(-1, self.window_size**2, dim), mask)
        return windows.view(batch, -1, dim).index_select(1, place)

    def _attend(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """``[B*n, T, C]`` -> the same: attention inside each of the n windows of each image."""
        shape = (*windows.shape[:2], 3, self.num_heads, -1)
        q, k, v = self.qkv(windows).view(shape).permute(2, 0, 3, 1, 4)
        bias = self._bias(mask, windows.shape[0])
        return self.proj(merge_heads(scaled_dot_product_attention(q, k, v, attn_mask=bias)))

    def _bias(self, mask: Tensor | None, windows: int) -> Tensor:
        """Position bias ``[1, h, T, T]``; with the mask in it, that of each of ``windows``."""
        tokens = self.window_size**2
        table = self.relative_position_bias_table
        bias = table[self.relative_position_index.view(-1)].view(tokens, tokens, -1)
        bias = bias.permute(2, 0, 1).contiguous()
        if mask is None:
            return bias[None]
        each = bias + mask.to(bias.dtype)[:, None]
        return each.expand(windows // len(mask), -1, -1, -1, -1).flatten(0, 1)

    def _prepared(self, grid: Grid, device: torch.device) -> _Prepared:
        if grid == self._prepared_grid:
            return self._order, self._place, self._padding, self._mask
        *indices, mask = self._prepare(grid)
        order, place, padding = (index.to(device) for index in indices)
        return order, place, padding, None if mask is None else mask.to(device)

    def _prepare(self, grid: Grid) -> _Prepared:
        """What depends on the grid alone: order, places, padding and mask.

        ``[n*T]``, which token each token of the windows is, any one where it is padding; ``[N]``,
        where in the windows each token is; ``[n*T - N]``, where the padding is; and ``[n, T, T]``,
        -100 between tokens of a window that are neighbours only through the wrap-around, None
        without a shift. The finite value is the official one; it is part of the published function.
        """
        height, width = padded_grid(grid, self.window_size)
        shift = shift_of(grid, self.window_size, self.shifted)
        tokens = torch.arange(grid[0] * grid[1]).view(grid)
        numbers = pad(tokens, (0, width - grid[1], 0, height - grid[0]), value=-1)
        order = self._split(numbers.roll((-shift, -shift), dims=(0, 1))).flatten()
        # By number: the padding first.
        places = order.argsort(stable=True)
        count = height * width - grid[0] * grid[1]
        indices = order.clamp(min=0), places[count:], places[:count]
        if not shift:
            return *indices, None
        bands = [_bands(side, self.window_size, shift) for side in (height, width)]
        regions = self._split(3 * bands[0][:, None] + bands[1][None, :])
        return *indices, torch.where(regions[:, :, None] == regions[:, None, :], 0.0, -100.0)

    def _split(self, image: Tensor) -> Tensor:
        """``[H, W]`` -> ``[n, T]``: the windows, row by row."""
        side = self.window_size
        rows = image.view(image.shape[0] // side, side, image.shape[1] // side, side)
        return rows.transpose(1, 2).reshape(-1, side * side)


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
