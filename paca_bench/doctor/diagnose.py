"""The doctor's round: an experiment, what happened meanwhile, the checks, the verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from paca_bench.doctor import cpu, load
from paca_bench.doctor.finding import Diagnosis, Finding, Severity, Verdict, fine
from paca_bench.doctor.gpu import check_gpu
from paca_bench.doctor.noise import Noise, measure_noise, small_case
from paca_bench.doctor.scene import (
    Scene,
    Sources,
    between,
    gpu_readings,
    look,
    usable_cpus,
)
from paca_bench.errors import PacaBenchError
from paca_bench.measure.nvml import GpuReading
from paca_bench.measure.watch import Watch
from paca_bench.record import Status
from paca_bench.schedule import MAX_PROCESSES
from paca_bench.units import format_percent
from paca_bench.workers import Execute, WorkerPool

SECONDS = 45.0
PROBE_TIMEOUT_S = 120.0
# Of two latencies to the default --precision of 2% each, the ratio is known to 2.8%, and a change
# is found 4 times out of 5 from 4% on; a machine that hides a fifth hides most of what a sweep
# compares.
QUIET_CHANGE = 0.05
UNFIT_CHANGE = 0.20


def diagnose(device: str = "auto", threads: int = 0, seconds: float = SECONDS) -> Diagnosis:
    """Examine this machine, in worker processes of its own.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.
        threads: of each worker; 0 leaves torch's choice.
        seconds: that the experiment may take.

    Raises:
        PacaBenchError: the device does not exist, or cannot be used.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(WorkerPool(threads))
        # Not entered: it starts with its first job, and is ended all the same.
        system = WorkerPool(threads, allocator="system")
        stack.push(system)
        return run_doctor(
            pool.execute,
            system_execute=system.execute,
            sources=Sources.of_this_machine(),
            device=device,
            threads=threads,
            seconds=seconds,
        )


def run_doctor(
    execute: Execute,
    *,
    sources: Sources,
    system_execute: Execute | None = None,
    device: str = "auto",
    threads: int = 0,
    seconds: float = SECONDS,
    seed: int = 0,
) -> Diagnosis:
    """Examine the machine that ``sources`` describe, with jobs that ``execute`` runs.

    Args:
        execute: runs a job in a process of its own, with the default allocator.
        sources: of all other facts.
        system_execute: the same with the system's allocator, to compare the two.
        device: as for a sweep.
        threads: of each worker; 0 leaves torch's choice.
        seconds: that the experiment may take.
        seed: of the order of processes.

    Raises:
        PacaBenchError: the device cannot be probed.
    """
    job = {"kind": "probe", "device": device, "dtypes": ["float32"]}
    probe = execute(job, PROBE_TIMEOUT_S)
    if probe.status is not Status.OK:
        raise PacaBenchError(f"the device could not be probed: {probe.reason}")
    return examine(
        execute,
        sources=sources,
        system_execute=system_execute,
        device=probe.details["device"],
        threads=threads or probe.details["environment"]["threads"],
        seconds=seconds,
        seed=seed,
    )


def examine(
    execute: Execute,
    *,
    sources: Sources,
    device: str,
    threads: int,
    seconds: float,
    system_execute: Execute | None = None,
    seed: int = 0,
) -> Diagnosis:
    """As ``run_doctor``, of a device that was probed: ``cpu`` or ``cuda:i``."""
    cpus = usable_cpus(sources)
    gpus = sources.gpus()
    readings: dict[str, list[GpuReading]] = defaultdict(list)

    def read_gpus() -> None:
        for name, reading in gpu_readings(gpus):
            readings[name].append(reading)

    with Watch(proc=sources.proc, sys=sources.sys, clock=sources.clock) as watch:
        before = look(sources, watch, cpus)
        noise = measure_noise(
            execute,
            small_case(device),
            threads=threads,
            seconds=seconds,
            clock=sources.clock,
            system_execute=system_execute,
            after_each=read_gpus,
            seed=seed,
        )
        after = look(sources, watch, cpus)
    meanwhile = between(before, after, sources.pid, readings)
    scene = Scene(
        sources=sources,
        threads=threads,
        cpus=cpus,
        clock=sources.clock_quality(),
        meanwhile=meanwhile,
    )
    findings = [*_on_noise(noise), *_all_checks(scene)]
    for gpu in gpus:
        findings += check_gpu(gpu, scene)
    findings.sort(key=lambda finding: -finding.severity.rank)
    known = noise if isinstance(noise, Noise) else None
    verdict, summary = judge(known, findings)
    return Diagnosis(
        verdict=verdict,
        summary=summary,
        findings=tuple(findings),
        noise=known,
        facts=_facts(scene, device),
    )


