"""The dense task from the settings to the record."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from paca_bench import worker
from paca_bench.analyse.dense import miou_estimate, unpack_confusions
from paca_bench.assemble import assemble
from paca_bench.data.registry import check_masks
from paca_bench.errors import DataError, SpecError
from paca_bench.plan import PlannedCase, make_plan
from paca_bench.predicted_time import Machine
from paca_bench.record import Case, Status
from paca_bench.spec import make_spec, read_suite
from paca_bench.sweeper import preview
from paca_bench.worker import run_job
from paca_bench.workers import Outcome
from tests.builders import make_fit_record

SETTINGS = {
    "res": "32", "mechanism": "vit,paca", "clusters": 9, "level": "host", "task": "segment",
    "metrics": "complexity,accuracy", "train_budget": "steps:2",
}  # fmt: skip
CASE = Case(
    level="host", mechanism="pvt", host="nano", height=32, width=32, mode="segment", head="linear"
)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's limits, threads and denormals are for a process of its own."""
    monkeypatch.setattr(worker, "_settle", lambda job: None)


def trainings(**changes: object) -> list[PlannedCase]:
    planned = make_plan(make_spec({**SETTINGS, **changes}), "cpu", Machine(4e10))
    return [one for one in planned if one.case.is_training]


def test_each_mechanism_is_trained_under_each_head() -> None:
    planned = trainings()
    assert [(p.case.mechanism, p.case.mode, p.case.head) for p in planned] == [
        (name, "segment", head) for name in ("vit", "paca") for head in ("paca", "linear")
    ]
    assert {p.groups for p in planned} == {("complexity", "accuracy")}
    assert planned[0].macs > planned[1].macs > 0
    assert [p.case.head for p in trainings(head="linear")] == ["linear"] * 2
    classified = trainings(task="classify")
    assert {(p.case.mode, p.case.head) for p in classified} == {("fit", "none")}


def test_a_head_is_part_of_the_case_and_unmentioned_elsewhere() -> None:
    assert CASE.id == "host-nano/pvt/32/segment-linear/b1/float32/cpu"
    assert Case.from_json(json.loads(json.dumps(CASE.to_json()))) == CASE
    assert replace(CASE, head="paca").hash != CASE.hash
    fit = make_fit_record("vit").case
    assert "head" not in fit.to_json()
    # As it was before there were heads.
    assert (fit.id, fit.hash) == ("host-nano/vit/32/fit/b64/float32/cpu", "017a3f8754d3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "round"}, "--head 'round' does not exist.*paca, linear"),
        ({"task": "detect"}, "--task 'detect' does not exist.*classify, segment"),
        ({"task": "classify", "head": "paca"}, "add --task segment"),
        ({"level": "layer"}, "add host to it"),
        ({"level": "host,model", "accuracy_level": "model"}, "--accuracy-level is model; add host"),
        ({"metrics": "latency"}, "--metrics is latency; add accuracy to it"),
    ],
)
def test_a_mistake_in_the_settings_is_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        trainings(**changes)


def test_a_data_set_without_masks_is_refused_before_anything_runs() -> None:
    assert make_spec(SETTINGS).data == "pathfinder"
    with pytest.raises(DataError, match=r"mnist5k has no masks, .*--data pathfinder"):
        preview(None, {**SETTINGS, "data": "mnist5k"})
    check_masks("pathfinder:hard")
    with pytest.raises(DataError, match="unknown data set"):
        check_masks("nothing")


def test_the_suite_fits_its_budget() -> None:
    spec = make_spec(read_suite("dense"))
    planned = make_plan(spec, "cpu", Machine(4e10))
    dense = [p for p in planned if p.case.mode == "segment"]
    assert len(dense) == 4
    assert spec.seeds == 3
    assert sum(p.wall_s for p in planned) < spec.budget_s
    check_masks(spec.data)


def test_a_worker_s_trainings_become_one_record() -> None:
    (planned,) = trainings(mechanism="pvt", head="linear", data="pathfinder:n=16")
    recipe = {"budget": "steps:2", "batch_size": 4, "lr": 1e-3}
    job = {"kind": "accuracy", "case": planned.case.to_json(), "threads": 1, "recipe": recipe}
    outcomes = []
    for seed in (0, 1):
        found = run_job({**job, "seed": seed, "data": "pathfinder:n=16"})
        outcomes.append(Outcome.from_json(json.loads(json.dumps(found))))
    assert [o.status for o in outcomes] == [Status.OK] * 2, outcomes[0].reason
    static = Outcome.from_json(run_job({**job, "kind": "complexity"}))
    assert static.details["macs_method"] == "closed form and count of operators agree"
    record = assemble(planned, {"accuracy": outcomes, "complexity": [static]})
    details = record.details
    confusions = [unpack_confusions(text, 4) for text in details["test_confusions"]]
    assert [len(one) for one in confusions] == [details["num_test"]] * 2 == [4, 4]
    assert all((one.sum(axis=(1, 2)) == 32 * 32).all() for one in confusions)
    estimate = miou_estimate(np.stack(confusions))
    metrics = record.metrics
    assert metrics["miou"] == estimate.value
    assert (metrics["miou_low"], metrics["miou_high"]) == (estimate.low, estimate.high)
    assert details["miou_method"] == estimate.method
    assert np.mean([values[0] for values in record.samples["miou"]]) == pytest.approx(
        estimate.value
    )
    assert "accuracy" not in metrics
    assert metrics["macs"] == planned.macs
    assert details["mask_classes"].startswith("background; ")
    assert [len(ious) for ious in details["class_iou"]] == [4, 4]
    assert details["seeds"] == [0, 1]
    assert metrics["train_peak_memory_bytes"] > 0


def test_masks_that_are_missing_are_the_worker_s_error_too() -> None:
    job = {"kind": "accuracy", "case": CASE.to_json(), "threads": 1, "seed": 0, "data": "mnist5k"}
    recipe = {"budget": "steps:1", "batch_size": 4, "lr": 1e-3}
    outcome = Outcome.from_json(run_job({**job, "recipe": recipe}))
    assert outcome.status is Status.ERROR
    assert "no masks" in outcome.reason
