"""The cases that a spec asks for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from paca_bench.attention.registry import Mechanism, get_mechanism, mechanisms
from paca_bench.errors import SpecError
from paca_bench.measure.recipe import Recipe, default_recipe
from paca_bench.models.external import check_external, is_external
from paca_bench.models.geometry import get_geometry
from paca_bench.models.registry import get_model
from paca_bench.options import check_options
from paca_bench.record import EXECUTION, Case, ParamValue
from paca_bench.spec import TRAINED_LEVELS, SweepSpec
from paca_bench.train_budget import DEFAULT, FLAG, TrainBudget
from paca_bench.units import format_seconds

Options = tuple[tuple[str, ParamValue], ...]

# What level ``model`` compares if not told: one of each family, all of 22 to 28 M parameters.
DEFAULT_MODELS = (
    "deit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_small",
    "pvt_v2_b2",
    "pacavit_small_p2cconv_100_0",
)


def make_grid(spec: SweepSpec, device: str) -> Iterator[tuple[Case, tuple[str, ...]]]:
    """Every case of ``spec`` on ``device``, with the metric groups to measure.

    Raises:
        SpecError: a mechanism, host, model or option does not exist, settings contradict each
            other, or a training is given more time than a process.
    """
    _check(spec, device)
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


def _check(spec: SweepSpec, device: str) -> None:
    """Raise ``SpecError`` where settings contradict each other."""
    for level in spec.accuracy_levels:
        _check_among(spec.levels, "--level", level, f"--accuracy-level {level} is to be trained")
    if spec.options and set(spec.levels) == {"model"}:
        raise SpecError(
            f"--option {spec.options[0][0]} is of mechanisms, and --level is model, whose variants "
            f"have names of their own; add --level host"
        )
    if spec.task == "segment":
        why = "--task segment trains hosts under a head"
        _check_among(spec.metrics, "--metrics", "accuracy", why)
        _check_among(spec.levels, "--level", "host", why)
        _check_among(spec.accuracy_levels or TRAINED_LEVELS, "--accuracy-level", "host", why)
    _check_train_time(spec, device)


def _check_among(given: tuple[str, ...], flag: str, needed: str, why: str) -> None:
    if needed not in given:
        raise SpecError(f"{why}, but {flag} is {','.join(given)}; add {needed} to it")


def _check_train_time(spec: SweepSpec, device: str) -> None:
    budget = make_recipe(spec, device).budget
    if "accuracy" in spec.metrics and budget.unit == "time" and budget.amount >= spec.timeout_s:
        raise SpecError(
            f"{FLAG} {budget} does not fit into --timeout {format_seconds(spec.timeout_s)}, "
            f"after which a process is ended; raise --timeout"
        )
