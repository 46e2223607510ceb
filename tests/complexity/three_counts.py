"""Closed form, dispatch counter and fvcore of one case, compared in all that they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from paca_bench.attention.registry import Grid
from paca_bench.complexity.dispatch import Counts, count
from paca_bench.complexity.fvcore_handles import fvcore_backward_macs, fvcore_macs
from paca_bench.models.subject import build_subject, case_cost, input_shape
from paca_bench.record import Case

STAGES = (1, 2, 3, 4)
FLOAT_BYTES = 4


class Comparison(NamedTuple):
    """A number by the closed form, and the same by another count."""

    what: str
    expected: int
    found: int


def layer_case(mechanism: str, stage: int, size: Grid, **axes: Any) -> Case:
    return _case("layer", mechanism, size, host="tiny", stage=stage, **axes)


def host_case(mechanism: str, geometry: str, size: Grid, **axes: Any) -> Case:
    return _case("host", mechanism, size, host=geometry, **axes)


def model_case(name: str, size: Grid) -> Case:
    return _case("model", name, size, host="")


def _case(level: str, mechanism: str, size: Grid, **axes: Any) -> Case:
    height, width = size
    return Case(level=level, mechanism=mechanism, height=height, width=width, mode="train", **axes)


def comparisons(case: Case) -> Iterator[Comparison]:
    """All of one case, for one image."""
    cost = case_cost(case)
    assert cost is not None
    with torch.device("meta"):
        module = build_subject(case)
        x = torch.empty(1, *input_shape(case)[1:])
    # An image wants no gradient; tokens inside a network do.
    wanted = {"input_gradient": case.level == "layer"}
    counts = count(module, x.shape, backward=True, **wanted)
    assert counts.backward is not None
    yield Comparison("forward MACs by dispatch", cost.macs, counts.macs)
    yield Comparison("forward MACs by fvcore", cost.macs, fvcore_macs(module, x))
    yield Comparison("backward MACs by dispatch", cost.backward_macs, counts.backward.macs)
    by_fvcore = fvcore_backward_macs(module, x, **wanted)
    yield Comparison("backward MACs by fvcore", cost.backward_macs, by_fvcore)
    for what, train, found in (
        ("forward bytes", False, counts.moved_bytes),
        ("training bytes", True, total_bytes(counts)),
    ):
        elements = cost.moved_elements(train=train)
        if elements is not None:
            yield Comparison(f"{what} by dispatch", FLOAT_BYTES * elements, found)


def total_bytes(counts: Counts) -> int:
    """Of forward and backward."""
    assert counts.backward is not None
    return counts.moved_bytes + counts.backward.moved_bytes
