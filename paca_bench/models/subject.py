"""The thing that a case measures: its module, its input and its closed-form cost.

One class a level; the functions below pick by the case's level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from paca_bench.attention.registry import Place, get_mechanism
from paca_bench.axes import clusters_by_stage
from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.errors import SpecError
from paca_bench.models.dense_cost import dense_host_cost
from paca_bench.models.external import build_external, is_external
from paca_bench.models.geometry import get_geometry, host_cost, layer_shape, stage_grid
from paca_bench.models.registry import get_model
from paca_bench.record import Case

if TYPE_CHECKING:
    from torch import nn

NUM_CLASSES = 1000
# Of the masks of ``pathfinder``, the one data set that has some.
MASK_CLASSES = 4


class Subject(Protocol):
    """What is measured at one level."""

    def __init__(self, case: Case) -> None: ...

    def build(self, num_classes: int) -> nn.Module:
        """The module, in float32 on the default device; it takes one tensor."""

    def cost(self, num_classes: int) -> Cost | CostSum | None:
        """The closed form for one image; None where there is none."""

    def input_shape(self) -> tuple[int, ...]:
        """Of the tensor that the module takes."""


class _Layer:
    def __init__(self, case: Case) -> None:
        self.case = case
        stage = case.stage or 1
        self.mechanism = get_mechanism(case.mechanism)
        geometry = get_geometry(case.host)
        self.shape = layer_shape(geometry, case.height, case.width, stage)
        place = Place(stage, device=case.device)
        self.options = self.mechanism.options_at(place, case_options(case))

    def build(self, num_classes: int) -> nn.Module:
        from paca_bench.models.host import Layer

        return Layer(self.mechanism.build(**self.shape, **self.options), self.shape["grid"])

    def cost(self, num_classes: int) -> Cost:
        return self.mechanism.cost(**self.shape, **self.options)

    def input_shape(self) -> tuple[int, ...]:
        return (self.case.batch, math.prod(self.shape["grid"]), self.shape["dim"])


class _Host:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.parts = (get_mechanism(case.mechanism), get_geometry(case.host))
        self.settings = {"height": case.height, "width": case.width, **case_options(case)}

    def build(self, num_classes: int) -> nn.Module:
        from paca_bench.models.host import Host

        return Host(*self.parts, num_classes=num_classes, **self.settings)

    def cost(self, num_classes: int) -> CostSum:
        return host_cost(*self.parts, num_classes=num_classes, **self.settings)

    def input_shape(self) -> tuple[int, ...]:
        return (self.case.batch, 3, self.case.height, self.case.width)


class _DenseHost(_Host):
    def build(self, num_classes: int) -> nn.Module:
        from paca_bench.models.dense_host import create_dense_host

        head = self.case.head
        return create_dense_host(*self.parts, head, num_classes=num_classes, **self.settings)

    def cost(self, num_classes: int) -> CostSum:
        return dense_host_cost(
            *self.parts, self.case.head, num_classes=num_classes, **self.settings
        )


class _Model:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.size = (case.height, case.width)

    def build(self, num_classes: int) -> nn.Module:
        name, options = self.case.mechanism, case_options(self.case)
        if is_external(name):
            return build_external(name, num_classes=num_classes, img_size=self.size)
        return get_model(name).build(num_classes=num_classes, img_size=self.size, **options)

    def cost(self, num_classes: int) -> CostSum | None:
        if is_external(self.case.mechanism):
            return None
        model, (height, width) = get_model(self.case.mechanism), self.size
        options = case_options(self.case)
        return model.cost(height=height, width=width, num_classes=num_classes, **options)

    def input_shape(self) -> tuple[int, ...]:
        return (self.case.batch, 3, *self.size)


_SUBJECTS: Mapping[str, type[Subject]] = {"layer": _Layer, "host": _Host, "model": _Model}


def _subject(case: Case) -> Subject:
    if case.level not in _SUBJECTS:
        raise SpecError(f"unknown level {case.level!r}; choose from {', '.join(_SUBJECTS)}")
    return _DenseHost(case) if case.is_dense else _SUBJECTS[case.level](case)


def _classes(case: Case, known: int | None) -> int:
    """``known``, or the classes of a case whose data set is not known."""
    if known is not None:
        return known
    return MASK_CLASSES if case.is_dense else NUM_CLASSES


def case_options(case: Case) -> dict[str, Any]:
    """The options that the case's axes fix; ``num_clusters`` is a tuple where it is by stage."""
    options: dict[str, Any] = dict(case.options)
    if isinstance(by_stage := options.get("num_clusters"), str):
        options["num_clusters"] = clusters_by_stage(by_stage)
    if case.num_clusters is not None:
        options["num_clusters"] = case.num_clusters
    return options


def case_cost(case: Case, num_classes: int | None = None) -> Cost | CostSum | None:
    """The closed-form cost of the case's module for one image; None where there is none.

    Only models of other libraries have none.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    return _subject(case).cost(_classes(case, num_classes))


def case_macs(case: Case, num_classes: int | None = None) -> int:
    """Multiply-accumulates for one image: by the closed form, or counted where there is none.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
        CountError: it had to be counted, and an operator has no counter.
    """
    cost = case_cost(case, num_classes)
    if cost is not None:
        return cost.macs
    import torch

    from paca_bench.complexity.dispatch import count

    with torch.device("meta"):
        module = build_subject(case, num_classes)
    return count(module, (1, *input_shape(case)[1:])).macs


def build_subject(case: Case, num_classes: int | None = None) -> nn.Module:
    """The case's module in float32 on the default device; it takes one input tensor.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    return _subject(case).build(_classes(case, num_classes))


def input_shape(case: Case) -> tuple[int, ...]:
    """``[B, N, C]`` tokens for a layer, ``[B, 3, H, W]`` images for the others."""
    return _subject(case).input_shape()


def output_shape(case: Case) -> tuple[int, ...]:
    """Tokens as they came for a layer, ``[B, NUM_CLASSES]`` logits for the others."""
    return input_shape(case) if case.level == "layer" else (case.batch, NUM_CLASSES)


def case_tokens(case: Case) -> int:
    """N: tokens of the layer's grid; of a grid of stride 4 for the others."""
    return math.prod(stage_grid(case.height, case.width, case.stage or 1))
