"""DeiT: the plain vision transformer.

Touvron et al., "Training data-efficient image transformers", ICML 2021; the architecture is
that of Dosovitskiy et al., ICLR 2021. Keys are those of the original checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from paca_bench.attention.base import map_to_tokens, tokens_to_map
from paca_bench.attention.registry import Grid, attention_cost
from paca_bench.attention.vit import SelfAttention
from paca_bench.complexity.cost import CostSum
from paca_bench.errors import SpecError, UnsupportedError
from paca_bench.models.blocks import Block, Mlp, check_images, classifier, init_weights
from paca_bench.models.parts import (
    head_cost,
    mlp_cost,
    norm_cost,
    patches_cost,
    table_cost,
)
from paca_bench.models.registry import Variant, register_model

NORM_EPS = 1e-6


def patch_grid(size: Grid, patch_size: int) -> Grid:
    """Whole patches (rows, columns); a remainder at the bottom or right is not looked at.

    Raises:
        UnsupportedError: the image has none.
    """
    if min(size) < patch_size:
        raise UnsupportedError(
            f"DeiT with {patch_size}x{patch_size} patches takes images of at least "
            f"{patch_size}x{patch_size} pixels, not {size[0]}x{size[1]}"
        )
    return (size[0] // patch_size, size[1] // patch_size)


def deit_cost(
    *,
    height: int,
    width: int,
    num_classes: int,
    dim: int,
    num_heads: int,
    depth: int,
    patch_size: int,
    mlp_ratio: int,
) -> CostSum:
    """Patches, ``depth`` blocks on N + 1 tokens, and the head."""
    rows, columns = patch_grid((height, width), patch_size)
    patches = rows * columns
    tokens = patches + 1
    parts = [
        ("patch_embed", patches_cost(height * width, patches, dim, patch_size)),
        ("patch_embed", table_cost("pos_embed", tokens * dim)),
        ("patch_embed", table_cost("cls_token", dim)),
    ]
    attention = attention_cost("vit", grid=(1, tokens), dim=dim, num_heads=num_heads)
    block = [
        ("blocks.attention", attention),
        ("blocks.mlp", mlp_cost(tokens, dim, mlp_ratio)),
        ("blocks.norms", norm_cost(dim, 2)),
    ]
    parts += depth * block
    parts.append(("norm", norm_cost(dim)))
    return CostSum.of([*parts, ("head", head_cost(dim, num_classes))])


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens."""

    def __init__(self, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> ``[B, N, C]``."""
        return map_to_tokens(self.proj(images))


@register_model(
    Variant("deit_tiny_patch16_224", dim=192, num_heads=3),
    Variant("deit_small_patch16_224", dim=384, num_heads=6),
    Variant("deit_base_patch16_224", dim=768, num_heads=12),
    # The same networks, trained by another recipe.
    Variant("vit_tiny_patch16_224", dim=192, num_heads=3),
    Variant("vit_small_patch16_224", dim=384, num_heads=6),
    Variant("vit_base_patch16_224", dim=768, num_heads=12),
    title="ViT / DeiT",
    source="Touvron et al., ICML 2021",
    cost=deit_cost,
)
class VisionTransformer(nn.Module):
    """Images ``[B, 3, H, W]`` of exactly ``img_size`` to logits ``[B, num_classes]``.

    Args:
        num_classes: outputs of the head; 0 for none.
        img_size: (H, W) that the position table is made for.
        dim: channels C.
        num_heads: heads h.
        depth: blocks.
        patch_size: side of a patch.
        mlp_ratio: the MLP's expansion.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        img_size: Grid,
        dim: int,
        num_heads: int,
        depth: int = 12,
        patch_size: int = 16,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_grid = patch_grid(img_size, patch_size)
        # The class token has no place on the grid: attention sees one row of tokens.
        self.grid = (1, math.prod(self.patch_grid) + 1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid[1], dim))
        self.patch_embed = PatchEmbed(dim, patch_size)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                SelfAttention(dim=dim, num_heads=num_heads, grid=self.grid),
                Mlp(dim, mlp_ratio * dim),
                eps=NORM_EPS,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = classifier(dim, num_classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        init_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """The logits.

        Raises:
            SpecError: the images are not of ``img_size``.
        """
        size = check_images(images)
        if size != self.img_size:
            height, width = self.img_size
            raise SpecError(
                f"this DeiT was built for {height}x{width} images, not {size[0]}x{size[1]}: its "
                f"position table is of one size; build it with img_size=({size[0]}, {size[1]})"
            )
        patches = self.patch_embed(images)
        cls_token = self.cls_token.expand(images.shape[0], -1, -1)
        x = torch.cat((cls_token, patches), dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x, self.grid)
        return self.head(self.norm(x)[:, 0])

    def at_own_size(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of another image size as those of this one.

        The position table of a square image is interpolated to this grid (bicubic), as the
        official code does to fine-tune at another size; the class token's stays.
        """
        table = weights.get("pos_embed")
        if table is None or table.dim() != 3 or table.shape[1] == self.grid[1]:
            return dict(weights)
        patches = max(table.shape[1] - 1, 0)
        side = math.isqrt(patches)
        if side == 0 or side**2 != patches:
            return dict(weights)
        image = tokens_to_map(table[:, 1:].float(), (side, side))
        resized = interpolate(image, size=self.patch_grid, mode="bicubic", align_corners=False)
        return {**weights, "pos_embed": torch.cat((table[:, :1], map_to_tokens(resized)), dim=1)}
