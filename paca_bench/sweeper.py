"""A sweep from its settings to a run folder: the steps of the pipeline in their order."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paca_bench.attention.registry import mechanisms
from paca_bench.complexity.roofline import Ceilings
from paca_bench.data.registry import check_dataset, check_masks
from paca_bench.environment import measured_code, resolve_device
from paca_bench.errors import NothingMeasuredError, PacaBenchError, PluginError, StoreError
from paca_bench.growth import growths
from paca_bench.plan import PlannedCase, fit_budget, make_plan
from paca_bench.plugins import load_plugins
from paca_bench.predicted_time import Machine
from paca_bench.record import DTYPES, Record, Status
from paca_bench.revision import git_revision
from paca_bench.spec import SweepSpec, make_spec, parse_settings, read_suite
from paca_bench.store import RUN_FILE, RunFolder, check_free, locked
from paca_bench.units import format_seconds
from paca_bench.workers import Execute, Job, Outcome, WorkerPool

if TYPE_CHECKING:
    from paca_bench.runner import Observer

PROBE_TIMEOUT_S = 120.0
PLUGIN_TIMEOUT_S = 60.0
# The doctor's experiment takes a twentieth of the budget; in less time it would say little.
DOCTOR_SHARE = 0.05
DOCTOR_MOST_S = 30.0
DOCTOR_LEAST_S = 5.0
RESULTS = Path("results")
# A run may go on only where these are what they were, or its figures would not belong together.
# Runs of before there was ``code`` have none.
FINGERPRINT = (
    "code",
    "cpu",
    "cores_usable",
    "device",
    "gpu",
    "malloc",
    "paca_bench",
    "python",
    "threads",
    "torch",
)


class Counted:
    """``Execute`` that adds up how long its jobs took, in ``seconds``."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.seconds = 0.0

    def __call__(self, job: Job, timeout_s: float) -> Outcome:
        """See ``Execute``."""
        outcome = self._execute(job, timeout_s)
        self.seconds += outcome.seconds
        return outcome


class Silent:
    """An observer that shows nothing."""

    def planned(self, planned: Sequence[PlannedCase], jobs: int, seconds: float) -> None:
        """See ``Observer``."""

    def working(self, planned: PlannedCase, group: str) -> None:
        """See ``Observer``."""

    def worked(self, planned: PlannedCase, group: str, outcome: Outcome, jobs_left: int) -> None:
        """See ``Observer``."""

    def recorded(self, record: Record) -> None:
        """See ``Observer``."""


def sweep(
    *,
    suite: str | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    **settings: Any,
) -> Path:
    """Run a sweep and keep it in a run folder.

    Args:
        suite: a TOML file, or the name of a suite that ships; ``settings`` override it.
        out: the run folder; a new one under ``results/`` if None.
        resume: go on with the run in ``out``, whose settings are the default.
        observer: is told of progress.
        **settings: as the options of ``paca-bench sweep``: ``res="224..1024"``,
            ``mechanism="vit,paca"``, ``clusters=[25, 49]``, ``budget="5m"``, ...

    Returns:
        The run folder, for ``load_results`` and ``write_report``.

    Raises:
        SpecError: a setting is unknown or not allowed.
        PluginError: a plugin cannot be loaded.
        DataError: accuracy is asked for, and there is no such data set.
        StoreError: the folder cannot be used, or a resumed run is damaged or was made
            elsewhere.
        NothingMeasuredError: not a single case ended with a figure.
    """
    started = time.monotonic()
    if resume and out is None:
        raise StoreError("--resume needs --out: the folder of the run to go on with")
    previous = RunFolder.open(out) if resume and out is not None else None
    spec = make_sweep_spec(suite, settings, previous)
    folder = Path(out) if out is not None else default_folder()
    with ExitStack() as stack:
        if previous is None:
            check_free(folder)
        else:
            stack.enter_context(previous.locked())
            _check_undamaged(previous)
        counted = Counted(stack.enter_context(WorkerPool(spec.threads, spec.allocator)).execute)
        # What takes long to import comes now, while the worker server imports torch.
        from paca_bench.runner import Runner

        check_plugins(counted, spec)
        _check_inputs(spec)
        dtypes = [*spec.dtypes, *(d for d in spec.autocasts if d in DTYPES)]
        job = {"kind": "probe", "device": spec.device, "dtypes": list(dict.fromkeys(dtypes))}
        probe = counted(job, PROBE_TIMEOUT_S)
        if probe.status is not Status.OK:
            raise PacaBenchError(f"the device could not be probed: {probe.reason}")
        device = probe.details["device"]
        environment = {**probe.details["environment"], "code": measured_code(spec.plugins)}
        diagnosis = (previous.header.get("diagnosis") if previous else None) or _examined(
            counted, spec, device, environment["threads"]
        )
        machine = Machine.measured(Ceilings.from_json(probe.details["ceilings"]))
        planned = make_plan(spec, device, machine)
        header = {
            "paca_bench": environment["paca_bench"],
            "spec": spec.to_json(),
            "environment": {**environment, "ceilings": probe.details["ceilings"]},
            "growth": growths(planned),
            "diagnosis": diagnosis,
        }
        if git := git_revision(Path.cwd()):
            header["git"] = git
        if previous is None:
            # The lock comes first, so that of two sweeps only one writes a header.
            stack.enter_context(locked(folder))
            run = RunFolder.create(folder, header)
        else:
            run = previous
            _check_same_environment(run, environment)
            run.header |= header
            run.header.pop("finished_at", None)
            run.write_header()
        runner = Runner(spec, run, counted, observer or Silent())
        runner.run(planned, started)
        seconds, inside = time.monotonic() - started, counted.seconds
        run.header["seconds"] = {
            "sweep": seconds,
            "inside_workers": inside,
            "ratio": seconds / inside if inside else None,
        }
        run.finish()
    if not any(record.metrics for record in run.records()):
        raise NothingMeasuredError(
            f"no case of the sweep ended with a figure; see why in {run.path}, and raise --budget "
            f"or take a smaller --res"
        )
    return run.path


