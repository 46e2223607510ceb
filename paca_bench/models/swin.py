"""Swin Transformer: windows that shift, in a pyramid that merges patches.

Liu et al., ICCV 2021. Any image works: the patches, the windows and the merging each pad
with zeros at the bottom and right, as the official code for dense tasks does. Keys are those
of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad

from paca_bench.attention.base import map_grid, tokens_to_map
from paca_bench.attention.registry import Grid, attention_cost
from paca_bench.attention.swin import WindowAttention, padded_grid
from paca_bench.complexity.cost import CostSum
from paca_bench.models.blocks import Block, Embedding, Mlp, check_images, classifier, init_weights
from paca_bench.models.parts import head_cost, linear_cost, mlp_cost, norm_cost, patches_cost
from paca_bench.models.registry import Stage, Variant, register_model

NORM_EPS = 1e-5
PATCH_SIZE = 4


def stage_grids(size: Grid, count: int) -> list[Grid]:
    """The token grid of each stage; every patch or merge rounds up."""
    sides = [PATCH_SIZE << stage for stage in range(count)]
    return [(-(-size[0] // side), -(-size[1] // side)) for side in sides]


def swin_stages(*, height: int, width: int, dim: int, depths: Sequence[int]) -> list[Stage]:
    """Each stage has half the grid and twice the channels of the one before."""
    grids = stage_grids((height, width), len(depths))
    return [(grid, dim << index) for index, grid in enumerate(grids)]


def swin_cost(
    *,
    height: int,
    width: int,
    num_classes: int,
    dim: int,
    depths: Sequence[int],
    num_heads: Sequence[int],
    window_size: int,
    mlp_ratio: int,
    feature_norms: bool,
) -> CostSum:
    """Patches, four stages with a merge between, and the head."""
    grids = stage_grids((height, width), len(depths))
    patches = grids[0][0] * grids[0][1]
    parts = [
        ("patch_embed", patches_cost(height * width, patches, dim, PATCH_SIZE)),
        ("patch_embed", norm_cost(dim)),
    ]
    for index, (grid, depth, heads) in enumerate(zip(grids, depths, num_heads, strict=True)):
        label, width_here, tokens = f"stage{index + 1}", dim << index, grid[0] * grid[1]
        if index:
            merge = linear_cost(tokens, 2 * width_here, width_here, bias=False)
            parts.append((f"transition{index}", merge))
            parts.append((f"transition{index}", norm_cost(2 * width_here)))
        plain, shifted = (
            attention_cost(
                "swin",
                grid=grid,
                dim=width_here,
                num_heads=heads,
                window_size=window_size,
                shifted=shifted,
            )
            for shifted in (False, True)
        )
        mlp, norms = mlp_cost(tokens, width_here, mlp_ratio), norm_cost(width_here, 2)
        for index_in_stage in range(depth):
            attention = shifted if index_in_stage % 2 else plain
            parts.append((f"{label}.attention", attention))
            parts += [(f"{label}.mlp", mlp), (f"{label}.norms", norms)]
        if feature_norms or index == len(depths) - 1:
            parts.append((f"{label}.norm", norm_cost(width_here)))
    head = head_cost(dim << (len(depths) - 1), num_classes)
    return CostSum.of([*parts, ("head", head)])


class PatchEmbed(Embedding):
    """Patches of 4 x 4 pixels, the last ones padded, to normed tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Conv2d(3, dim, PATCH_SIZE, stride=PATCH_SIZE), dim, eps=NORM_EPS)

    def forward(self, image: Tensor) -> tuple[Tensor, Grid]:
        """See ``Embedding``."""
        grid = map_grid(image)
        height, width = padded_grid(grid, PATCH_SIZE)
        if (height, width) != grid:
            image = pad(image, (0, width - grid[1], 0, height - grid[0]))
        return super().forward(image)


