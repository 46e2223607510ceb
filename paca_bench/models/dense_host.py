"""The host with a segmentation head: what the dense task trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from paca_bench.attention.registry import Mechanism
from paca_bench.models.dense_cost import HOST_HEAD_CHANNELS
from paca_bench.models.geometry import Geometry
from paca_bench.models.host import Host
from paca_bench.models.segmenter import (
    DROPOUT,
    PaCaSegHead,
    Segmenter,
    joined_levels,
    stage_convolutions,
)


class LinearSegHead(nn.Module):
    """Stage maps to class scores by one 1x1 convolution: ``PaCaSegHead`` without its attention.

    Both heads see the same: all four stages, each brought to ``channels``, side by side on the
    finest grid. So a difference between them is due to what PaCa's head does with that.

    Args:
        widths: channels of the stage maps, finest first.
        num_classes: classes.
        channels: that each stage map is brought to.
    """

    def __init__(self, widths: Sequence[int], num_classes: int, channels: int) -> None:
        super().__init__()
        self.convs = stage_convolutions(widths, channels)
        self.dropout = nn.Dropout2d(DROPOUT)
        self.conv_seg = nn.Conv2d(channels * len(widths), num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Class scores ``[B, num_classes, H, W]`` on the finest map's grid."""
        return self.conv_seg(self.dropout(joined_levels(self.convs, maps)))


_HEADS: Mapping[str, Callable[..., nn.Module]] = {"paca": PaCaSegHead, "linear": LinearSegHead}


def create_dense_host(
    mechanism: Mechanism, geometry: Geometry, head: str, *, num_classes: int, **settings: Any
) -> Segmenter:
    """The host's four stages under ``head``; ``settings`` are ``Host``'s.

    Images ``[B, 3, H, W]`` to class scores ``[B, num_classes, h, w]`` at a quarter of the sides;
    see ``PaCaSegHead.forward`` for its training mode.
    """
    backbone = Host(mechanism, geometry, num_classes=0, **settings)
    return Segmenter(backbone, _HEADS[head](geometry.widths, num_classes, HOST_HEAD_CHANNELS))
