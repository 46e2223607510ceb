"""The shape of the controlled four-stage pyramid, and its closed-form cost. No torch.

The host is the same for every mechanism: a convolutional stem of stride 4, transitions of
stride 2, and blocks of attention and an MLP with a depthwise 3x3 convolution, which gives
all mechanisms alike a sense of position. Only the attention differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paca_bench.attention.registry import Grid, Mechanism, Place
from paca_bench.axes import NUM_STAGES
from paca_bench.complexity.cost import CostSum
from paca_bench.errors import SpecError
from paca_bench.models.parts import conv_mlp_cost, head_cost, norm_cost, stem_cost, transition_cost

# Of the stem, the transitions and the depthwise convolution in the MLP.
KERNEL_SIDE = 3


@dataclass(frozen=True, slots=True)
class Geometry:
    """Widths, heads and depths of the four stages; ``mlp_ratio`` is the MLP's expansion."""

    name: str
    widths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    mlp_ratio: int = 4


GEOMETRIES: Mapping[str, Geometry] = {
    g.name: g
    for g in (
        # One block a stage, which sees the least without attention: for tasks of long range.
        Geometry("pico", (16, 32, 64, 128), (1, 1, 2, 4), (1, 1, 1, 1)),
        # The widths of PVT v2 b0, PVT v2 b1 and Swin tiny: sizes that papers compare at.
        Geometry("nano", (32, 64, 160, 256), (1, 2, 5, 8), (2, 2, 2, 2)),
        Geometry("tiny", (64, 128, 320, 512), (1, 2, 5, 8), (2, 2, 2, 2)),
        Geometry("small", (96, 192, 384, 768), (3, 6, 12, 24), (2, 2, 6, 2)),
    )
}


def get_geometry(name: str) -> Geometry:
    """The geometry called ``name``.

    Raises:
        SpecError: there is none.
    """
    if name not in GEOMETRIES:
        raise SpecError(f"unknown host {name!r}; choose from {', '.join(GEOMETRIES)}")
    return GEOMETRIES[name]


def stage_grid(height: int, width: int, stage: int) -> Grid:
    """Tokens (H, W) of ``stage`` (from 1) for an image; each stride 2 halves and rounds up."""
    for _ in range(stage + 1):
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def local_reach(geometry: Geometry, stage: int) -> int:
    """Side in pixels of the square of the image that a token of ``stage`` (from 1) sees
    without attention, through the convolutions alone.
    """
    side, stride = 1, 1
    # The stem is two convolutions of stride 2, each transition one.
    strides = [[2, 2]] + [[2]] * (NUM_STAGES - 1)
    for halvings, depth in list(zip(strides, geometry.depths, strict=True))[:stage]:
        for halving in halvings:
            side += (KERNEL_SIDE - 1) * stride
            stride *= halving
        side += depth * (KERNEL_SIDE - 1) * stride
    return side


def layer_shape(geometry: Geometry, height: int, width: int, stage: int) -> dict[str, Any]:
    """``grid``, ``dim`` and ``num_heads`` of an attention module of ``stage`` (from 1)."""
    return {
        "grid": stage_grid(height, width, stage),
        "dim": geometry.widths[stage - 1],
        "num_heads": geometry.heads[stage - 1],
    }


def places(geometry: Geometry) -> Iterator[Place]:
    """Every block's place, first to last."""
    for stage, depth in enumerate(geometry.depths, start=1):
        for block in range(depth):
            yield Place(stage, block)


def host_cost(
    mechanism: Mechanism,
    geometry: Geometry,
    height: int,
    width: int,
    *,
    num_classes: int = 1000,
    **options: Any,
) -> CostSum:
    """The closed-form cost of the host with ``mechanism`` in every block, for one image.

    Without classes it ends at the stage maps; see ``Host``.

    Raises:
        SpecError: an option does not exist.
        UnsupportedError: the mechanism cannot work on one of the four grids.
    """
    grids = [stage_grid(height, width, stage) for stage in range(NUM_STAGES + 1)]
    half, *tokens = (math.prod(grid) for grid in grids)
    parts = [("stem", stem_cost(height * width, half, tokens[0], geometry.widths[0]))]
    for index, (dim, depth) in enumerate(zip(geometry.widths, geometry.depths, strict=True)):
        label = f"stage{index + 1}"
        if index:
            before, inputs = tokens[index - 1], geometry.widths[index - 1]
            transition = transition_cost(before, tokens[index], inputs, dim)
            parts.append((f"transition{index}", transition))
        shape = layer_shape(geometry, height, width, index + 1)
        rows, columns = shape["grid"]
        # Maps smaller than the kernel are padded before the convolution; see ``host.Mlp``.
        read = (rows + 2) * (columns + 2) if min(rows, columns) < KERNEL_SIDE else None
        mlp = conv_mlp_cost(tokens[index], dim, geometry.mlp_ratio, tokens_in=read)
        norms = norm_cost(dim, 2)
        for block in range(depth):
            block_options = mechanism.options_at(Place(index + 1, block), options)
            parts.append((f"{label}.attention", mechanism.cost(**shape, **block_options)))
            parts += [(f"{label}.mlp", mlp), (f"{label}.norms", norms)]
    if num_classes:
        parts.append(("norm", norm_cost(geometry.widths[-1])))
        parts.append(("head", head_cost(geometry.widths[-1], num_classes)))
    return CostSum.of(parts)
