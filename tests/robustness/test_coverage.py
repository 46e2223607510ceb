"""The coverage experiment itself, on workers whose law is known."""

from __future__ import annotations

import math
import random

import pytest

from paca_bench.doctor.noise import small_case
from paca_bench.record import Status
from paca_bench.workers import Job, Outcome
from tests.robustness.coverage import LEAST, Coverage, measure


class Machine:
    """Process medians spread by ``between``; ``drift`` is added over the whole experiment."""

    def __init__(self, between: float, drift: float = 0.0) -> None:
        self.rng = random.Random(3)
        self.between = between
        self.drift = drift
        self.jobs: list[Job] = []

    def execute(self, job: Job, timeout_s: float) -> Outcome:
        self.jobs.append(job)
        level = self.rng.gauss(0, self.between) + self.drift * len(self.jobs) / 600
        samples = [0.01 * math.exp(level + self.rng.gauss(0, 0.005)) for _ in range(9)]
        return Outcome(status=Status.OK, samples={"latency_s": samples})


def run(machine: Machine) -> Coverage:
    return measure(
        machine.execute, small_case("cpu"), measurements=200, processes=3, slice_s=0.1, seed=0
    )


@pytest.mark.parametrize("between", [0.003, 0.03, 0.2])
def test_intervals_over_processes_cover_what_they_should(between: float) -> None:
    found = run(Machine(between))
    assert found.share >= LEAST
    assert found.to_json()["processes_each"] == 3


def test_drift_hits_all_measurements_alike_as_they_are_interleaved() -> None:
    assert run(Machine(0.01, drift=0.3)).share >= LEAST


def test_intervals_that_ignore_processes_would_be_found_out() -> None:
    """The experiment can fail: a single process knows nothing of how processes differ."""
    machine = Machine(0.05)
    found = measure(
        machine.execute, small_case("cpu"), measurements=200, processes=1, slice_s=0.1, seed=0
    )
    assert found.share < LEAST


def test_the_output_is_checked_once() -> None:
    machine = Machine(0.01)
    run(machine)
    assert [job["check"] for job in machine.jobs].count(True) == 1
    assert len(machine.jobs) == 600
