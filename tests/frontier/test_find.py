"""Frontiers of real closed forms, confirmed by a machine of known speed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from paca_bench.cli import app
from paca_bench.complexity.memory import predict_case_memory
from paca_bench.complexity.roofline import Ceilings
from paca_bench.errors import NothingMeasuredError
from paca_bench.frontier import Limit, find, frontier
from paca_bench.frontier.find import Finder, make_frontier_spec
from paca_bench.models.subject import case_cost
from paca_bench.record import Case, Status
from paca_bench.workers import Job, Outcome
from tests.fakes import CEILINGS, FakeMachine, FakePool

MACS_PER_S = 1e9
SETTINGS = {"mechanism": "paca", "clusters": "49", "level": "layer"}


class Machine:
    """Takes a second for each 10⁹ MACs, and as much memory as predicted, or another share."""

    def __init__(self, *, memory_factor: float = 1.0) -> None:
        self.memory_factor = memory_factor
        self.jobs: list[tuple[str, int]] = []
        self.fails: Outcome | None = None

    def execute(self, job: Job, timeout_s: float) -> Outcome:
        case = Case.from_json(job["case"])
        self.jobs.append((job["kind"], case.height))
        if self.fails:
            return self.fails
        cost = case_cost(case)
        assert cost is not None
        if job["kind"] == "latency":
            seconds = cost.macs / MACS_PER_S
            samples = [seconds * factor for factor in (0.9999, 1.0, 1.0001)]
            return Outcome(status=Status.OK, samples={"latency_s": samples}, seconds=0.1)
        one = predict_case_memory(case)
        metrics = {
            "peak_memory_bytes": one.peak_bytes * self.memory_factor,
            "base_memory_bytes": one.weights_bytes + one.input_bytes,
        }
        return Outcome(status=Status.OK, metrics=metrics, seconds=0.1)


def finder(machine: Machine | None, **settings: Any) -> Finder:
    spec = make_frontier_spec({**SETTINGS, **settings})
    execute = machine.execute if machine else None
    return Finder(spec, "cpu", execute, Ceilings.from_json(CEILINGS), clock=lambda: 0.0)


def macs_at(side: int, mechanism: str = "paca", clusters: int | None = 49) -> int:
    case = Case(
        level="layer", mechanism=mechanism, host="nano", stage=1, num_clusters=clusters,
        height=side, width=side, mode="forward",
    )  # fmt: skip
    cost = case_cost(case)
    assert cost is not None
    return cost.macs


def test_macs_are_exact_and_need_no_device() -> None:
    (entry,) = finder(None).entries([Limit("macs", 5e8, "500M")])
    side = entry.resolution
    assert side is not None
    assert macs_at(side) <= 5e8 < macs_at(side + 32)
    assert entry.predicted == macs_at(side)
    assert entry.confirmed


def test_a_latency_is_closed_in_by_measuring() -> None:
    machine = Machine()
    (entry,) = finder(machine).entries([Limit("latency", 0.5, "500ms")])
    side = entry.resolution
    assert side is not None
    assert macs_at(side) <= 0.5 * MACS_PER_S < macs_at(side + 32)
    assert entry.confirmed
    assert entry.measured == pytest.approx(macs_at(side) / MACS_PER_S, rel=1e-3)
    assert entry.low is not None
    assert entry.high is not None
    assert entry.low <= entry.measured <= entry.high <= 0.5
    assert entry.next_measured == pytest.approx(macs_at(side + 32) / MACS_PER_S, rel=1e-3)
    assert len(machine.jobs) <= 3 * 8


def test_memory_is_predicted_and_then_confirmed() -> None:
    machine = Machine()
    (entry,) = finder(machine).entries([Limit("memory", 50e6, "50MB")])
    assert entry.confirmed
    side = entry.resolution
    assert machine.jobs == [("memory", side), ("memory", (side or 0) + 32)]
    assert entry.measured == entry.predicted
    assert entry.measured <= 50e6 < (entry.next_measured or 0.0)


def test_a_prediction_that_is_far_off_is_not_confirmed() -> None:
    (entry,) = finder(Machine(memory_factor=2.0)).entries([Limit("memory", 50e6, "50MB")])
    assert not entry.confirmed
    assert entry.measured is not None
    assert entry.measured > 50e6
    assert "off by more than a step" in entry.note


def test_what_a_device_cannot_hold_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "available_memory", lambda: 10**7)
    machine = Machine()
    (entry,) = finder(machine).entries([Limit("memory", 50e6, "50MB")])
    assert machine.jobs == []
    assert entry.resolution is not None
    assert "9.54 MiB are free" in entry.note


@pytest.mark.parametrize("kind", ["latency", "memory"])
def test_a_failure_is_said_and_ends_that_curve_alone(kind: Any) -> None:
    machine = Machine()
    machine.fails = Outcome(status=Status.CRASH, reason="it fell over")
    entries = list(finder(machine, clusters="25,49").entries([Limit(kind, 1e7, "x")]))
    assert len(entries) == 2
    assert all("crash: it fell over" in entry.note for entry in entries)
    assert not any(entry.confirmed for entry in entries)


def test_each_entry_has_its_share_of_the_time() -> None:
    machine = Machine()
    one = finder(machine, clusters="25,49")
    one.end = 1e-9
    entries = list(one.entries([Limit("latency", 0.5, "500ms"), Limit("memory", 1e7, "10MB")]))
    assert machine.jobs == []
    assert all("raise --budget" in entry.note for entry in entries)


def test_nothing_fits() -> None:
    (entry,) = finder(Machine()).entries([Limit("macs", 1.0, "1")])
    assert entry.resolution is None
    assert entry.note == "not even the smallest size fits"


def test_a_latency_cannot_be_predicted_alone() -> None:
    (entry,) = frontier([Limit("latency", 1.0, "1s")], measure=False, **SETTINGS)
    assert "leave out --predict-only" in entry.note


# ---- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["frontier", *arguments])


def test_the_command_prints_a_table_for_each_limit() -> None:
    result = run("--macs", "500M", "--memory", "50MB", "--predict-only", "--mechanism", "vit,paca",
                 "--clusters", "49", "--level", "layer")  # fmt: skip
    assert result.exit_code == 0
    assert "macs up to 500M (layer of stage 1 of nano, forward, batch 1, float32)" in result.stdout
    assert "memory up to 50MB" in result.stdout
    assert "paca (M=49)" in result.stdout


def test_json_holds_what_the_table_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "WorkerPool", FakePool(FakeMachine()))
    result = run("--macs", "500M", "--mechanism", "paca", "--clusters", "49", "--level", "layer",
                 "--json")  # fmt: skip
    (entry,) = json.loads(result.stdout)["frontiers"]
    assert entry["label"] == "paca (M=49)"
    assert entry["limit"] == {"kind": "macs", "value": 5e8}
    assert macs_at(entry["resolution"]) <= 5e8


def test_a_frontier_of_nothing_is_no_success() -> None:
    result = run("--macs", "1", "--mechanism", "vit")
    assert isinstance(result.exception, NothingMeasuredError)
    assert result.exception.exit_code == 3
