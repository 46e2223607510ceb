"""The committed static metrics: what no commit changes unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paca_bench.analyzer import analyze
from paca_bench.attention.registry import mechanisms
from paca_bench.compare import Comparison, compare
from paca_bench.models.registry import model_names
from paca_bench.store import RunFolder

BASELINE = Path(__file__).parents[1] / "results/baselines/cpu"
EXACT = "macs!=0,params!=0,backward_macs!=0,moved_bytes!=0"
MEND = (
    "if the change is meant: rm -r results/baselines/cpu && OMP_NUM_THREADS=2 "
    "paca-bench analyze --suite baseline --memory --out results/baselines/cpu, and say why"
)


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("baseline") / "run"
    made_with = RunFolder.open(BASELINE).header["environment"]["threads"]
    threads = torch.get_num_threads()
    torch.set_num_threads(made_with)
    try:
        return analyze(suite="baseline", memory=True, out=out)
    finally:
        torch.set_num_threads(threads)


def changed(comparison: Comparison) -> list[str]:
    return [
        f"{case.id}: {pair.name} {pair.base:.0f} -> {pair.new:.0f}"
        for case in comparison.cases
        for pair in case.statics
        if pair.is_changed
    ]


def test_no_static_metric_differs_from_the_baseline(now: Path) -> None:
    found = compare(BASELINE, now, fail_on=EXACT)
    assert len(found.cases) == len(RunFolder.open(BASELINE).records())
    assert not changed(found), MEND
    assert found.only_base == found.only_new == [], MEND


def test_all_models_and_mechanisms_are_in_the_baseline() -> None:
    cases = [record.case for record in RunFolder.open(BASELINE).records()]
    assert {case.mechanism for case in cases if case.level == "model"} == set(model_names()), MEND
    wanted = {name for name, one in mechanisms().items() if not one.control}
    for level in ("layer", "host"):
        assert {c.mechanism for c in cases if c.level == level} == wanted, MEND


def test_the_gate_finds_a_changed_baseline(now: Path, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", RunFolder.open(now).header)
    first, *others = RunFolder.open(now).records()
    first.metrics["macs"] += 1
    run.extend([first, *others])
    (one,) = changed(compare(now, run.path, fail_on=EXACT))
    assert one.startswith(f"{first.case.id}: macs ")
