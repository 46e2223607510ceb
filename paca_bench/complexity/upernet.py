"""The closed-form cost of UPerNet, the decode head that published ADE20k tables compare with.

Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, as mmsegmentation
configures it for a pyramid backbone. It is counted, for the tables; it is not built here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from paca_bench.attention.registry import Grid
from paca_bench.complexity.cost import Cost
from paca_bench.models.parts import convolution_cost, norm_cost

CHANNELS = 512
AUXILIARY_CHANNELS = 256
POOLED_SIDES = (1, 2, 3, 6)


def upernet_parts(stages: Sequence[tuple[Grid, int]], num_classes: int) -> list[tuple[str, Cost]]:
    """The parts of the head on stage maps (grid, channels), finest first.

    ``auxiliary_head``, a small convolutional head on the third stage, is trained beside it: it
    has parameters, and no work in inference.
    """
    tokens = [math.prod(grid) for grid, _ in stages]
    widths = [width for _, width in stages]
    joined = CHANNELS * len(POOLED_SIDES)

    def conv(label: str, count: int, inputs: int, kernel_size: int) -> list[tuple[str, Cost]]:
        cost = convolution_cost(count, inputs, CHANNELS, kernel_size, bias=False)
        return [(f"decode_head.{label}", cost), (f"decode_head.{label}", norm_cost(CHANNELS))]

    parts: list[tuple[str, Cost]] = []
    for side in POOLED_SIDES:
        parts += conv("pooling", side**2, widths[-1], 1)
    parts += conv("bottleneck", tokens[-1], widths[-1] + joined, 3)
    for count, width in zip(tokens[:-1], widths[:-1], strict=True):
        parts += conv("lateral", count, width, 1) + conv("fpn", count, CHANNELS, 3)
    parts += conv("fusion", tokens[0], CHANNELS * len(stages), 3)
    classifier = convolution_cost(tokens[0], CHANNELS, num_classes, 1)
    return [
        *parts,
        ("decode_head.conv_seg", classifier),
        ("auxiliary_head", convolution_cost(0, widths[-2], AUXILIARY_CHANNELS, 3, bias=False)),
        ("auxiliary_head", norm_cost(AUXILIARY_CHANNELS)),
        ("auxiliary_head", convolution_cost(0, AUXILIARY_CHANNELS, num_classes, 1)),
    ]


def upernet_elements(stages: Sequence[tuple[Grid, int]]) -> dict[str, int]:
    """Elements that the head batch-norms, pools, and makes by bilinear interpolation."""
    tokens = [math.prod(grid) for grid, _ in stages]
    pooled = sum(side**2 for side in POOLED_SIDES)
    # A lateral and an FPN convolution per finer stage, the bottleneck and the fusion.
    normed = pooled + tokens[-1] + 2 * sum(tokens[:-1]) + tokens[0]
    # Pooled maps to the coarsest grid; each stage to the next finer; all to the finest.
    resized = len(POOLED_SIDES) * tokens[-1] + sum(tokens[:-1]) + (len(tokens) - 1) * tokens[0]
    return {
        "batch_norm": CHANNELS * normed,
        "pooling": len(POOLED_SIDES) * tokens[-1] * stages[-1][1],
        "bilinear": CHANNELS * resized,
    }
