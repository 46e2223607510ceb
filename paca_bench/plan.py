"""From a spec to the grid of cases, each with what it is predicted to cost.

A case that cannot be built, or does not fit the budget, stays in the plan with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from paca_bench.attention.registry import Mechanism, get_mechanism, mechanisms
from paca_bench.complexity.cost import Totals
from paca_bench.complexity.roofline import Ceilings, static_metrics
from paca_bench.environment import usable_cores
from paca_bench.errors import PacaBenchError, SpecError, UnsupportedError
from paca_bench.measure.recipe import Recipe, default_recipe, training_seconds
from paca_bench.models.external import check_external, is_external
from paca_bench.models.geometry import get_geometry
from paca_bench.models.registry import get_model
from paca_bench.models.subject import MASK_CLASSES, case_cost, case_macs
from paca_bench.options import check_options
from paca_bench.record import EXECUTION, Case, ParamValue, Status
from paca_bench.spec import TRAINED_LEVELS, SweepSpec
from paca_bench.train_budget import DEFAULT, FLAG, TrainBudget
from paca_bench.units import format_seconds

# Rough costs, for sharing out the budget only; no figure is ever derived from them.
EFFICIENCY = 0.35
# Calls of a mode in units of a forward pass; a checkpointed one runs its blocks twice.
MODE_FACTORS = {"forward": 1.0, "train": 3.0, "checkpointed": 4.0}
CALL_OVERHEAD_S = {"layer": 0.2e-3, "host": 8e-3, "model": 10e-3}
PROCESS_START_S = 0.05
# A process that compiles imports a compiler, traces and compiles; the first for all others.
COMPILE_START_S = 15.0
SECONDS_PER_UNIT = 0.4
# A process's first call warms up, a second shows that it has, a third is a sample.
CALLS_PER_UNIT = 3
# A case's first process also checks the output, against float64.
CALLS_OF_CHECK = 4
CALLS_OF_MEMORY = 5
# How long the counter of the energy is to run, so that its steps are small against it.
SECONDS_OF_ENERGY = 2.0
# Reading the data set and building the optimizer, before a training's first step.
FIT_START_S = 1.0
ASSUMED_TEST_IMAGES = 1000
ASSUMED_CLASSES = 10
# Weights are float32; float16 would want its losses scaled.
TRAINED_AUTOCASTS = ("none", "bfloat16")
# How much of a budget accuracy may take where other metrics want some too.
ACCURACY_SHARE = 0.45


Options = tuple[tuple[str, ParamValue], ...]

# What level ``model`` compares if not told: one of each family, all of 22 to 28 M parameters.
DEFAULT_MODELS = (
    "deit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_small",
    "pvt_v2_b2",
    "pacavit_small_p2cconv_100_0",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What predictions need to know of a device: its matrix product rate, and its ceilings.

    ``ceilings`` is None before they were measured.
    """

    macs_per_s: float
    ceilings: Ceilings | None = None

    @classmethod
    def measured(cls, ceilings: Ceilings) -> Machine:
        """From what was measured on the device."""
        return cls(ceilings.macs_per_s["float32"], ceilings)

    @classmethod
    def nominal(cls, device: str) -> Machine:
        """A guess before anything has run: 20 GMAC/s a core, 20 TMAC/s a GPU."""
        if device.startswith("cuda"):
            return cls(2e13)
        return cls(2e10 * usable_cores())


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
        SpecError: a mechanism, host or option does not exist, no case would remain, or a
            training is given more time than a process.
    """
    _check_train_time(spec, device)
    _check_task(spec)
    for level in spec.accuracy_levels:
        if level not in spec.levels:
            raise SpecError(
                f"--accuracy-level {level} is to be trained, but --level is "
                f"{','.join(spec.levels)}; add {level} to it"
            )
    if spec.options and set(spec.levels) == {"model"}:
        raise SpecError(
            f"--option {spec.options[0][0]} is of mechanisms, and --level is model, whose variants "
            f"have names of their own; add --level host"
        )
    # The closed form is that of a shape: one for all batches, dtypes and modes.
    cost_of = lru_cache(maxsize=1024)(case_cost)
    planned = [
        _predict(case, groups, spec, machine, cost_of) for case, groups in _grid(spec, device)
    ]
    if not planned:
        raise SpecError(
            "the sweep has no case: accuracy is trained at levels host and model, so add "
            "--level host or another metric"
        )
    return planned


def _grid(spec: SweepSpec, device: str) -> Iterator[tuple[Case, tuple[str, ...]]]:
    measured = tuple(group for group in spec.metrics if group != "accuracy")
    if measured:
        for curve, (height, width) in itertools.product(
            make_curves(spec, device), spec.resolutions
        ):
            yield replace(curve, height=height, width=width), measured
    if "accuracy" in spec.metrics:
        groups = tuple(group for group in spec.metrics if group in ("complexity", "accuracy"))
        for fit, (height, width) in itertools.product(
            _trainings(spec, device), spec.accuracy_resolutions
        ):
            yield replace(fit, height=height, width=width), groups


def _trainings(spec: SweepSpec, device: str) -> list[Case]:
    """A case for everything that is trained, but its resolution.

    Weights are float32; what is computed in bfloat16 is so by autocast: where ``--autocast``
    says it, and on CUDA also where ``--dtype`` does.
    """
    levels = spec.accuracy_levels or TRAINED_LEVELS
    subjects = [s for s in _subjects(spec, device) if s.level in levels]
    if spec.task == "segment":
        hosts = [subject for subject in subjects if subject.level == "host"]
        subjects = [
            replace(host, mode="segment", head=head)
            for host, head in itertools.product(hosts, spec.heads)
        ]
    else:
        subjects = [replace(subject, mode="fit") for subject in subjects]
    on_cuda = device.startswith("cuda")
    autocasts = dict.fromkeys(
        "bfloat16" if on_cuda and dtype == "bfloat16" else autocast
        for dtype, autocast in itertools.product(spec.dtypes, spec.autocasts)
    )
    batch = make_recipe(spec, device).batch_size
    return [
        replace(subject, batch=batch, autocast=autocast)
        for subject, autocast in itertools.product(subjects, autocasts)
    ]


def make_curves(spec: SweepSpec, device: str) -> list[Case]:
    """A case for everything that ``spec`` measures but its resolutions, which are 0."""
    axes = itertools.product(
        _subjects(spec, device), spec.modes, spec.batches, spec.dtypes, _executions(spec)
    )
    return [
        replace(subject, mode=mode, batch=batch, dtype=dtype, **execution)
        for subject, mode, batch, dtype, execution in axes
    ]


def _executions(spec: SweepSpec) -> list[dict[str, Any]]:
    """Every way to execute a case that is asked for, by the axes of ``record.EXECUTION``."""
    values = (spec.kernels, spec.memory_formats, spec.compiles, spec.tf32s, spec.autocasts)
    return [dict(zip(EXECUTION, chosen, strict=True)) for chosen in itertools.product(*values)]


def _subjects(spec: SweepSpec, device: str) -> list[Case]:
    """A case for each thing to measure, at every level, whose other axes are yet to be set."""
    found = []
    for level in spec.levels:
        if level == "model":
            found += _models(spec, device)
        elif level == "host":
            found += _hosts(spec, device)
        else:
            layers = itertools.product(spec.stages, _hosts(spec, device))
            found += [replace(case, level="layer", stage=stage) for stage, case in layers]
    return found


def _hosts(spec: SweepSpec, device: str) -> list[Case]:
    get_geometry(spec.host)
    names = spec.mechanisms or tuple(n for n, m in mechanisms().items() if not m.control)
    chosen = [get_mechanism(name) for name in names]
    check_options(spec.options, chosen)
    empty = Case(
        level="host", mechanism="", host=spec.host, height=0, width=0, mode="", device=device
    )
    return [
        replace(empty, mechanism=mechanism.name, num_clusters=count, options=options)
        for mechanism in chosen
        for count, options in _variants(mechanism, spec)
    ]


def _models(spec: SweepSpec, device: str) -> list[Case]:
    names = spec.models or DEFAULT_MODELS
    for name in names:
        if is_external(name):
            check_external(name)
        else:
            get_model(name)
    empty = Case(level="model", mechanism="", host="", height=0, width=0, mode="", device=device)
    return [replace(empty, mechanism=name) for name in names]


def make_recipe(spec: SweepSpec, device: str) -> Recipe:
    """The recipe of all trainings of a sweep: the default one, at the budget asked for.

    Raises:
        SpecError: the budget is not one.
    """
    recipe = default_recipe(device)
    if spec.train_budget == DEFAULT:
        return recipe
    return replace(recipe, budget=TrainBudget.parse(spec.train_budget))


def _check_train_time(spec: SweepSpec, device: str) -> None:
    budget = make_recipe(spec, device).budget
    if "accuracy" in spec.metrics and budget.unit == "time" and budget.amount >= spec.timeout_s:
        raise SpecError(
            f"{FLAG} {budget} does not fit into --timeout {format_seconds(spec.timeout_s)}, "
            f"after which a process is ended; raise --timeout"
        )


def _check_task(spec: SweepSpec) -> None:
    if spec.task != "segment":
        return
    if "accuracy" not in spec.metrics:
        raise SpecError(
            "--task segment is trained where accuracy is asked for; add accuracy to --metrics"
        )
    if "host" not in spec.levels:
        raise SpecError(
            f"--task segment trains hosts under a head, but --level is {','.join(spec.levels)}; "
            f"add host to it"
        )
    if spec.accuracy_levels and "host" not in spec.accuracy_levels:
        raise SpecError(
            f"--task segment trains hosts under a head, but --accuracy-level is "
            f"{','.join(spec.accuracy_levels)}; add host to it"
        )


def _variants(mechanism: Mechanism, spec: SweepSpec) -> Iterator[tuple[int | None, Options]]:
    """(M, options) for each M, where the mechanism has clusters, and values of its options."""
    counts: tuple[int | str | None, ...] = spec.clusters if mechanism.has_clusters else (None,)
    own = [(name, values) for name, values in sorted(spec.options) if name in mechanism.defaults]
    names = [name for name, _ in own]
    grid = itertools.product(*(values for _, values in own))
    for count, chosen in itertools.product(counts, grid):
        options = list(zip(names, chosen, strict=True))
        if isinstance(count, str):
            yield None, tuple(sorted([*options, ("num_clusters", count)]))
        else:
            yield count, tuple(options)


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
        cost = cost_of(replace(case, mode="", batch=1, dtype="", device="", **as_usual))
        macs = case_macs(case) if cost is None else cost.macs
        planned = replace(planned, macs=macs, static=_static(case, cost, machine))
    except UnsupportedError as error:
        return planned.refuse(groups, Status.NOT_SUPPORTED, str(error))
    except PacaBenchError:
        raise
    except Exception as error:  # a user's closed form, which may fail in any way
        reason = f"the cost of {case.mechanism!r} failed: {type(error).__name__}: {error}"
        return planned.refuse(groups, Status.ERROR, reason)
    rate = EFFICIENCY * machine.macs_per_s
    if case.is_training:
        call_s = FIT_START_S + training_seconds(
            case,
            make_recipe(spec, case.device),
            macs_per_s=rate,
            num_test=ASSUMED_TEST_IMAGES,
            num_classes=MASK_CLASSES if case.is_dense else ASSUMED_CLASSES,
        )
        return replace(planned, call_s=call_s, wall_s=spec.seeds * call_s)
    call_s = MODE_FACTORS[case.mode] * (CALL_OVERHEAD_S[case.level] + case.batch * macs / rate)
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


def unit_seconds(call_s: float, slice_s: float = SECONDS_PER_UNIT) -> float:
    """What one latency process takes, whose calls take ``call_s``."""
    return PROCESS_START_S + max(slice_s, CALLS_PER_UNIT * call_s)


def start_seconds(case: Case) -> float:
    """What a process of a case that is compiled takes before its first call is done."""
    return COMPILE_START_S if case.compile != "none" else 0.0


def memory_seconds(call_s: float) -> float:
    """What measuring the memory of a call takes, prediction included."""
    return 4 * PROCESS_START_S + CALLS_OF_MEMORY * call_s


def energy_seconds(call_s: float) -> float:
    """What measuring the energy of a call takes."""
    return PROCESS_START_S + max(SECONDS_OF_ENERGY, 2 * call_s) + call_s


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


def budget_flag(seconds: float) -> str:
    """The option that gives more than ``seconds``, in whole minutes."""
    return f"--budget {int(seconds // 60) + 1}m"
