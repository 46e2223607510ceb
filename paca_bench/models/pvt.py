"""PVT: the pyramid vision transformer with spatial-reduction attention.

Wang et al., "Pyramid Vision Transformer", ICCV 2021. The position tables are those of 224 x
224 images whatever the input, interpolated to its grid as the official code does, so that
one checkpoint serves all sizes. Keys are those of the official checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from paca_bench.attention.base import map_to_tokens, tokens_to_map
from paca_bench.attention.pvt import SR_RATIOS, SpatialReductionAttention
from paca_bench.attention.registry import Grid, attention_cost
from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.errors import UnsupportedError
from paca_bench.models.blocks import Block, Embedding, Mlp, check_images, classifier, init_weights
from paca_bench.models.parts import (
    embed_cost,
    head_cost,
    mlp_cost,
    norm_cost,
    table_cost,
)
from paca_bench.models.registry import Stage, Variant, register_model

NORM_EPS = 1e-6
EMBED_NORM_EPS = 1e-5
STRIDES = (4, 8, 16, 32)
TABLE_IMAGE = (224, 224)


def stage_grids(size: Grid) -> list[Grid]:
    """The token grid of each stage; a remainder at the bottom or right is not looked at.

    Raises:
        UnsupportedError: a grid is smaller than the stage's reduction.
    """
    least = max(s * r for s, r in zip(STRIDES, SR_RATIOS, strict=True))
    if min(size) < least:
        raise UnsupportedError(
            f"PVT takes images of at least {least}x{least} pixels, not {size[0]}x{size[1]}"
        )
    return [(size[0] // stride, size[1] // stride) for stride in STRIDES]


def pvt_stages(*, height: int, width: int, widths: Sequence[int]) -> list[Stage]:
    """Grids of a 4th, 8th, 16th and 32nd of the image."""
    return list(zip(stage_grids((height, width)), widths, strict=True))


def pvt_cost(
    *,
    height: int,
    width: int,
    num_classes: int,
    widths: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    mlp_ratios: Sequence[int],
    class_token: bool,
) -> CostSum:
    """Four stages, the last with or without a class token, and the head."""
    parts: list[tuple[str, Cost]] = []
    inputs, before = 3, height * width
    tables = stage_grids(TABLE_IMAGE)
    for index, grid in enumerate(stage_grids((height, width))):
        label, dim, ratio = f"stage{index + 1}", widths[index], SR_RATIOS[index]
        patches, last = math.prod(grid), index == len(STRIDES) - 1
        seen = (1, patches + 1) if last and class_token else grid
        kernel_size = STRIDES[0] if index == 0 else 2
        embed = f"patch_embed{index + 1}"
        parts.append((embed, embed_cost(before, patches, inputs, dim, kernel_size)))
        parts.append((embed, norm_cost(dim)))
        parts.append((embed, table_cost("pos_embed", (math.prod(tables[index]) + last) * dim)))
        attention = attention_cost(
            "pvt",
            grid=seen,
            dim=dim,
            num_heads=num_heads[index],
            sr_ratio=ratio,
        )
        mlp, norms = mlp_cost(math.prod(seen), dim, mlp_ratios[index]), norm_cost(dim, 2)
        block = [("attention", attention), ("mlp", mlp), ("norms", norms)]
        parts += depths[index] * [(f"{label}.{name}", cost) for name, cost in block]
        inputs, before = dim, patches
    if class_token:
        parts.append(("stage4", table_cost("cls_token", inputs)))
        parts.append(("norm", norm_cost(inputs)))
    return CostSum.of([*parts, ("head", head_cost(inputs, num_classes))])


class PatchEmbed(Embedding):
    """Non-overlapping patches to normed tokens."""

    def __init__(self, inputs: int, dim: int, patch_size: int) -> None:
        proj = nn.Conv2d(inputs, dim, patch_size, stride=patch_size)
        super().__init__(proj, dim, eps=EMBED_NORM_EPS)


@register_model(
    Variant("pvt_tiny", depths=(2, 2, 2, 2)),
    Variant("pvt_small", depths=(3, 4, 6, 3)),
    Variant("pvt_medium", depths=(3, 4, 18, 3)),
    Variant("pvt_large", depths=(3, 8, 27, 3)),
    title="PVT",
    source="Wang et al., ICCV 2021",
    cost=pvt_cost,
    stages=pvt_stages,
    dense_settings={"class_token": False},
)
class PyramidVisionTransformer(nn.Module):
    """Images ``[B, 3, H, W]`` of at least 32 x 32 pixels to logits ``[B, num_classes]``.

    Args:
        num_classes: outputs of the head; 0 for none.
        img_size: (H, W); only checked, as the position tables are those of 224 x 224.
        depths: blocks per stage.
        widths: channels per stage.
        num_heads: heads per stage.
        mlp_ratios: the MLP's expansion per stage.
        class_token: a class token joins in the last stage, is normed and goes to the head;
            without it, as in the official code for dense tasks, there is no final norm, and
            the head takes the mean token.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        img_size: Grid,
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 320, 512),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[int] = (8, 8, 4, 4),
        class_token: bool = True,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.class_token = class_token
        grids = stage_grids(img_size)
        self.table_grids = stage_grids(TABLE_IMAGE)
        inputs = 3
        for index, dim in enumerate(widths):
            stage, last = index + 1, index == len(STRIDES) - 1
            table = torch.zeros(1, math.prod(self.table_grids[index]) + last, dim)
            self.register_parameter(f"pos_embed{stage}", nn.Parameter(table))
            patch_size = STRIDES[0] if index == 0 else 2
            self.add_module(f"patch_embed{stage}", PatchEmbed(inputs, dim, patch_size))
            blocks = nn.ModuleList(
                Block(
                    dim,
                    SpatialReductionAttention(
                        dim=dim,
                        num_heads=num_heads[index],
                        grid=grids[index],
                        sr_ratio=SR_RATIOS[index],
                    ),
                    Mlp(dim, mlp_ratios[index] * dim),
                    eps=NORM_EPS,
                )
                for _ in range(depths[index])
            )
            self.add_module(f"block{stage}", blocks)
            inputs = dim
        if class_token:
            self.norm = nn.LayerNorm(inputs, eps=NORM_EPS)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, inputs))
        self.head = classifier(inputs, num_classes)
        # Its own parameters: the position tables and the class token.
        for parameter in self.parameters(recurse=False):
            nn.init.trunc_normal_(parameter, std=0.02)
        init_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        if not self.class_token:
            return self.head(self.forward_features(images)[-1].mean(dim=(2, 3)))
        *_, (last, _) = self._stages(images, class_token=True)
        return self.head(self.norm(last)[:, 0])

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """The stages' maps ``[B, C, H, W]``: no norm and no class token, as for dense tasks."""
        return [tokens_to_map(*stage) for stage in self._stages(images, class_token=False)]

    def _stages(self, images: Tensor, *, class_token: bool) -> list[tuple[Tensor, Grid]]:
        """The tokens that each stage ends with, and their grid; a class token is not on it."""
        # Raises where the image is too small.
        stage_grids(check_images(images))
        image = images
        outputs: list[tuple[Tensor, Grid]] = []
        for index in range(len(STRIDES)):
            stage, last = index + 1, index == len(STRIDES) - 1
            x, grid = getattr(self, f"patch_embed{stage}")(image)
            x = x + self._positions(index, grid)
            seen = grid
            if last and class_token:
                first = self.cls_token + getattr(self, f"pos_embed{stage}")[:, :1]
                x = torch.cat((first.expand(x.shape[0], -1, -1), x), dim=1)
                # Without reduction the grid does not matter; one row holds the extra token.
                seen = (1, x.shape[1])
            for block in getattr(self, f"block{stage}"):
                x = block(x, seen)
            outputs.append((x, grid))
            if not last:
                image = tokens_to_map(x, grid)
        return outputs

    def _positions(self, index: int, grid: Grid) -> Tensor:
        """The table of a stage's patches, interpolated to ``grid`` where it must be."""
        table_grid = self.table_grids[index]
        table = getattr(self, f"pos_embed{index + 1}")[:, -math.prod(table_grid) :]
        if grid == table_grid:
            return table
        image = tokens_to_map(table, table_grid)
        return map_to_tokens(interpolate(image, size=grid, mode="bilinear", align_corners=False))
