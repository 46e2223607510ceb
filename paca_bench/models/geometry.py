"""The shape of the controlled four-stage pyramid, and its closed-form cost. No torch.

The host is the same for every mechanism: a convolutional stem of stride 4, transitions of
stride 2, and blocks of attention and an MLP with a depthwise 3x3 convolution, which gives
all mechanisms alike a sense of position. Only the attention differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paca_bench.attention.registry import Grid, Mechanism, Place
from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.complexity.expr import symbols
from paca_bench.errors import SpecError

NUM_STAGES = 4


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


_K, _H, _N, _C, _D = symbols("K N_half N C D")


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

    Raises:
        SpecError: an option does not exist.
        UnsupportedError: the mechanism cannot work on one of the four grids.
    """
    parts = [("stem", _stem_cost(geometry, height, width))]
    for place in places(geometry):
        label = f"stage{place.stage}"
        shape = layer_shape(geometry, height, width, place.stage)
        if place.block == 0 and place.stage > 1:
            parts.append((f"transition{place.stage - 1}", _transition_cost(geometry, shape, place)))
        block_options = mechanism.stage_options(place, options)
        parts.append((f"{label}.attention", mechanism.cost(**shape, **block_options)))
        parts.append((f"{label}.mlp", _mlp_cost(shape, geometry.mlp_ratio)))
        parts.append((f"{label}.norms", _norm_cost(shape, 2)))
    last = layer_shape(geometry, height, width, NUM_STAGES)
    parts.append(("norm", _norm_cost(last, 1)))
    head = Cost({"linear": _C * _K}, {"C": last["dim"], "K": num_classes}, {"linear": _C * _K + _K})
    return CostSum.of([*parts, ("head", head)])


def _stem_cost(geometry: Geometry, height: int, width: int) -> Cost:
    """Two 3x3 convolutions of stride 2, 3 -> D -> C with D = C/2, and a LayerNorm."""
    half_height, half_width = -(-height // 2), -(-width // 2)
    grid = stage_grid(height, width, 1)
    values = {
        "N_half": half_height * half_width,
        "N": grid[0] * grid[1],
        "C": geometry.widths[0],
        "D": geometry.widths[0] // 2,
    }
    return Cost(
        {"convolution": 27 * _D * _H + 9 * _D * _C * _N},
        values,
        {"convolution": 27 * _D + _D + 9 * _D * _C + _C, "norm": 2 * _C},
    )


def _transition_cost(geometry: Geometry, shape: Mapping[str, Any], place: Place) -> Cost:
    """A 3x3 convolution of stride 2, D -> C, and a LayerNorm."""
    values = {**_values(shape), "D": geometry.widths[place.stage - 2]}
    return Cost(
        {"convolution": 9 * _D * _C * _N},
        values,
        {"convolution": 9 * _D * _C + _C, "norm": 2 * _C},
    )


def _mlp_cost(shape: Mapping[str, Any], ratio: int) -> Cost:
    """Two linear maps and, between them, a depthwise 3x3 convolution."""
    return Cost(
        {"linear": 2 * ratio * _N * _C**2, "depthwise": 9 * ratio * _N * _C},
        _values(shape),
        {"linear": 2 * ratio * _C**2 + (ratio + 1) * _C, "depthwise": 10 * ratio * _C},
    )


def _norm_cost(shape: Mapping[str, Any], count: int) -> Cost:
    return Cost({}, _values(shape), {"norm": 2 * count * _C})


def _values(shape: Mapping[str, Any]) -> dict[str, int]:
    return {"N": shape["grid"][0] * shape["grid"][1], "C": shape["dim"]}
