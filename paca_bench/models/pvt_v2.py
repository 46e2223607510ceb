"""PVT v2: overlapping patches, convolutional MLPs and, in ``li``, pooled attention.

Wang et al., "PVT v2: Improved Baselines with Pyramid Vision Transformer", CVMJ 2022. Keys
are those of the official checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from paca_bench.attention.base import Attention, tokens_to_map
from paca_bench.attention.pvt import (
    SR_RATIOS,
    LinearSpatialReductionAttention,
    SpatialReductionAttention,
)
from paca_bench.attention.registry import Grid, attention_cost
from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.errors import UnsupportedError
from paca_bench.models.blocks import (
    Block,
    ConvMlp,
    Embedding,
    check_images,
    classifier,
    init_weights,
)
from paca_bench.models.parts import conv_mlp_cost, embed_cost, head_cost, norm_cost
from paca_bench.models.registry import Stage, Variant, register_model

NORM_EPS = 1e-6
EMBED_NORM_EPS = 1e-5
STRIDES = (4, 8, 16, 32)


def stage_grids(size: Grid, linear: bool) -> list[Grid]:
    """The token grid of each stage; each strided convolution rounds up.

    Raises:
        UnsupportedError: a grid is smaller than the stage's reduction.
    """
    least = max((r - 1) * s + 1 for s, r in zip(STRIDES, SR_RATIOS, strict=True))
    if min(size) < least and not linear:
        raise UnsupportedError(
            f"PVT v2 takes images of at least {least}x{least} pixels, not {size[0]}x{size[1]}; "
            f"pvt_v2_b2_li takes any"
        )
    return [(-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES]


def pvt_v2_stages(*, height: int, width: int, widths: Sequence[int], linear: bool) -> list[Stage]:
    """Grids of a 4th, 8th, 16th and 32nd of the image."""
    return list(zip(stage_grids((height, width), linear), widths, strict=True))


def pvt_v2_cost(
    *,
    height: int,
    width: int,
    num_classes: int,
    widths: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    mlp_ratios: Sequence[int],
    linear: bool,
) -> CostSum:
    """Four stages and the head."""
    parts: list[tuple[str, Cost]] = []
    inputs, before = 3, height * width
    for index, grid in enumerate(stage_grids((height, width), linear)):
        label, dim, tokens = f"stage{index + 1}", widths[index], math.prod(grid)
        kernel_size = 7 if index == 0 else 3
        embed = f"patch_embed{index + 1}"
        parts.append((embed, embed_cost(before, tokens, inputs, dim, kernel_size)))
        parts.append((embed, norm_cost(dim)))
        reduction = {} if linear else {"sr_ratio": SR_RATIOS[index]}
        attention = attention_cost(
            "pvt_linear" if linear else "pvt",
            grid=grid,
            dim=dim,
            num_heads=num_heads[index],
            **reduction,
        )
        mlp, norms = conv_mlp_cost(tokens, dim, mlp_ratios[index]), norm_cost(dim, 2)
        block = [("attention", attention), ("mlp", mlp), ("norms", norms)]
        parts += depths[index] * [(f"{label}.{name}", cost) for name, cost in block]
        parts.append((f"{label}.norm", norm_cost(dim)))
        inputs, before = dim, tokens
    return CostSum.of([*parts, ("head", head_cost(inputs, num_classes))])


class OverlapPatchEmbed(Embedding):
    """Overlapping patches to normed tokens: a convolution whose kernel exceeds its stride."""

    def __init__(self, inputs: int, dim: int, kernel_size: int, stride: int) -> None:
        proj = nn.Conv2d(inputs, dim, kernel_size, stride=stride, padding=kernel_size // 2)
        super().__init__(proj, dim, eps=EMBED_NORM_EPS)


def _attention(dim: int, num_heads: int, grid: Grid, sr_ratio: int, linear: bool) -> Attention:
    if linear:
        return LinearSpatialReductionAttention(dim=dim, num_heads=num_heads, grid=grid)
    return SpatialReductionAttention(dim=dim, num_heads=num_heads, grid=grid, sr_ratio=sr_ratio)


@register_model(
    Variant("pvt_v2_b0", depths=(2, 2, 2, 2), widths=(32, 64, 160, 256)),
    Variant("pvt_v2_b1", depths=(2, 2, 2, 2)),
    Variant("pvt_v2_b2", depths=(3, 4, 6, 3)),
    Variant("pvt_v2_b2_li", depths=(3, 4, 6, 3), linear=True),
    Variant("pvt_v2_b3", depths=(3, 4, 18, 3)),
    Variant("pvt_v2_b4", depths=(3, 8, 27, 3)),
    Variant("pvt_v2_b5", depths=(3, 6, 40, 3), mlp_ratios=(4, 4, 4, 4)),
    title="PVT v2",
    source="Wang et al., CVMJ 2022",
    cost=pvt_v2_cost,
    stages=pvt_v2_stages,
)
class PyramidVisionTransformerV2(nn.Module):
    """Images ``[B, 3, H, W]`` to logits ``[B, num_classes]``.

    Any size from 29 x 29 pixels, and from 1 x 1 with ``linear``.

    Args:
        num_classes: outputs of the head; 0 for none.
        img_size: (H, W); only checked, nothing is made for it.
        depths: blocks per stage.
        widths: channels per stage.
        num_heads: heads per stage.
        mlp_ratios: the MLP's expansion per stage.
        linear: attend to 7 x 7 pooled tokens, and rectify inside the MLP.
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
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.linear = linear
        inputs = 3
        for index, grid in enumerate(stage_grids(img_size, linear)):
            stage, dim = index + 1, widths[index]
            kernel_size, stride = (7, 4) if index == 0 else (3, 2)
            embed = OverlapPatchEmbed(inputs, dim, kernel_size, stride)
            self.add_module(f"patch_embed{stage}", embed)
            blocks = nn.ModuleList(
                Block(
                    dim,
                    _attention(dim, num_heads[index], grid, SR_RATIOS[index], linear),
                    ConvMlp(dim, mlp_ratios[index] * dim, rectify=linear),
                    eps=NORM_EPS,
                )
                for _ in range(depths[index])
            )
            self.add_module(f"block{stage}", blocks)
            self.add_module(f"norm{stage}", nn.LayerNorm(dim, eps=NORM_EPS))
            inputs = dim
        self.head = classifier(inputs, num_classes)
        init_weights(self, convolutions=True)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        return self.head(self.forward_features(images)[-1].mean(dim=(2, 3)))

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """The stages' normed maps ``[B, C, H, W]``."""
        # Raises where the image is too small.
        stage_grids(check_images(images), self.linear)
        image, maps = images, []
        for stage in range(1, len(STRIDES) + 1):
            x, grid = getattr(self, f"patch_embed{stage}")(image)
            for block in getattr(self, f"block{stage}"):
                x = block(x, grid)
            image = tokens_to_map(getattr(self, f"norm{stage}")(x), grid)
            maps.append(image)
        return maps
