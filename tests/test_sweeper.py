"""``sweep`` as Python has it: settings, folders, resuming, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import paca_bench
from paca_bench import sweeper
from paca_bench.environment import measured_code
from paca_bench.errors import (
    DataError,
    NothingMeasuredError,
    PacaBenchError,
    PluginError,
    SpecError,
    StoreError,
)
from paca_bench.record import Status
from paca_bench.spec import SweepSpec, read_suite
from paca_bench.store import RunFolder
from paca_bench.sweeper import make_sweep_spec, preview, sweep
from paca_bench.workers import Outcome
from tests.fakes import CEILINGS, ENVIRONMENT, FakeMachine, FakePool, Killed
from tests.test_store import snapshot

TINY = {"res": "64", "mechanism": "vit", "mode": "forward", "level": "layer", "metrics": "latency"}


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    return install(monkeypatch)


def install(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any] = ENVIRONMENT) -> FakePool:
    one = FakePool(FakeMachine(), environment)
    monkeypatch.setattr(sweeper, "WorkerPool", one)
    return one


def test_a_sweep_makes_a_run_that_says_how_it_was_made(tmp_path: Path, pool: FakePool) -> None:
    out = sweep(out=tmp_path / "run", **TINY)
    run = RunFolder.open(out)
    assert out == tmp_path / "run"
    assert [r.case.id for r in run.records()] == ["layer-nano-s1/vit/64/forward/b1/float32/cpu"]
    assert run.header["paca_bench"] == "0.1.0"
    assert SweepSpec.from_json(run.header["spec"]) == make_sweep_spec(None, TINY)
    expected = {**ENVIRONMENT, "code": measured_code(), "ceilings": CEILINGS}
    assert run.header["environment"] == expected
    assert run.header["started_at"] <= run.header["finished_at"]


def test_the_public_name_is_this_function() -> None:
    assert paca_bench.sweep is sweep


def test_settings_go_over_the_suites() -> None:
    spec = make_sweep_spec("smoke", {"seed": 5})
    assert spec == make_sweep_spec(None, {**read_suite("smoke"), "seed": 5})
    assert spec != make_sweep_spec("smoke", {})


def test_a_run_gets_a_folder_of_its_own(
    tmp_path: Path, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = sweep(**TINY)
    assert out.parent == Path("results")
    assert RunFolder.open(out).records()


def test_the_time_inside_workers_is_counted(tmp_path: Path, pool: FakePool) -> None:
    seconds = RunFolder.open(sweep(out=tmp_path / "run", **TINY)).header["seconds"]
    # The fake machine's clock moves by what its jobs take, and only by that.
    assert seconds["inside_workers"] == pytest.approx(pool.machine.now - 1000)
    assert seconds["ratio"] == seconds["sweep"] / seconds["inside_workers"]


# ---- the doctor


def test_a_sweep_examines_the_machine_first(
    tmp_path: Path, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "DOCTOR_MOST_S", 30.0)
    found = RunFolder.open(sweep(out=tmp_path / "run", **TINY)).header["diagnosis"]
    assert found["verdict"] in ("quiet", "noisy", "unfit")
    assert "smallest change" in found["summary"]
    assert "samples" not in found["noise"]
    assert all(one["severity"] in ("note", "warning", "problem") for one in found["findings"])


def test_a_resumed_sweep_keeps_the_diagnosis_of_its_start(
    tmp_path: Path, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "DOCTOR_MOST_S", 30.0)
    run = RunFolder.open(sweep(out=tmp_path / "run", **TINY))
    jobs = len(pool.machine.jobs)
    sweep(out=tmp_path / "run", resume=True)
    assert len(pool.machine.jobs) == jobs
    assert RunFolder.open(run.path).header["diagnosis"] == run.header["diagnosis"]


@pytest.mark.parametrize("changes", [{"budget": "60s"}, {"doctor": False}, {"metrics": "memory"}])
def test_the_machine_is_not_examined_where_it_would_not_help(
    tmp_path: Path, pool: FakePool, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(sweeper, "DOCTOR_MOST_S", 30.0)
    assert RunFolder.open(sweep(out=tmp_path / "run", **TINY | changes)).header["diagnosis"] is None


# ---- resuming


def test_a_killed_sweep_goes_on_with_its_settings(tmp_path: Path, pool: FakePool) -> None:
    pool.machine.kill_at = 4
    with pytest.raises(Killed):
        sweep(out=tmp_path / "run", **{**TINY, "res": "64,96"}, seed=3)
    assert "finished_at" not in RunFolder.open(tmp_path / "run").header
    sweep(out=tmp_path / "run", resume=True)
    run = RunFolder.open(tmp_path / "run")
    assert [r.status for r in run.records()] == [Status.OK] * 2
    assert run.header["spec"]["seed"] == 3
    assert len(pool.machine.jobs) == 6


def test_resuming_may_change_settings(tmp_path: Path, pool: FakePool) -> None:
    sweep(out=tmp_path / "run", **TINY)
    before = RunFolder.open(tmp_path / "run").records()
    sweep(out=tmp_path / "run", resume=True, res="64,96")
    run = RunFolder.open(tmp_path / "run")
    assert run.records()[:1] == before
    assert [r.case.height for r in run.records()] == [64, 96]
    assert run.header["spec"]["resolutions"] == [[64, 64], [96, 96]]


@pytest.mark.parametrize("name", ["cpu", "torch", "threads", "malloc"])
def test_another_environment_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(monkeypatch)
    sweep(out=tmp_path / "run", **TINY)
    before = snapshot(tmp_path)
    install(monkeypatch, {**ENVIRONMENT, name: "other"})
    with pytest.raises(StoreError, match=f"{name} was .* and is 'other'.*new --out"):
        sweep(out=tmp_path / "run", resume=True)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("records.jsonl", b"foreign\n", StoreError),
        ("records.jsonl", b'{"schema": 99}\n', StoreError),
        ("journal.jsonl", b"{}\n", StoreError),
        ("journal.jsonl", b'{"case_hash":"a","group":"b","outcome":{}}\n', StoreError),
        ("run.json", b"{}", StoreError),
        ("run.json", b'{"schema": 1}', SpecError),
        ("run.json", b'{"schema": 1, "spec": {"resolutions": [[64, 64]]}}', StoreError),
    ],
)
def test_a_damaged_run_is_refused_and_left_as_it_is(
    tmp_path: Path, pool: FakePool, file: str, content: bytes, error: type[Exception]
) -> None:
    sweep(out=tmp_path / "run", **TINY)
    (tmp_path / "run" / file).write_bytes(content)
    before = snapshot(tmp_path)
    jobs = len(pool.machine.jobs)
    with pytest.raises(error):
        sweep(out=tmp_path / "run", resume=True)
    assert snapshot(tmp_path) == before
    assert len(pool.machine.jobs) == jobs


def test_a_run_that_is_being_written_is_not_disturbed(tmp_path: Path, pool: FakePool) -> None:
    sweep(out=tmp_path / "run", **TINY)
    before = snapshot(tmp_path)
    with (
        RunFolder.open(tmp_path / "run").locked(),
        pytest.raises(StoreError, match="another sweep is writing"),
    ):
        sweep(out=tmp_path / "run", resume=True, res="96")
    assert snapshot(tmp_path) == before
    assert pool.probes == 1, "not even the probe of the second sweep ran"


# ---- refused before anything runs


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"resolution": "64"}, SpecError, "unknown setting 'resolution'"),
        ({"res": "0..x"}, SpecError, "--res '0..x' is not a resolution"),
        ({"mechanism": "vti"}, SpecError, "unknown mechanism 'vti'"),
        ({"suite": "smok"}, SpecError, "no suite 'smok'"),
        ({"plugin": "missing.py"}, PluginError, "there is no such file"),
        ({"resume": True}, StoreError, "is not a run folder"),
        ({"metrics": "accuracy", "level": "host", "data": "cifar"}, DataError, "unknown data set"),
        (
            {"metrics": "accuracy", "level": "host", "data": "folder:/no/such"},
            DataError,
            "there is no such folder",
        ),
    ],
)
def test_bad_settings_make_no_folder(
    tmp_path: Path, pool: FakePool, settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        sweep(out=tmp_path / "run", **{**TINY, **settings})
    assert not (tmp_path / "run").exists()
    assert not pool.machine.jobs


def test_an_out_that_cannot_be_used(tmp_path: Path, pool: FakePool) -> None:
    (tmp_path / "file").write_text("precious")
    sweep(out=tmp_path / "run", **TINY)
    before = snapshot(tmp_path)
    for name, says in (("file", "is a file"), ("run", "add --resume"), (".", "is not empty")):
        with pytest.raises(StoreError, match=says):
            sweep(out=tmp_path / name, **TINY)
    with pytest.raises(StoreError, match="--resume needs --out"):
        sweep(resume=True)
    assert snapshot(tmp_path) == before
    assert pool.probes == 1


def test_a_device_that_cannot_be_probed(tmp_path: Path, pool: FakePool) -> None:
    pool.probe = Outcome(status=Status.ERROR, reason="--device cuda: no CUDA device here")
    with pytest.raises(PacaBenchError, match="could not be probed: --device cuda: no CUDA"):
        sweep(out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


def test_a_sweep_without_a_single_figure_never_passes(tmp_path: Path, pool: FakePool) -> None:
    crash = Outcome(status=Status.CRASH, reason="as foreseen")
    pool.machine.fails = {("vit", "latency"): lambda _: crash}
    with pytest.raises(NothingMeasuredError) as error:
        sweep(out=tmp_path / "run", **TINY)
    assert error.value.exit_code == 3
    assert [r.status for r in RunFolder.open(tmp_path / "run").records()] == [Status.CRASH]


# ---- the preview


def test_a_preview_plans_and_leaves_nothing(
    tmp_path: Path, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned = preview(None, {**TINY, "res": "64,96"})
    assert [p.case.height for p in planned] == [64, 96]
    assert all(p.wall_s > 0 for p in planned)
    assert list(tmp_path.iterdir()) == []
    assert (pool.probes, pool.machine.jobs) == (0, [])


def test_a_run_file_is_readable_json(tmp_path: Path, pool: FakePool) -> None:
    out = sweep(out=tmp_path / "run", **TINY)
    assert json.loads((out / "run.json").read_text())["schema"] == 1


# ---- plugins are tried in a worker first


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome(status=Status.TIMEOUT, reason="no result"), "did not end within 5.00 s"),
        (Outcome(status=Status.CRASH, reason="killed by SIGSEGV"), "failed: killed by SIGSEGV"),
        (Outcome(status=Status.ERROR, reason="--plugin x.py, line 3: boom"), "^--plugin x.py, lin"),
    ],
)
def test_a_plugin_that_a_worker_cannot_load_is_refused(
    tmp_path: Path, pool: FakePool, outcome: Outcome, message: str
) -> None:
    plugin = tmp_path / "x.py"
    plugin.write_text("raise SystemExit('the sweep must not load this')")
    pool.plugin_check = outcome
    with pytest.raises(PluginError, match=message):
        sweep(out=tmp_path / "run", plugin=str(plugin), timeout="5s", **TINY)
    assert not (tmp_path / "run").exists()


def test_without_plugins_nothing_is_tried(tmp_path: Path, pool: FakePool) -> None:
    sweep(out=tmp_path / "run", **TINY)
    assert pool.plugins == 0


def test_a_run_says_what_the_sweep_took_beside_its_measurements(
    tmp_path: Path, pool: FakePool
) -> None:
    seconds = RunFolder.open(sweep(out=tmp_path / "run", **TINY)).header["seconds"]
    assert seconds["ratio"] == pytest.approx(seconds["sweep"] / seconds["inside_workers"])


def test_code_that_changed_is_another_environment(
    tmp_path: Path, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(out=tmp_path / "run", **TINY)
    monkeypatch.setattr(sweeper, "measured_code", lambda plugins: "other")
    with pytest.raises(StoreError, match=r"code was .* and is 'other'.*new --out"):
        sweep(out=tmp_path / "run", resume=True)


def test_a_run_of_before_code_was_known_goes_on(
    tmp_path: Path, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.open(sweep(out=tmp_path / "run", **TINY))
    del run.header["environment"]["code"]
    run.write_header()
    assert sweep(out=tmp_path / "run", resume=True) == tmp_path / "run"