def judge(noise: Noise | None, findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """The verdict, and the line that says it.

    ``unfit`` where the experiment failed or hides changes above 20%, ``noisy`` above 5% or
    where a finding is a problem, ``quiet`` otherwise.
    """
    problems = [finding.name for finding in findings if finding.severity is Severity.PROBLEM]
    mend = f"; mend first: {', '.join(problems)}" if problems else ""
    if noise is None:
        return Verdict.UNFIT, f"unfit: the experiment failed, see below{mend}"
    change = noise.smallest_change(MAX_PROCESSES)
    if change > UNFIT_CHANGE:
        verdict = Verdict.UNFIT
    elif change > QUIET_CHANGE or problems:
        verdict = Verdict.NOISY
    else:
        verdict = Verdict.QUIET
    return verdict, (
        f"{verdict.value}: the smallest change of a latency that can be seen here is "
        f"{change_text(change)}, with {MAX_PROCESSES} processes a case{mend}"
    )


def change_text(change: float) -> str:
    """``0.034`` -> ``3.4%``; from a doubling on as a factor."""
    return format_percent(change) if change < 1 else f"a factor of {1 + change:.1f}"


def _on_noise(noise: Noise | str) -> Iterator[Finding]:
    """What the experiment itself says."""
    if isinstance(noise, str):
        yield Finding(
            "A/A experiment",
            Severity.PROBLEM,
            noise,
            "without it nothing is known about the noise of this machine.",
            "mend what it names and run the doctor again",
        )
        return
    ratio = noise.ratio
    found = f"A/B is {ratio.value:.3f}, {ratio.low:.3f} to {ratio.high:.3f} ({ratio.method})"
    if ratio.low <= 1 <= ratio.high:
        yield fine("A/A bias", f"none that shows: {found}")
    else:
        yield Finding(
            "A/A bias",
            Severity.WARNING,
            found,
            "the same case differs from itself: by chance once in 20 times, or by drift.",
            "run the doctor again; if it stays, see other load and temperature",
        )
    system = noise.system_ratio
    if system is None:
        return
    found = (
        f"with the system's a call takes {system.value:.2f} times as long as with the tuned one, "
        f"{system.low:.2f} to {system.high:.2f} ({system.method})"
    )
    if system.low <= 1:
        yield fine("allocator", f"no loss that shows: {found}")
    else:
        yield Finding(
            "allocator",
            Severity.NOTE,
            found,
            "by default glibc gives memory back at once, and page faults are timed with the call.",
            "--allocator tuned, the default; compare no figures that were made with different ones",
        )


def _all_checks(scene: Scene) -> Iterator[Finding]:
    checks: tuple[Callable[[Scene], Iterator[Finding]], ...] = (*cpu.CHECKS, *load.CHECKS)
    for check in checks:
        yield from check(scene)


def _facts(scene: Scene, device: str) -> dict[str, Any]:
    meanwhile = scene.meanwhile
    return {
        "device": device,
        "threads": scene.threads,
        "cpus_usable": list(scene.cpus),
        "clock": asdict(scene.clock),
        "others_cores": meanwhile.others_cores,
        "top": [{"cores": cores, "name": name} for cores, name in meanwhile.top],
        "swapped_pages": meanwhile.swapped_pages,
        "thermal_throttles": meanwhile.thermal_throttles,
        "conditions": meanwhile.conditions.to_json(),
        "gpus": {name: [asdict(one) for one in seen] for name, seen in meanwhile.gpus.items()},
    }
