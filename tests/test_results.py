"""Runs as one tidy frame: a row a case, units in the names, nothing invented."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from paca_bench.errors import StoreError
from paca_bench.record import Status
from paca_bench.results import METRIC_COLUMNS, load_results
from paca_bench.store import RECORDS_FILE, RunFolder, TornLineWarning
from tests.builders import censored, make_fit_record, make_record, make_run, whole_sweep


def test_a_row_has_the_axes_and_metrics_of_its_record(tmp_path: Path) -> None:
    record = make_record("paca", 49, level="layer", stage=2, resolution=448, mode="train")
    record = replace(record, case=replace(record.case, options=(("kernel_size", 3),), width=112))
    frame = load_results(make_run(tmp_path / "mine", [record]).path)
    assert len(frame) == 1
    row = frame.iloc[0]
    expected = {
        "run": "mine",
        "case_id": record.case.id,
        "case_hash": record.case.hash,
        "level": "layer",
        "mechanism": "paca",
        "label": "paca (M=49, kernel_size=3)",
        "host": "nano",
        "stage": 2,
        "height": 448,
        "width": 112,
        "resolution": 224.0,
        "tokens": record.details["tokens"],
        "num_clusters": 49,
        "options": json.dumps({"kernel_size": 3}),
        "batch": 1,
        "dtype": "float32",
        "device": "cpu",
        "mode": "train",
        "status": "ok",
        "reason": "",
        "latency_status": "ok",
        "accuracy_status": None,
        "kernel_path": "flash",
        "latency_samples_s": record.samples["latency_s"],
        "predicted_wall_s": record.predicted["wall_s"],
        **record.metrics,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_metric_that_was_not_measured_is_missing_and_its_reason_said(tmp_path: Path) -> None:
    record = censored(make_record("vit"), status=Status.OVER_BUDGET, reason="raise --budget")
    row = load_results(make_run(tmp_path / "run", [record]).path).iloc[0]
    assert (row["status"], row["latency_status"], row["memory_status"]) == (
        "over_budget",
        "over_budget",
        "ok",
    )
    assert row["reason"] == "latency: raise --budget"
    assert math.isnan(row["latency_s"])
    assert row["latency_samples_s"] == []
    assert row["peak_memory_bytes"] == record.metrics["peak_memory_bytes"]


def test_accuracy_samples_are_one_a_seed(tmp_path: Path) -> None:
    frame = load_results(make_run(tmp_path / "run", [make_fit_record("vit", accuracy=0.9)]).path)
    assert frame["accuracy_samples"].iloc[0] == pytest.approx([0.895, 0.9, 0.905])


def test_a_run_without_records_has_all_metric_columns(tmp_path: Path) -> None:
    frame = load_results(make_run(tmp_path / "run", []).path)
    assert len(frame) == 0
    assert set(METRIC_COLUMNS) <= set(frame.columns)


def test_every_metric_of_a_whole_sweep_is_a_number_or_missing(tmp_path: Path) -> None:
    frame = load_results(make_run(tmp_path / "run").path)
    assert len(frame) == len(whole_sweep())
    assert frame["case_hash"].is_unique
    assert all(frame[column].dtype.kind in "if" for column in METRIC_COLUMNS)


def test_a_case_tried_again_is_one_row(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [censored(make_record("vit"))])
    run.append(make_record("vit"))
    assert list(load_results(run.path)["status"]) == ["ok"]


def test_several_runs_are_told_apart(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, [make_record("vit")]).path for name in ("a", "b")]
    frame = load_results(path for path in runs)
    assert list(frame["run"]) == ["a", "b"]
    assert frame["case_hash"].nunique() == 1


def test_the_run_is_named_also_where_the_path_does_not_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_run(tmp_path / "mine", [make_record("vit")]).path)
    assert list(load_results(".")["run"]) == ["mine"]
    assert list(load_results(RECORDS_FILE)["run"]) == ["mine"]


def test_a_torn_run_still_loads_and_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record("vit")])
    with (run.path / RECORDS_FILE).open("ab") as file:
        file.write(b'{"schema"')
    with pytest.warns(TornLineWarning):
        assert len(load_results(run.path)) == 1


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run folder given"):
        load_results([])
    good = make_run(tmp_path / "run", []).path
    with pytest.raises(StoreError, match="is not a run folder"):
        load_results([good, tmp_path])


def test_loading_changes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record("vit")])
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    load_results(RunFolder.open(run.path).path)
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before