class PatchMerging(nn.Module):
    """Each 2 x 2 tokens to one of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim, eps=NORM_EPS)

    def forward(self, x: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
        """``[B, H*W, C]`` -> ``[B, ceil(H/2)*ceil(W/2), 2C]``, and the grid."""
        batch, _, dim = x.shape
        image = x.view(batch, *grid, dim)
        if grid[0] % 2 or grid[1] % 2:
            image = pad(image, (0, 0, 0, grid[1] % 2, 0, grid[0] % 2))
        rows, columns = image.shape[1] // 2, image.shape[2] // 2
        # The official order of the four: down the rows first, then the columns.
        quads = image.view(batch, rows, 2, columns, 2, dim).permute(0, 1, 3, 4, 2, 5)
        merged = self.reduction(self.norm(quads.reshape(batch, rows * columns, 4 * dim)))
        return merged, (rows, columns)


class SwinBlock(Block):
    """A block whose shift mask is also kept under the official key ``attn_mask``."""

    def __init__(
        self, dim: int, num_heads: int, grid: Grid, window_size: int, mlp_ratio: int, shifted: bool
    ) -> None:
        attention = WindowAttention(
            dim=dim, num_heads=num_heads, grid=grid, window_size=window_size, shifted=shifted
        )
        super().__init__(dim, attention, Mlp(dim, mlp_ratio * dim), eps=NORM_EPS)
        self.register_buffer("attn_mask", attention._mask)


class SwinStage(nn.Module):
    """Blocks, every second one shifted, and the merge into the next stage, if there is one."""

    def __init__(
        self,
        dim: int,
        depth: int,
        num_heads: int,
        grid: Grid,
        *,
        window_size: int,
        mlp_ratio: int,
        merges: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(dim, num_heads, grid, window_size, mlp_ratio, shifted=bool(block % 2))
            for block in range(depth)
        )
        self.downsample = PatchMerging(dim) if merges else None

    def forward(self, x: Tensor, grid: Grid) -> tuple[Tensor, tuple[Tensor, Grid]]:
        """The tokens ``[B, H*W, C]`` that the stage ends with; those of the next, and its grid."""
        for block in self.blocks:
            x = block(x, grid)
        return x, (x, grid) if self.downsample is None else self.downsample(x, grid)


@register_model(
    Variant("swin_tiny_patch4_window7_224", dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    Variant(
        "swin_small_patch4_window7_224", dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)
    ),
    Variant(
        "swin_base_patch4_window7_224", dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)
    ),
    Variant(
        "swin_base_patch4_window12_384",
        dim=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
        window_size=12,
    ),
    title="Swin",
    source="Liu et al., ICCV 2021",
    cost=swin_cost,
    stages=swin_stages,
    dense_settings={"feature_norms": True},
)
class SwinTransformer(nn.Module):
    """Images ``[B, 3, H, W]`` of any size to logits ``[B, num_classes]``.

    Args:
        num_classes: outputs of the head; 0 for none.
        img_size: (H, W) that the shift masks are prepared for; others work too.
        dim: channels of the first stage; each next has twice as many.
        depths: blocks per stage.
        num_heads: heads per stage.
        window_size: side of a window.
        mlp_ratio: the MLP's expansion.
        feature_norms: a LayerNorm ``norm0`` to ``norm3`` after each stage in place of the one
            at the end, as in the official checkpoints for dense tasks.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        img_size: Grid,
        dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: int = 7,
        mlp_ratio: int = 4,
        feature_norms: bool = False,
    ) -> None:
        super().__init__()
        self.widths = tuple(dim << stage for stage in range(len(depths)))
        self.feature_norms = feature_norms
        self.patch_embed = PatchEmbed(dim)
        rows = zip(self.widths, depths, num_heads, stage_grids(img_size, len(depths)), strict=True)
        self.layers = nn.ModuleList(
            SwinStage(
                *row,
                window_size=window_size,
                mlp_ratio=mlp_ratio,
                merges=stage < len(depths) - 1,
            )
            for stage, row in enumerate(rows)
        )
        if feature_norms:
            for stage, width in enumerate(self.widths):
                self.add_module(f"norm{stage}", nn.LayerNorm(width, eps=NORM_EPS))
        else:
            self.norm = nn.LayerNorm(self.widths[-1], eps=NORM_EPS)
        self.head = classifier(self.widths[-1], num_classes)
        init_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        return self.head(self.forward_features(images)[-1].mean(dim=(2, 3)))

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """The stages' maps ``[B, C, H, W]``, before their merges.

        The last is normed; the others too where there are ``feature_norms``.
        """
        check_images(images)
        x, grid = self.patch_embed(images)
        maps = []
        for stage, layer in enumerate(self.layers):
            tokens, (x, next_grid) = layer(x, grid)
            maps.append(tokens_to_map(self._norm(tokens, stage), grid))
            grid = next_grid
        return maps

    def _norm(self, x: Tensor, stage: int) -> Tensor:
        if self.feature_norms:
            return getattr(self, f"norm{stage}")(x)
        return self.norm(x) if stage == len(self.layers) - 1 else x
