"""A machine of cardboard: known laws, and a clock that only jobs advance."""

from __future__ import annotations

import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from paca_bench.attention import registry
from paca_bench.record import Case, Status
from paca_bench.workers import Job, Outcome

SECONDS = {"complexity": 0.2, "memory": 0.5, "latency": 1.0, "energy": 2.0, "accuracy": 4.0}

ENVIRONMENT: dict[str, Any] = {
    "cpu": "Made-up CPU",
    "cores_usable": 2,
    "device": "cpu",
    "malloc": {},
    "memory_bytes": 16 * 2**30,
    "paca_bench": "0.1.0",
    "python": "3.11.7",
    "threads": 2,
    "torch": "2.13.0",
}


class Killed(BaseException):
    """Stands for whatever ends the sweep's process."""


@dataclass
class FakeMachine:
    """``execute`` and ``clock``: every job takes its law's time and gives its law's result.

    ``fails`` maps (mechanism, group) to the outcome of the job's n-th process, from 0, or
    None where that one succeeds. ``slower`` multiplies all times; a job that would take
    longer than its timeout is cut off there.
    """

    noise: float = 0.001
    slower: float = 1.0
    fails: dict[tuple[str, str], Callable[[int], Outcome | None]] = field(default_factory=dict)
    kill_at: int | None = None
    error: type[BaseException] = Killed
    now: float = 1000.0
    jobs: list[tuple[float, Job]] = field(default_factory=list)
    done: Counter[tuple[str, str]] = field(default_factory=Counter)

    def clock(self) -> float:
        return self.now

    def execute(self, job: Job, timeout_s: float) -> Outcome:
        if self.kill_at == len(self.jobs):
            self.kill_at = None
            raise self.error
        self.jobs.append((self.now, job))
        group = job["kind"]
        seconds = SECONDS[group] * self.slower
        if seconds > timeout_s:
            self.now += timeout_s
            return Outcome(status=Status.TIMEOUT, reason="no result", seconds=timeout_s)
        self.now += seconds
        case = Case.from_json(job["case"])
        number = self.done[case.id, group]
        self.done[case.id, group] += 1
        failure = self.fails.get((case.mechanism, group), lambda _: None)(number)
        if failure is not None:
            return replace(failure, seconds=seconds)
        return replace(self._result(case, group, number), seconds=seconds)

    def _result(self, case: Case, group: str, number: int) -> Outcome:
        rng = random.Random(f"{case.id} {group} {number}")
        ok = Outcome(status=Status.OK)
        if group == "complexity":
            return replace(ok, metrics={"macs": case.height**2}, details={"tokens": case.height})
        if group == "memory":
            return replace(ok, metrics={"peak_memory_bytes": 10 * case.height})
        if group == "energy":
            return replace(ok, metrics={"joules_per_image": 0.01 * case.height})
        if group == "accuracy":
            return replace(
                ok,
                samples={"accuracy": [0.9 + rng.uniform(-0.01, 0.01)]},
                details={"num_test": 1000, "seeds": [number]},
            )
        centre = 1e-3 * case.height * (1 + self.noise * rng.gauss(0, 1))
        return replace(ok, samples={"latency_s": [centre * f for f in (0.99, 1.0, 1.02)]})

    def groups(self) -> list[str]:
        return [job["kind"] for _, job in self.jobs]

    def cases(self, group: str) -> list[str]:
        return [Case.from_json(j["case"]).id for _, j in self.jobs if j["kind"] == group]


CEILINGS = {"macs_per_s": {"float32": 4e10}, "bytes_per_s": [[2**15, 1e11], [2**27, 1e10]]}


class FakePool:
    """A ``WorkerPool`` whose jobs the fake machine runs; give ``sweeper.WorkerPool`` one.

    A call makes the pool of a sweep: ``FakePool(machine)(threads, allocator)``.
    """

    def __init__(self, machine: FakeMachine, environment: dict[str, Any] = ENVIRONMENT) -> None:
        self.machine = machine
        self.environment = environment
        self.probe = Outcome(
            status=Status.OK,
            details={"device": "cpu", "environment": environment, "ceilings": CEILINGS},
        )
        self.probes = 0
        self.plugin_check = Outcome(status=Status.OK)
        self.plugins = 0

    def __call__(self, threads: int, allocator: str) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def execute(self, job: Job, timeout_s: float) -> Outcome:
        if job["kind"] == "probe":
            self.probes += 1
            return self.probe
        if job["kind"] == "plugins":
            self.plugins += 1
            return self.plugin_check
        return self.machine.execute(job, timeout_s)


@contextmanager
def own_registry() -> Iterator[None]:
    """Plugins loaded within are forgotten afterwards, and can be loaded anew."""
    before = dict(registry.mechanisms())
    try:
        yield
    finally:
        registry._mechanisms.clear()
        registry._mechanisms.update(before)
        for name in [name for name in sys.modules if name.startswith("paca_bench_plugin_")]:
            del sys.modules[name]


def heeds_ctrl_c() -> None:
    """In a new process: take SIGINT as one of a terminal does, also where the tests run behind
    ``&``, whose processes ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
