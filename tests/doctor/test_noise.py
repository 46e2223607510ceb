"""The A/A experiment, with workers whose noise is known."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import pytest

from paca_bench.doctor.noise import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    Noise,
    measure_noise,
    small_case,
)
from paca_bench.record import Status
from paca_bench.workers import Outcome
from tests.doctor.fakes import PROCESS_S, Patient, case_of

CASE = small_case("cpu")


def experiment(patient: Patient, seconds: float, system: bool = False, seed: int = 0) -> Noise:
    noise = measure_noise(
        patient.execute,
        CASE,
        threads=2,
        seconds=seconds,
        clock=lambda: patient.now,
        system_execute=patient.system_execute if system else None,
        seed=seed,
    )
    assert isinstance(noise, Noise), noise
    return noise


def test_it_fills_its_time_and_not_more(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    noise = experiment(patient, seconds=10.0)
    spent = patient.now - patient.started
    assert 10.0 - 2 * PROCESS_S < spent <= 10.0
    assert len(noise.first) == len(noise.second)
    assert noise.system == []


def test_there_are_three_rounds_at_least_and_an_end(tmp_path: Path) -> None:
    assert len(experiment(Patient(tmp_path / "a"), seconds=0.0).first) == MIN_ROUNDS
    assert len(experiment(Patient(tmp_path / "b"), seconds=1e6).first) == MAX_ROUNDS


def test_the_first_process_of_each_pool_is_checked_and_not_counted(tmp_path: Path) -> None:
    patient = Patient(tmp_path, system=3.0)
    noise = experiment(patient, seconds=0.0, system=True)
    assert [(pool, job["check"]) for pool, job in patient.jobs[:2]] == [
        ("tuned", True),
        ("system", True),
    ]
    assert not any(job["check"] for _, job in patient.jobs[2:])
    assert Counter(pool for pool, _ in patient.jobs[2:]) == {"tuned": 6, "system": 3}
    assert len(noise.system) == 3
    assert noise.system_ratio is not None
    assert noise.system_ratio.value == pytest.approx(3.0, rel=0.05)


def test_each_round_has_its_own_order_and_a_seed_repeats_it(tmp_path: Path) -> None:
    def orders(seed: int, where: str) -> list[str]:
        patient = Patient(tmp_path / where)
        experiment(patient, seconds=30.0, system=True, seed=seed)
        pools = [pool for pool, _ in patient.jobs[2:]]
        return [" ".join(pools[start : start + 3]) for start in range(0, len(pools), 3)]

    assert len(set(orders(0, "a"))) == 3, "the system's allocator first, second and third"
    assert orders(0, "a") == orders(0, "b")
    assert orders(0, "a") != orders(1, "c")


def test_jobs_are_those_of_a_sweep(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    experiment(patient, seconds=0.0)
    for _, job in patient.jobs:
        assert case_of(job) == CASE
        assert job["kind"] == "latency"
        assert job.keys() >= {"plugins", "threads", "seed", "slice_s", "precision", "check"}


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_worker_that_fails_ends_it_with_the_reason(tmp_path: Path, number: int) -> None:
    failure = Outcome(status=Status.CRASH, reason="killed by SIGSEGV")
    patient = Patient(tmp_path, fails=lambda n: failure if n == number else None)
    noise = measure_noise(patient.execute, CASE, threads=2, seconds=9.0, clock=lambda: patient.now)
    assert noise == "crash: killed by SIGSEGV"
    assert len(patient.jobs) == number + 1


def known(spread: float, processes: int, rng: random.Random, factor: float = 1.0) -> Noise:
    def side(level: float) -> list[list[float]]:
        return [[level * math.exp(rng.gauss(0, spread))] for _ in range(processes)]

    return Noise(case="case", first=side(1.0), second=side(factor), system=[])


def test_the_smallest_change_is_found_4_times_out_of_5() -> None:
    """Changes of just that size, in experiments with a known spread of 3%."""
    processes, spread = 12, 0.03
    rng = random.Random(0)
    change = known(spread, 4000, rng).smallest_change(processes)
    z = sum(NormalDist().inv_cdf(p) for p in (0.975, 0.8))
    assert change == pytest.approx(z * spread * math.sqrt(2 / processes), rel=0.1)
    found = sum(known(spread, processes, rng, 1 + change).ratio.high < 1 for _ in range(400))
    assert 0.74 <= found / 400 <= 0.86
    assert known(spread, 4000, rng).smallest_change(3) > 2 * change


def test_variation_between_and_within_processes() -> None:
    noise = Noise(
        case="case",
        first=[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]],
        second=[[1.0, 1.0, 1.0], [1.5, 2.0, 2.5]],
        system=[],
    )
    assert noise.between == pytest.approx(math.sqrt(1 / 3) / 1.5)
    assert noise.within == 0.0
    assert noise.latency_s == 1.5
    assert noise.ratio.value == 1.0


def test_noise_as_json_without_samples_to_vary(tmp_path: Path) -> None:
    noise = known(0.01, 3, random.Random(1))
    values = json.loads(json.dumps(noise.to_json(), allow_nan=False))
    assert values["variation_within_process"] is None
    assert values["system_allocator_ratio"] is None
    assert len(values["samples"]["a"]) == 3
    assert values["ratio"]["low"] <= values["ratio"]["value"] <= values["ratio"]["high"]
