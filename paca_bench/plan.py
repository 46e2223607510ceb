"""From a spec to the grid of cases, each with what it is predicted to cost.

A case that cannot be built, or does not fit the budget, stays in the plan with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from paca_bench.attention.registry import get_mechanism
from paca_bench.complexity.cost import Totals
from paca_bench.complexity.roofline import static_metrics
from paca_bench.errors import PacaBenchError, SpecError, UnsupportedError
from paca_bench.grid import make_grid, make_recipe
from paca_bench.measure.recipe import training_seconds
from paca_bench.models.subject import MASK_CLASSES, case_cost, case_macs
from paca_bench.predicted_time import (
    CALLS_OF_CHECK,
    EFFICIENCY,
    FIT_START_S,
    Machine,
    budget_flag,
    call_seconds,
    energy_seconds,
    memory_seconds,
    start_seconds,
    unit_seconds,
)
from paca_bench.record import EXECUTION, Case, Status
from paca_bench.spec import SweepSpec
from paca_bench.units import format_seconds

ASSUMED_TEST_IMAGES = 1000
ASSUMED_CLASSES = 10
# Weights are float32; float16 would want its losses scaled.
TRAINED_AUTOCASTS = ("none", "bfloat16")
# How much of a budget accuracy may take where other metrics want some too.
ACCURACY_SHARE = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCase:
    """A case and what is expected of it.

    Attributes:
        case: the grid point.
        groups: metric groups to measure, in order.
        macs: of one forward pass of one image; 0 where the case cannot be built.
        static: what its closed form says, by the names of a record's metrics.
        call_s: predicted seconds of one call (a forward pass, a training step, a training).
        wall_s: predicted seconds of all its measurements, without ``complexity``.
        refused: metric group -> (status, reason) of what will not be run.
    """

    case: Case
    groups: tuple[str, ...]
    macs: int = 0
    static: Mapping[str, float] = field(default_factory=dict)
    call_s: float = 0.0
    wall_s: float = 0.0
    refused: Mapping[str, tuple[Status, str]] = field(default_factory=dict)

    @property
    def to_run(self) -> tuple[str, ...]:
        """The groups that are not refused."""
        return tuple(group for group in self.groups if group not in self.refused)

    def refuse(self, groups: Iterable[str], status: Status, reason: str) -> PlannedCase:
        """This case with ``groups`` not to be run."""
        return replace(self, refused={**self.refused, **dict.fromkeys(groups, (status, reason))})


def make_plan(spec: SweepSpec, device: str, machine: Machine) -> list[PlannedCase]:
    """All cases of ``spec`` on ``device``, those that cannot be built refused.

    Raises:
        SpecError: as ``make_grid``, or no case would remain.
    """
    # The closed form is that of a shape: one for all batches, dtypes and modes.
    cost_of = lru_cache(maxsize=1024)(case_cost)
    planned = [
        _predict(case, groups, spec, machine, cost_of) for case, groups in make_grid(spec, device)
    ]
    if not planned:
        raise SpecError(
            "the sweep has no case: accuracy is trained at levels host and model, so add "
            "--level host or another metric"
        )
    return planned


def _predict(
    case: Case,
    groups: tuple[str, ...],
    spec: SweepSpec,
    machine: Machine,
    cost_of: Callable[[Case], Totals | None],
) -> PlannedCase:
    planned = PlannedCase(case=case, groups=groups)
    if reason := _senseless(case):
        return planned.refuse(groups, Status.NOT_SUPPORTED, reason)
    as_usual: dict[str, Any] = {axis: values[0] for axis, values in EXECUTION.items()}
    try:
        cost = cost_of(replace(case, mode="", batch=1, dtype="", **as_usual))
        macs = case_macs(case) if cost is None else cost.macs
        planned = replace(planned, macs=macs, static=_static(case, cost, machine))
    except UnsupportedError as error:
        return planned.refuse(groups, Status.NOT_SUPPORTED, str(error))
    except PacaBenchError:
        raise
    except Exception as error:  # a user's closed form, which may fail in any way
        reason = f"the cost of {case.mechanism!r} failed: {type(error).__name__}: {error}"
        return planned.refuse(groups, Status.ERROR, reason)
    if case.is_training:
        call_s = FIT_START_S + training_seconds(
            case,
            make_recipe(spec, case.device),
            macs_per_s=EFFICIENCY * machine.macs_per_s,
            num_test=ASSUMED_TEST_IMAGES,
            num_classes=MASK_CLASSES if case.is_dense else ASSUMED_CLASSES,
        )
        return replace(planned, call_s=call_s, wall_s=spec.seeds * call_s)
    call_s = call_seconds(case, macs, machine)
    wall_s = 0.0
    if "latency" in groups:
        unit_s = unit_seconds(call_s) + start_seconds(case)
        wall_s += spec.processes * unit_s + CALLS_OF_CHECK * call_s
    if "memory" in groups:
        wall_s += memory_seconds(call_s) + start_seconds(case)
    if "energy" in groups:
        wall_s += energy_seconds(call_s) + start_seconds(case)
    return replace(planned, call_s=call_s, wall_s=wall_s)


def _senseless(case: Case) -> str:
    """Why a case cannot be executed in its way on any machine of its kind; empty if it can."""
    if case.level == "layer" and get_mechanism(case.mechanism).control:
        return (
            f"{case.mechanism} is a control without work of its own, so that its layer alone says "
            f"nothing; take --level host"
        )
    if case.is_training and case.autocast not in TRAINED_AUTOCASTS:
        return f"no training is offered under {case.autocast}; take --autocast bfloat16 or none"
    if case.level == "layer" and case.memory_format != "contiguous":
        return (
            "a layer takes tokens, which have no memory format; --memory-format channels_last is "
            "for the levels host and model"
        )
    if case.tf32 != "auto" and not case.device.startswith("cuda"):
        return f"there is no TF32 on {case.device}; --tf32 is for CUDA devices"
    if case.autocast != "none" and case.dtype != "float32":
        return (
            f"autocast works on float32 weights, not on {case.dtype}; take --dtype float32 with "
            f"--autocast"
        )
    return ""


def _static(case: Case, cost: Totals | None, machine: Machine) -> dict[str, float]:
    """What the closed form says of a pass; a training is not one, and other models have none."""
    if cost is None or case.is_training:
        return {}
    # Products in TF32 are faster than the ceiling that was measured, in float32.
    ceilings = None if case.tf32 == "on" else machine.ceilings
    return static_metrics(
        cost, batch=case.batch, dtype=case.compute_dtype, mode=case.mode, ceilings=ceilings
    )


def fit_budget(planned: list[PlannedCase], budget_s: float) -> list[PlannedCase]:
    """Refuse the dearest cases until the rest is predicted to fit ``budget_s``.

    For a preview: the runner decides by what cases turn out to take. The cheapest go first,
    so that as many points as possible are measured. Accuracy has its share, and what one
    side leaves goes to the other.
    """
    fits = [p for p in planned if p.case.is_training]
    others = [p for p in planned if not p.case.is_training]
    wanted = sum(p.wall_s for p in others)
    share = max(ACCURACY_SHARE * budget_s, budget_s - wanted) if others else budget_s
    admitted, spent = _admit(fits, share)
    admitted_others, _ = _admit(others, budget_s - spent)
    allowed = admitted | admitted_others
    return [
        p if p.case.hash in allowed else _over_budget(p, budget_s, sum(q.wall_s for q in planned))
        for p in planned
    ]


def _admit(planned: list[PlannedCase], budget_s: float) -> tuple[set[str], float]:
    """Hashes of the cheapest cases that fit together, and what they take."""
    spent = 0.0
    admitted = set()
    for one in sorted(planned, key=lambda p: (p.wall_s, p.case.id)):
        if spent + one.wall_s > budget_s:
            break
        spent += one.wall_s
        admitted.add(one.case.hash)
    return admitted, spent


def _over_budget(planned: PlannedCase, budget_s: float, total_s: float) -> PlannedCase:
    reason = over_budget_reason(planned.wall_s, budget_s, total_s)
    groups = [g for g in planned.to_run if g != "complexity"]
    return planned.refuse(groups, Status.OVER_BUDGET, reason)


def over_budget_reason(wall_s: float, budget_s: float, total_s: float) -> str:
    """Why a case was left out, and what would get it measured."""
    return (
        f"predicted to take {format_seconds(wall_s)}, which the budget of "
        f"{format_seconds(budget_s)} does not leave; the whole sweep needs about "
        f"{budget_flag(total_s)}"
    )
