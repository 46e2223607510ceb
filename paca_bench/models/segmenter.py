"""PaCa's segmentation head on a backbone: one learned cluster for each class.

Grainger et al., CVPR 2023, section 3.5. Keys are those of the official checkpoints:
``backbone.*`` and ``decode_head.*``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu, scaled_dot_product_attention

from paca_bench.attention.base import map_to_tokens, tokens_to_map
from paca_bench.attention.registry import check_integer
from paca_bench.complexity.cost import CostSum
from paca_bench.models.dense_cost import head_parts
from paca_bench.models.registry import ImageSize, get_model, image_size

DROPOUT = 0.1


class ConvNormReLU(nn.Module):
    """A 1x1 convolution without bias, a batch norm and a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """``[B, D, H, W]`` -> ``[B, C, H, W]``."""
        return relu(self.bn(self.conv(image)))


class Transpose(nn.Module):
    """Swap the last two axes: a batch norm takes channels before tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, M, C]`` -> ``[B, C, M]``, and back."""
        return x.transpose(1, 2)


def cluster_projection(inputs: int, outputs: int) -> nn.Sequential:
    """Linear, batch norm, ReLU on cluster tokens: ``[B, M, D]`` -> ``[B, M, C]``."""
    norm = nn.BatchNorm1d(outputs)
    return nn.Sequential(nn.Linear(inputs, outputs), Transpose(), norm, Transpose(), nn.ReLU())


def stage_convolutions(widths: Sequence[int], channels: int) -> nn.ModuleList:
    """What brings each stage map to ``channels``."""
    return nn.ModuleList(ConvNormReLU(width, channels) for width in widths)


def joined_levels(convolutions: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """All stage maps at the finest resolution, channels beside each other."""
    levels = [convolve(image) for convolve, image in zip(convolutions, maps, strict=True)]
    grid = levels[0].shape[2:]
    resized = [
        interpolate(level, size=grid, mode="bilinear", align_corners=False) for level in levels[1:]
    ]
    return torch.cat([levels[0], *resized], dim=1)


class PaCaSegHead(nn.Module):
    """Stage maps to class scores, by attention to one cluster per class.

    Args:
        widths: channels of the stage maps, finest first.
        num_classes: classes, and clusters M.
        channels: C inside the head.
    """

    def __init__(self, widths: Sequence[int], num_classes: int, channels: int = 256) -> None:
        super().__init__()
        joined = channels * len(widths)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.bias)  # type: ignore[arg-type]
        self.dropout = nn.Dropout2d(DROPOUT)
        self.convs = stage_convolutions(widths, channels)
        self.q = nn.Sequential(ConvNormReLU(joined, channels))
        self.clustering = nn.Sequential(
            ConvNormReLU(joined, channels), nn.Conv2d(channels, num_classes, 1)
        )
        self.k = cluster_projection(joined, channels)
        self.v = cluster_projection(joined, channels)
        self.proj = ConvNormReLU(channels, channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Class scores ``[B, M, H, W]`` on the finest map's grid.

        In training mode also the assignment before its softmax, ``[B, M, H, W]``: the
        official training supervises it as an auxiliary segmentation, of weight 0.4.
        """
        grid = (maps[0].shape[2], maps[0].shape[3])
        x = joined_levels(self.convs, maps)
        scores = self.clustering(x)
        clusters = scores.flatten(2).softmax(dim=-1) @ map_to_tokens(x)
        # One head, and no scaling of the products.
        q, k, v = (
            t.unsqueeze(1) for t in (map_to_tokens(self.q(x)), self.k(clusters), self.v(clusters))
        )
        attended = scaled_dot_product_attention(q, k, v, scale=1.0).squeeze(1)
        out = self.conv_seg(self.dropout(self.proj(tokens_to_map(attended, grid))))
        return (out, scores) if self.training else out


class Segmenter(nn.Module):
    """A backbone and a head, such as ``PaCaSegHead``: images ``[B, 3, H, W]`` to class scores.

    The scores ``[B, num_classes, h, w]`` lie on the grid of the backbone's first stage, a
    quarter of the image's sides; interpolate them for a mask of the image's size.
    """

    def __init__(self, backbone: nn.Module, decode_head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = decode_head

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The scores; see ``PaCaSegHead.forward`` for training mode."""
        return self.decode_head(self.backbone.forward_features(images))  # type: ignore[operator]


def create_segmenter(
    backbone: str,
    num_classes: int = 150,
    *,
    img_size: ImageSize = 512,
    channels: int = 256,
    **options: Any,
) -> Segmenter:
    """PaCa's segmentation head on a registered pyramid.

    Args:
        backbone: a registered name, such as ``pacavit_tiny_p2cconv_100_0``.
        num_classes: classes; the head makes one cluster for each.
        img_size: see ``create_model``.
        channels: C inside the head.
        **options: settings of the backbone; the official configurations take
            ``clusters=(200, 200, 200, 0)`` where they classify with 100.

    Raises:
        SpecError: unknown name or option, or a backbone without stages.
        UnsupportedError: the backbone cannot work at ``img_size``.
    """
    check_integer("num_classes", num_classes)
    check_integer("channels", channels)
    model, size = get_model(backbone), image_size(img_size)
    settings = {**model.dense_settings, **options}
    stages = model.stages(height=size[0], width=size[1], **settings)
    head = PaCaSegHead([width for _, width in stages], num_classes, channels)
    return Segmenter(model.build(num_classes=0, img_size=size, **settings), head)


def segmenter_cost(
    backbone: str,
    num_classes: int = 150,
    *,
    height: int,
    width: int,
    channels: int = 256,
    **options: Any,
) -> CostSum:
    """The closed-form cost of ``create_segmenter`` for one image; nothing is built."""
    check_integer("num_classes", num_classes)
    check_integer("channels", channels)
    model = get_model(backbone)
    shape = {"height": height, "width": width, **model.dense_settings, **options}
    stages = model.stages(**shape)
    parts = [
        (f"backbone.{label}", cost) for label, cost in model.cost(**shape, num_classes=0).parts
    ]
    return CostSum.of([*parts, *head_parts(stages, num_classes, channels)])
