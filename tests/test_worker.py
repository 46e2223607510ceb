"""One job in, one outcome out; run in this process, where threads and limits stay as they are."""

from __future__ import annotations

from typing import Any

import pytest

from paca_bench import worker
from paca_bench.complexity.memory import predict_case_memory
from paca_bench.record import Case, Status
from paca_bench.worker import run_job
from paca_bench.workers import Outcome
from tests.complexity.test_memory import make_case


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit on this process's memory, and no change of its threads."""
    monkeypatch.setattr(worker, "_limit_memory", lambda: None)


def run(case: Case, kind: str, **extra: Any) -> Outcome:
    return Outcome.from_json(run_job({"kind": kind, "case": case.to_json(), "seed": 0, **extra}))


@pytest.mark.parametrize("mode", ["forward", "train", "checkpointed"])
@pytest.mark.parametrize("level", ["layer", "host"])
def test_memory_in_every_mode_is_what_was_predicted(level: str, mode: str) -> None:
    case = make_case("paca", level=level, mode=mode, height=96)
    outcome = run(case, "memory")
    assert outcome.status is Status.OK, outcome.reason
    predicted = predict_case_memory(case).peak_bytes
    assert outcome.metrics["predicted_peak_memory_bytes"] == predicted
    assert outcome.metrics["peak_memory_bytes"] == pytest.approx(predicted, rel=0.05)


def test_checkpointing_spares_memory_and_is_checked_like_any_mode() -> None:
    host = make_case("swin", level="host", mode="train", height=96)
    kept = make_case("swin", level="host", mode="checkpointed", height=96)
    peaks = [run(case, "memory").metrics["peak_memory_bytes"] for case in (host, kept)]
    assert peaks[1] < peaks[0]
    outcome = run(kept, "latency", slice_s=0.01, precision=0.5, check=True)
    assert outcome.status is Status.OK, outcome.reason
    assert outcome.details["checked"] == "float64"


def test_counts_are_of_both_passes() -> None:
    case = make_case("paca", level="host", mode="train")
    outcome = run(case, "complexity")
    assert outcome.status is Status.OK, outcome.reason
    assert outcome.details["macs_method"] == "closed form and count of operators agree"


def test_the_probe_measures_the_dtypes_that_are_asked_for() -> None:
    job = {"kind": "probe", "device": "cpu", "dtypes": ["float32", "float64"], "seed": 0}
    outcome = Outcome.from_json(run_job(job))
    assert outcome.status is Status.OK, outcome.reason
    ceilings = outcome.details["ceilings"]
    assert set(ceilings["macs_per_s"]) == {"float32", "float64"}
    assert all(rate > 0 for rate in ceilings["macs_per_s"].values())
    assert all(size > 0 and rate > 0 for size, rate in ceilings["bytes_per_s"])
