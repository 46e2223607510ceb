"""The closed-form costs of segmentation heads, alone and on the host. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from paca_bench.attention.registry import Mechanism
from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.complexity.term import C, D, M, N, attention, linear, norm, product
from paca_bench.models.geometry import Geometry, host_cost, stage_grid
from paca_bench.models.parts import convolution_cost, norm_cost
from paca_bench.models.registry import Stage

# What both heads bring each stage of a host to: a quarter of the official head's.
HOST_HEAD_CHANNELS = 64

_PROJECTION = {"linear": linear(M, D, C), "norm": norm(C)}
_PRODUCTS = {"aggregation": product(M, N, D), "products": attention(N, M, C)}


def _levels(stages: Sequence[Stage], channels: int) -> list[tuple[str, Cost]]:
    """Each stage map brought to ``channels``."""
    parts: list[tuple[str, Cost]] = []
    for index, (grid, width) in enumerate(stages):
        parts += _conv(f"decode_head.convs{index}", width, channels, math.prod(grid))
    return parts


def _conv(label: str, inputs: int, outputs: int, tokens: int) -> list[tuple[str, Cost]]:
    """A 1x1 convolution without bias, and a norm."""
    cost = convolution_cost(tokens, inputs, outputs, 1, bias=False)
    return [(label, cost), (label, norm_cost(outputs))]


def head_parts(stages: Sequence[Stage], num_classes: int, channels: int) -> list[tuple[str, Cost]]:
    """The closed-form parts of ``PaCaSegHead`` on maps of these shapes."""
    tokens, joined = math.prod(stages[0][0]), channels * len(stages)
    parts = _levels(stages, channels)
    parts += _conv("decode_head.q", joined, channels, tokens)
    parts += _conv("decode_head.clustering", joined, channels, tokens)
    to_clusters = convolution_cost(tokens, channels, num_classes, 1)
    parts.append(("decode_head.to_clusters", to_clusters))
    shape = {"N": tokens, "M": num_classes, "C": channels, "D": joined}
    parts += [(f"decode_head.{name}", Cost(_PROJECTION, shape)) for name in ("k", "v")]
    parts.append(("decode_head.attention", Cost(_PRODUCTS, shape)))
    parts += _conv("decode_head.proj", channels, channels, tokens)
    parts.append(("decode_head.conv_seg", convolution_cost(tokens, channels, num_classes, 1)))
    return parts


def linear_head_parts(
    stages: Sequence[Stage], num_classes: int, channels: int
) -> list[tuple[str, Cost]]:
    """The closed-form parts of ``LinearSegHead`` on maps of these shapes."""
    tokens, joined = math.prod(stages[0][0]), channels * len(stages)
    conv_seg = convolution_cost(tokens, joined, num_classes, 1)
    return [*_levels(stages, channels), ("decode_head.conv_seg", conv_seg)]


_HEADS = {"paca": head_parts, "linear": linear_head_parts}


def dense_host_cost(
    mechanism: Mechanism,
    geometry: Geometry,
    head: str,
    *,
    height: int,
    width: int,
    num_classes: int,
    **options: Any,
) -> CostSum:
    """The closed-form cost of ``create_dense_host`` for one image.

    Raises:
        SpecError: an option does not exist.
        UnsupportedError: the mechanism cannot work on one of the four grids.
    """
    grids = [stage_grid(height, width, stage) for stage in range(1, len(geometry.widths) + 1)]
    stages = list(zip(grids, geometry.widths, strict=True))
    backbone = host_cost(mechanism, geometry, height, width, num_classes=0, **options)
    parts = [(f"backbone.{label}", cost) for label, cost in backbone.parts]
    return CostSum.of([*parts, *_HEADS[head](stages, num_classes, HOST_HEAD_CHANNELS)])
