"""The pytest-benchmark modules: they run, and ``compare`` reads what they leave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from paca_bench.compare import compare
from paca_bench.compare.sides import UNKNOWN, load_side
from paca_bench.models.subject import case_cost
from paca_bench.record import Case

ROOT = Path(__file__).parents[1]
QUICK = ("--benchmark-only", "--benchmark-min-rounds=1", "--benchmark-max-time=0.01")


def run_benches(*arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *QUICK, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bench_attaches_exact_metrics_and_conditions_that_compare_reads(tmp_path: Path) -> None:
    result = tmp_path / "bench.json"
    chosen = ("suites/bench_layers.py", "-k", "pvt_linear and 3", f"--benchmark-json={result}")
    run_benches(*chosen)
    side = load_side(result, "BASE")
    assert len(side.cases) == 2
    forward = next(case for case in side.cases.values() if "forward" in case.id)
    expected = case_cost(
        Case(
            level="layer",
            mechanism="pvt_linear",
            host="nano",
            stage=3,
            height=224,
            width=224,
            mode="forward",
        )
    )
    assert expected is not None
    assert forward.statics["macs"] == expected.macs
    assert forward.statics["params"] == expected.params
    assert forward.statics["memory"] > 0
    assert UNKNOWN not in forward.condition("kernel path")
    assert compare(result, result).exit_code == 0


def test_all_modules_can_be_collected() -> None:
    modules = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "suites").glob("bench_*.py"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q"]
    done = subprocess.run(
        [*command, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    for kind in ("layers", "hosts", "models", "counters", "report", "start"):
        assert f"suites/bench_{kind}.py::" in done.stdout
