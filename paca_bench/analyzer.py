"""A sweep of what must be true of every case before anything runs: no timing, no device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from paca_bench.attention.registry import mechanisms
from paca_bench.environment import torch_settings, usable_cores
from paca_bench.errors import NothingMeasuredError, PacaBenchError
from paca_bench.growth import growths
from paca_bench.models.subject import case_tokens
from paca_bench.plan import PlannedCase, make_plan
from paca_bench.plugins import load_plugins
from paca_bench.predicted_time import Machine
from paca_bench.record import Record, Status
from paca_bench.revision import git_revision
from paca_bench.spec import SweepSpec, make_spec, read_suite
from paca_bench.store import RunFolder, check_free, locked, now
from paca_bench.version import package_version

# What a static sweep looks at if not told: everything, in inference.
DEFAULTS = {"level": ("layer", "host", "model"), "mode": ("forward",)}
DEVICE = "cpu"
# Below this many, starting another process takes longer than it saves.
CASES_PER_PROCESS = 50
Predictions = Mapping[str, int | str]


def analyze(
    *,
    out: str | PathLike[str],
    memory: bool = False,
    suite: str | None = None,
    **settings: Any,
) -> Path:
    """Closed-form cost of every case of a grid, and its predicted peak memory, into a run folder.

    Args:
        out: the run folder, new.
        memory: also predict the peak memory of each case on a CPU.
        suite: a TOML file, or the name of a suite that ships; ``settings`` override it.
        **settings: as the options of ``paca-bench analyze``: ``res``, ``mechanism``, ...

    Returns:
        The run folder, for ``load_results`` and ``write_report``.

    Raises:
        SpecError: a setting is unknown or not allowed.
        PluginError: a plugin cannot be loaded.
        StoreError: the folder cannot be used.
        NothingMeasuredError: no case of the grid can be built.
    """
    spec = make_analysis_spec({**(read_suite(suite) if suite else {}), **settings})
    mechanisms()
    load_plugins(spec.plugins)
    folder = Path(out)
    check_free(folder, resumable=False)
    planned = make_plan(spec, DEVICE, Machine.nominal(DEVICE))
    if all(one.refused for one in planned):
        _, reason = planned[0].refused["complexity"]
        raise NothingMeasuredError(f"no case can be analysed; {planned[0].case.id}: {reason}")
    predicted = predict_memory(planned, spec) if memory else {}
    header = {
        "paca_bench": package_version(),
        "spec": spec.to_json(),
        "environment": {
            "paca_bench": package_version(),
            "device": "none: nothing was run",
            **torch_settings(),
        },
        "growth": growths(planned),
    }
    if git := git_revision(Path.cwd()):
        header["git"] = git
    with locked(folder):
        run = RunFolder.create(folder, header)
        run.extend(_record(one, predicted) for one in planned)
        run.finish()
    return run.path


def make_analysis_spec(settings: Mapping[str, Any]) -> SweepSpec:
    """The spec of a static sweep; ``--model`` alone means the level ``model`` alone."""
    defaults = dict(DEFAULTS)
    if "model" in settings or "mechanism" in settings:
        del defaults["level"]
    return make_spec({**defaults, **settings, "metrics": "complexity"})


def predict_memory(planned: Sequence[PlannedCase], spec: SweepSpec) -> dict[str, int | str]:
    """Case hash -> predicted peak bytes, or the reason why there is no prediction."""
    from paca_bench.complexity.case_memory import predict_case_memories

    cases = [one.case for one in planned if not one.refused]
    processes = min(usable_cores(), -(-len(cases) // CASES_PER_PROCESS))
    found = predict_case_memories(cases, processes=processes, plugins=spec.plugins)
    return {
        case.hash: str(one) if isinstance(one, PacaBenchError) else one.peak_bytes
        for case, one in zip(cases, found, strict=True)
    }


def _record(planned: PlannedCase, predicted: Predictions) -> Record:
    case = planned.case
    refused = planned.refused.get("complexity")
    metrics = {} if refused else dict(planned.static)
    details: dict[str, Any] = {"tokens": case_tokens(case)}
    if not refused:
        details["macs_method"] = "closed form"
        memory = predicted.get(case.hash)
        if isinstance(memory, str):
            details["memory_not_predicted"] = memory
        elif memory is not None:
            metrics["predicted_peak_memory_bytes"] = memory
    return Record(
        case=case,
        statuses={"complexity": refused[0] if refused else Status.OK},
        reasons={"complexity": refused[1]} if refused else {},
        metrics=metrics,
        details=details,
        finished_at=now(),
    )
