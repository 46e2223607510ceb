"""How the hosts and models of a plan grow, for the run's header."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

from paca_bench.attention.registry import get_mechanism
from paca_bench.complexity.cost import CostSum
from paca_bench.complexity.growth import growth
from paca_bench.models.external import is_external
from paca_bench.models.geometry import get_geometry, host_cost
from paca_bench.models.registry import get_model
from paca_bench.models.subject import case_options
from paca_bench.plan import PlannedCase
from paca_bench.record import Case

# Side in pixels that published numbers are mostly of.
USUAL_SIDE = 224


class UnknownGrowthWarning(UserWarning):
    """A closed form cannot be followed over sizes."""


def growths(planned: Iterable[PlannedCase]) -> list[dict[str, Any]]:
    """Stage by stage growth of each host and model of the plan, once for each, as JSON values.

    Each holds ``level``, ``host``, ``label`` and what ``complexity.growth.Growth`` has, at
    the resolution of the plan that is nearest to the usual 224 pixels.

    Warns:
        UnknownGrowthWarning: a closed form fails at some size; it is left out.
    """
    nearest: dict[tuple[str, str, str], Case] = {}
    for one in planned:
        case = one.case
        if case.level == "layer" or one.refused.keys() >= set(one.groups):
            continue
        if is_external(case.mechanism):
            continue
        key = (case.level, case.host, case.label)
        known = nearest.get(key)
        if known is None or _distance(case) < _distance(known):
            nearest[key] = case
    return [found for case in nearest.values() if (found := _growth(case))]


def _side(case: Case) -> int:
    return round(math.sqrt(case.height * case.width))


def _distance(case: Case) -> float:
    return abs(math.log(_side(case) / USUAL_SIDE))


def _growth(case: Case) -> dict[str, Any] | None:
    try:
        found = growth(lambda side: _cost(case, side), _side(case))
    except Exception as error:  # a user's closed form, which may fail in any way
        warnings.warn(
            f"the growth of {case.label} is not known: its closed form failed: "
            f"{type(error).__name__}: {error}",
            UnknownGrowthWarning,
            stacklevel=2,
        )
        return None
    return {"level": case.level, "host": case.host, "label": case.label, **found.to_json()}


def _cost(case: Case, side: int) -> CostSum:
    size = {"height": side, "width": side, **case_options(case)}
    if case.level == "model":
        return get_model(case.mechanism).cost(**size)
    return host_cost(get_mechanism(case.mechanism), get_geometry(case.host), **size)
