"""A patient of cardboard: files, processes and GPUs, and workers whose noise is known."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paca_bench.doctor.scene import ProcessTime, Sources
from paca_bench.measure.clock import ClockQuality
from paca_bench.measure.nvml import Gpu
from paca_bench.record import Case, Status
from paca_bench.workers import Job, Outcome
from tests.fake_system import FakeSystem

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
OWN, SERVER, NEIGHBOUR = 50, 51, 70
PROCESS_S = 0.5


@dataclass
class Patient(FakeSystem):
    """``execute`` and ``system_execute`` are its pools; only their jobs let time pass.

    ``noise`` is the spread of the logarithms of process medians, ``system`` how many times
    as long a call takes with the system's allocator, ``neighbour`` the cores that another
    process keeps busy, ``steal`` those that the hypervisor takes.
    """

    noise: float = 0.01
    system: float = 1.0
    neighbour: float = 0.0
    hidden: float = 0.0
    steal: float = 0.0
    threads: int = 2
    fails: Callable[[int], Outcome | None] = lambda number: None
    during: Callable[[], None] = lambda: None
    graphics: list[Gpu] = field(default_factory=list)
    quality: ClockQuality = field(default_factory=lambda: ClockQuality(5e-8, 1e-7))
    now: float = 1000.0
    started: float = 1000.0
    jobs: list[tuple[str, Job]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.write("proc/self/status", "Cpus_allowed_list:\t0-3")
        self.write("proc/sys/kernel/sched_autogroup_enabled", 0)
        self._tick()

    def execute(self, job: Job, timeout_s: float) -> Outcome:
        return self._run("tuned", job)

    def system_execute(self, job: Job, timeout_s: float) -> Outcome:
        return self._run("system", job)

    def sources(self) -> Sources:
        return Sources(
            proc=self.proc,
            sys=self.sys,
            pid=OWN,
            processes=self._processes,
            gpus=lambda: self.graphics,
            clock=lambda: self.now,
            clock_quality=lambda: self.quality,
        )

    def _run(self, pool: str, job: Job) -> Outcome:
        if job["kind"] == "probe":
            details = {"device": "cpu", "environment": {"threads": self.threads}}
            return Outcome(status=Status.OK, details=details)
        number = len(self.jobs)
        self.jobs.append((pool, job))
        self.now += PROCESS_S
        self._tick()
        self.during()
        failure = self.fails(number)
        if failure is not None:
            return replace(failure, seconds=PROCESS_S)
        rng = random.Random(f"{pool} {number}")
        middle = 2e-3 * (self.system if pool == "system" else 1.0)
        middle *= 1 + self.noise * rng.gauss(0, 1)
        samples = {"latency_s": [middle * factor for factor in (0.98, 1.0, 1.03)]}
        return Outcome(status=Status.OK, samples=samples, seconds=PROCESS_S)

    def _tick(self) -> None:
        """/proc/stat after the time so far: two busy threads of ours, and the others'."""
        seconds = self.now - self.started
        busy = round((2 + self.neighbour + self.hidden) * seconds * TICKS_PER_S)
        soft = busy // 4
        idle = round(seconds * TICKS_PER_S)
        stolen = round(self.steal * seconds * TICKS_PER_S)
        self.write(
            "proc/stat",
            f"cpu {busy} 0 0 0 0 0 0 {stolen} 0 0\n"
            f"cpu0 {busy - soft} 0 0 {idle} {idle} 0 {soft} {stolen} 0 0\n"
            "cpu3 0 0 0 9999 0 0 0 0 0 0\n"
            "cpu4 88888888 0 0 0 0 0 0 0 0 0",  # may not be used
        )

    def _processes(self) -> dict[int, ProcessTime]:
        seconds = self.now - self.started
        return {
            1: ProcessTime("init", 0, 0.0, 0.0),
            OWN: ProcessTime("paca-bench", 1, 0.0, 0.0),
            # The server's workers have ended: most of its time is its children's.
            SERVER: ProcessTime("python", OWN, 3 + 0.1 * seconds, 4 + 2 * seconds),
            NEIGHBOUR: ProcessTime("hog", 1, 5 + self.neighbour * seconds, 99.0),
        }


def patient(root: Path, **changes: Any) -> Patient:
    return Patient(root, **changes)


def case_of(job: Job) -> Case:
    return Case.from_json(job["case"])
