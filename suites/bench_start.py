"""What a user waits for: commands that start, and a worker that starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from paca_bench.record import Status
from paca_bench.spec import make_spec
from paca_bench.workers import WorkerPool


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["explain", "paca"]], ids=" ".join)
def test_command(benchmark: BenchmarkFixture, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "paca_bench.cli", *arguments]
    benchmark.pedantic(
        lambda: subprocess.run(command, check=True, capture_output=True), rounds=7, warmup_rounds=1
    )


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool() as one:
        yield one


def test_worker(benchmark: BenchmarkFixture, pool: WorkerPool) -> None:
    """A job that does nothing, from the request to the answer; torch is imported before."""
    spec = make_spec({"res": "32", "level": "layer", "metrics": "macs"}).to_json()
    job = {"kind": "plugins", "plugins": [], "device": "cpu", "spec": spec}
    outcome = pool.execute(job, 60.0)
    assert outcome.status is Status.OK, outcome.reason
    benchmark.pedantic(pool.execute, (job, 60.0), rounds=20)
