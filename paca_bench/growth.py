"""How the hosts and models of a plan grow, for the run's header."""

from __future__ import annotations

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


def growths(planned: Iterable[PlannedCase]) -> list[dict[str, Any]]:
    """Stage by stage growth of each host and model of the plan, once for each, as JSON values.

    Each holds ``level``, ``host``, ``label`` and what ``complexity.growth.Growth`` has, at
    the smallest resolution of the plan.
    """
    smallest: dict[tuple[str, str, str], Case] = {}
    for one in planned:
        case = one.case
        if case.level == "layer" or one.refused.keys() >= set(one.groups):
            continue
        if is_external(case.mechanism):
            continue
        key = (case.level, case.host, case.label)
        known = smallest.get(key)
        if known is None or case.height * case.width < known.height * known.width:
            smallest[key] = case
    return [_growth(case) for case in smallest.values()]


def _growth(case: Case) -> dict[str, Any]:
    side = round((case.height * case.width) ** 0.5)
    found = growth(lambda s: _cost(case, s), side)
    return {"level": case.level, "host": case.host, "label": case.label, **found.to_json()}


def _cost(case: Case, side: int) -> CostSum:
    size = {"height": side, "width": side, **case_options(case)}
    if case.level == "model":
        return get_model(case.mechanism).cost(**size)
    return host_cost(get_mechanism(case.mechanism), get_geometry(case.host), **size)
