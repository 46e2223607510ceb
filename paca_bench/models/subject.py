"""The thing that a case measures: its module, its input and its closed-form cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from paca_bench.attention.registry import Place, get_mechanism
from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.models.geometry import get_geometry, host_cost, layer_shape, stage_grid
from paca_bench.record import Case

if TYPE_CHECKING:
    from torch import nn

NUM_CLASSES = 1000


def case_options(case: Case) -> dict[str, Any]:
    """The mechanism options that the case's axes fix."""
    options = dict(case.options)
    if case.num_clusters is not None:
        options["num_clusters"] = case.num_clusters
    return options


def case_cost(case: Case, num_classes: int = NUM_CLASSES) -> Cost | CostSum:
    """The closed-form cost of the case's module for one image.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    mechanism, geometry = get_mechanism(case.mechanism), get_geometry(case.host)
    options = case_options(case)
    if case.level == "host":
        size = (case.height, case.width)
        return host_cost(mechanism, geometry, *size, num_classes=num_classes, **options)
    place, shape = _layer(case)
    return mechanism.cost(**shape, **mechanism.stage_options(place, options))


def build_subject(case: Case, num_classes: int = NUM_CLASSES) -> nn.Module:
    """The case's module in float32 on the default device; it takes one input tensor.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    from paca_bench.models.host import Host, Layer

    mechanism, geometry = get_mechanism(case.mechanism), get_geometry(case.host)
    options = case_options(case)
    if case.level == "host":
        size = {"height": case.height, "width": case.width}
        return Host(mechanism, geometry, **size, num_classes=num_classes, **options)
    place, shape = _layer(case)
    attention = mechanism.build(**shape, **mechanism.stage_options(place, options))
    return Layer(attention, shape["grid"])


def input_shape(case: Case) -> tuple[int, ...]:
    """``[B, 3, H, W]`` images for a host, ``[B, N, C]`` tokens for a layer."""
    if case.level == "host":
        return (case.batch, 3, case.height, case.width)
    _, shape = _layer(case)
    return (case.batch, math.prod(shape["grid"]), shape["dim"])


def case_tokens(case: Case) -> int:
    """N: tokens of the layer's grid, or of the host's first stage."""
    return math.prod(stage_grid(case.height, case.width, case.stage or 1))


def _layer(case: Case) -> tuple[Place, dict[str, Any]]:
    stage = case.stage or 1
    return Place(stage), layer_shape(get_geometry(case.host), case.height, case.width, stage)
