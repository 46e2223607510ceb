"""Loading a run of some thousand cases, and its report."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import paca_bench


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench") / "run"
    return paca_bench.analyze(res="224..2048/20", batch="1,8", mode="forward,train", out=out)


def test_load(benchmark: BenchmarkFixture, run: Path) -> None:
    frame = benchmark(paca_bench.load_results, run)
    benchmark.extra_info["records"] = len(frame)
    assert len(frame) > 1000


def test_report(benchmark: BenchmarkFixture, run: Path, tmp_path: Path) -> None:
    page = benchmark(paca_bench.write_report, run, tmp_path / "report.html")
    benchmark.extra_info["html_bytes"] = page.stat().st_size