def make_sweep_spec(
    suite: str | None, settings: Mapping[str, Any], previous: RunFolder | None = None
) -> SweepSpec:
    """Settings over the suite's, over those of the run that is resumed."""
    given = {**(read_suite(suite) if suite else {}), **settings}
    if previous is None:
        return make_spec(given)
    return replace(SweepSpec.from_json(previous.header.get("spec")), **parse_settings(given))


def preview(
    suite: str | None, settings: Mapping[str, Any], resumed: str | PathLike[str] | None = None
) -> list[PlannedCase]:
    """The plan of a sweep, predicted from nominal speeds; nothing is run or written.

    ``resumed`` is the folder of a run whose settings are the default.

    Raises:
        SpecError, PluginError, DataError, StoreError: as ``sweep``.
    """
    previous = None if resumed is None else RunFolder.open(resumed)
    spec = make_sweep_spec(suite, settings, previous)
    _check_inputs(spec)
    device = resolve_device(spec.device)
    return fit_budget(make_plan(spec, device, Machine.nominal(device)), spec.budget_s)


def default_folder() -> Path:
    """``results/2026-01-31T12-00-00``, of now."""
    return RESULTS / datetime.now().strftime("%Y-%m-%dT%H-%M-%S")


def _check_inputs(spec: SweepSpec) -> None:
    """Find out now what would otherwise fail in a worker, minutes later."""
    mechanisms()
    load_plugins(spec.plugins)
    if "accuracy" in spec.metrics:
        check_dataset(spec.data)
        if spec.task == "segment":
            check_masks(spec.data)


def check_plugins(execute: Execute, spec: SweepSpec) -> None:
    """Load the plugins in a worker first, where they can hang or crash nothing but that.

    Raises:
        PluginError: one cannot be loaded, or does not end; or a mechanism's cost does not.
    """
    if not spec.plugins:
        return
    timeout_s = min(spec.timeout_s, PLUGIN_TIMEOUT_S)
    job = {"kind": "plugins", "plugins": list(spec.plugins), "spec": spec.to_json()}
    outcome = execute(job, timeout_s)
    if outcome.status is Status.OK:
        return
    if outcome.status is Status.ERROR and outcome.reason.startswith("--plugin"):
        raise PluginError(outcome.reason)
    names = ", ".join(spec.plugins)
    if outcome.status is Status.TIMEOUT:
        raise PluginError(
            f"--plugin {names}: loading it, or a mechanism's cost, did not end within "
            f"{format_seconds(timeout_s)}; a plugin only defines and registers mechanisms, so "
            f"take out what runs on import"
        )
    raise PluginError(f"--plugin {names}: loading it failed: {outcome.reason}")


def _examined(
    execute: Execute, spec: SweepSpec, device: str, threads: int
) -> dict[str, Any] | None:
    """What the doctor says of this machine; None where nothing is timed, or too little time."""
    seconds = min(DOCTOR_SHARE * spec.budget_s, DOCTOR_MOST_S)
    if not spec.doctor or "latency" not in spec.metrics or seconds < DOCTOR_LEAST_S:
        return None
    from paca_bench.doctor.diagnose import examine
    from paca_bench.doctor.scene import Sources

    return examine(
        execute,
        sources=Sources.of_this_machine(),
        device=device,
        threads=threads,
        seconds=seconds,
        seed=spec.seed,
    ).header()


def _check_undamaged(run: RunFolder) -> None:
    """Raise ``StoreError`` before anything is changed if the run cannot be gone on with."""
    run.records()
    for _, _, outcome in run.journal():
        Outcome.from_json(outcome)


def _check_same_environment(run: RunFolder, environment: Mapping[str, Any]) -> None:
    before = run.header.get("environment")
    if not isinstance(before, Mapping):
        raise StoreError(f"{run.path / RUN_FILE} does not say where the run was made")
    changed = [
        f"{name} was {before.get(name)!r} and is {environment.get(name)!r}"
        for name in FINGERPRINT
        if before.get(name) != environment.get(name) and (name != "code" or name in before)
    ]
    if changed:
        raise StoreError(
            f"{run.path} was made in another environment ({'; '.join(changed)}); figures of both "
            f"must not be mixed, so sweep into a new --out"
        )
