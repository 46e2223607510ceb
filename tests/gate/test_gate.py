"""From two revisions to an exit code, with counts from files and arms of cardboard."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from paca_bench import cli
from paca_bench.analyse.compare import Change
from paca_bench.compare import compare
from paca_bench.compare.machine import to_annotations
from paca_bench.compare.markdown import to_markdown
from paca_bench.compare.wording import headline, sentences
from paca_bench.errors import NothingMeasuredError, SpecError, StoreError
from paca_bench.gate import gate, run
from paca_bench.gate.output import gate_json
from paca_bench.gate.side import GateSide
from paca_bench.record import Status
from paca_bench.report.compare_page import render
from paca_bench.store import RunFolder
from paca_bench.workers import Outcome
from tests.builders import censored, make_record, make_run
from tests.compare.test_comparison import without_timing
from tests.gate.fakes import FakeArms, Noise
from tests.gate.project import make_project, worktrees, write

MECHANISMS = ("vit", "swin", "pvt", "paca")
CRASH = Outcome(status=Status.CRASH, reason="signal 11", seconds=0.1)


def counted(**changes):
    """What a side's ``cases.json`` says: mechanism -> metrics that differ from the usual ones."""
    return json.dumps({name: changes.get(name, {}) for name in MECHANISMS})


def count_from_file(sides, settings, runs):
    """In place of a sweep in each side's own process: its records are in its worktree."""
    for side in sides:
        content = json.loads((side.folder / "cases.json").read_text())
        records = [made(name, changes) for name, changes in content.items()]
        folder = make_run(runs[side.name], records)
        folder.finish()


def made(mechanism, changes):
    one = without_timing(make_record(mechanism, 49 if mechanism == "paca" else None))
    one = replace(one, statuses={"complexity": Status.OK, "memory": Status.OK})
    if reason := changes.pop("wrong", ""):
        failed = replace(one, statuses={**one.statuses, "latency": Status.OK})
        return without_latency(censored(failed, "memory", Status.ERROR, reason))
    return replace(one, metrics={**one.metrics, **changes})


def without_latency(one):
    return replace(one, statuses={k: v for k, v in one.statuses.items() if k != "latency"})


@pytest.fixture
def project(tmp_path):
    versions = (
        {"cases.json": counted()},
        {"cases.json": counted(vit={"macs": 1})},
        {"cases.json": json.dumps({"pvt_linear": {}})},
        {"cases.json": counted(swin={"wrong": "closed form"})},
        {"cases.json": counted()},
    )
    return make_project(tmp_path / "project", *versions)


@pytest.fixture
def gated(project, monkeypatch):
    """Runs a gate of the project; ``arms`` is what measures its latencies."""
    monkeypatch.setattr(run, "count_both", count_from_file)

    def make(base="v1", head="v5", *, arms=None, **settings):
        fake = arms or FakeArms(Noise(0.003))
        monkeypatch.setattr(run, "TwoStages", lambda *a, **k: TwoStages(*a, **k, clock=fake.clock))
        return gate(base, head, folder=project, make_arms=lambda *_: fake, **settings)

    from paca_bench.gate.stages import TwoStages

    yield make
    assert worktrees(project) == [str(project.resolve())]


def said(found):
    return " ".join([headline(found.comparison), *sentences(found.comparison)])


def changes(found):
    return [case.judgement and case.judgement.change for case in found.comparison.cases]


# ---- verdicts and exit codes


def test_equal_code_is_clean(gated):
    found = gated()
    assert found.exit_code == 0
    assert changes(found) == [Change.SAME] * 4
    assert headline(found.comparison) == "No regression found in 4 cases."
    assert "BASE against itself in the same launches differs by up to 0" in said(found)
    assert "Smallest slowdown that would have been found" in said(found)
    assert "seed 0" in said(found)


def test_a_slower_case_is_confirmed_and_fails(gated):
    found = gated(arms=FakeArms(Noise(0.003), slower={1: 1.1}))
    assert found.exit_code == 1
    assert "1 of 4 cases slower" in headline(found.comparison)
    assert "1 case looked changed at first and got a second stage" in said(found)


def test_a_faster_case_is_no_regression(gated):
    found = gated(arms=FakeArms(Noise(0.003), slower={1: 0.9}))
    assert found.exit_code == 0
    assert changes(found).count(Change.FASTER) == 1


def test_all_cases_slower_is_not_put_down_to_the_machine(gated):
    """Which a comparison of stored runs would: here both sides met the same one."""
    found = gated(arms=FakeArms(Noise(0.003), slower=dict.fromkeys(range(4), 1.1)))
    assert found.exit_code == 1
    assert "side by side, in turns" not in said(found)


def test_the_limit_is_what_is_asked_for(gated):
    slower = {0: 1.04}
    assert gated(arms=FakeArms(Noise(0.003), slower=slower)).exit_code == 1
    lax = gated(arms=FakeArms(Noise(0.003), slower=slower), fail_on="latency>10%")
    assert lax.exit_code == 0
    only_counts = gated(arms=FakeArms(Noise(0.003), slower=slower), fail_on="macs>0")
    assert only_counts.exit_code == 0


def test_noise_is_said_and_fails_only_if_strict(gated):
    found = gated(arms=FakeArms(Noise(0.2)))
    assert found.exit_code == 0
    assert "latency of 4 cases is inconclusive" in headline(found.comparison)
    assert gated(arms=FakeArms(Noise(0.2)), strict=True).exit_code == 4


def test_a_null_that_differs_is_inconclusive(gated):
    arms = FakeArms(Noise(0.003), null={0: 1.1}, slower={0: 1.2})
    found = gated(arms=arms, strict=True)
    assert found.exit_code == 4
    assert "beyond the threshold in host-nano/vit" in said(found)
    assert gate_json(found)["gate"]["cases"][found.comparison.cases[0].id]["noisy"]


def test_a_changed_count_is_found_without_timing(gated):
    arms = FakeArms()
    found = gated("v1", "v2", arms=arms, static_only=True)
    assert found.exit_code == 0  # fewer
    back = gated("v2", "v1", arms=arms, static_only=True)
    assert back.exit_code == 1
    assert "macs of 1 case" in headline(back.comparison)
    assert arms.log == []
    assert back.measured_s == 0


def test_counts_are_compared_beside_latencies(gated):
    found = gated("v2", "v1")
    assert found.exit_code == 1
    assert len(found.verdicts) == 4


def test_the_working_tree_is_the_head_if_none_is_named(gated, project):
    write(project, {"cases.json": counted(pvt={"macs": 10**15})})
    found = gated("v1", None, static_only=True)
    assert found.exit_code == 1
    assert found.head.is_dirty
    assert "uncommitted changes included" in str(found.comparison.new.path)


def test_the_same_commit_is_said(gated):
    assert "are the same commit" in said(gated("v1", "v1"))


# ---- nothing compared never passes


def test_disjoint_cases(gated):
    found = gated("v1", "v3")
    assert found.exit_code == 3
    assert "no case in common" in headline(found.comparison)


def test_a_case_that_fails_on_one_side(gated):
    found = gated("v1", "v4")
    assert found.exit_code == 3
    assert "memory on NEW: error (closed form)" in headline(found.comparison)
    assert len(found.verdicts) == 3


def test_a_case_that_fails_on_both_sides_is_said(gated):
    found = gated("v4", "v4")
    assert found.exit_code == 0
    assert "Not timed: host-nano/swin" in said(found)


@pytest.mark.parametrize(("arm", "side"), [("head", "NEW"), ("base", "BASE"), ("null", "BASE")])
def test_a_worker_that_crashes(gated, arm, side):
    found = gated(arms=FakeArms(Noise(0.003), fails={(arm, 0): CRASH}))
    assert found.exit_code == 3
    assert f"latency on {side}: crash (signal 11" in headline(found.comparison)


def test_workers_that_all_crash(gated):
    fails = {("head", i): CRASH for i in range(4)}
    assert gated(arms=FakeArms(fails=fails)).exit_code == 3
    both = fails | {("base", i): CRASH for i in range(4)}
    with pytest.raises(NothingMeasuredError, match="no case could be timed on both sides"):
        gated(arms=FakeArms(fails=both))


def test_another_torch_is_refused_unless_allowed(gated, monkeypatch):
    def count(sides, settings, runs):
        count_from_file(sides, settings, runs)
        folder = RunFolder.open(runs["NEW"])
        folder.header["environment"]["torch"] = "2.14.0"
        folder.write_header()

    monkeypatch.setattr(run, "count_both", count)
    arms = FakeArms()
    found = gated(arms=arms)
    assert found.exit_code == 3
    assert "torch: 2.13.0 → 2.14.0" in headline(found.comparison)
    assert arms.log == []
    assert gated(static_only=True).exit_code == 0
    assert gated(allow_different=True).exit_code == 0


def test_what_an_older_revision_does_not_record_is_no_difference(gated, monkeypatch):
    def count(sides, settings, runs):
        count_from_file(sides, settings, runs)
        folder = RunFolder.open(runs["NEW"])
        folder.header["environment"]["vector_unit"] = "AVX2"
        folder.write_header()

    monkeypatch.setattr(run, "count_both", count)
    assert gated().exit_code == 0


def test_no_such_revision_and_no_repository(gated, tmp_path):
    with pytest.raises(NothingMeasuredError, match="'nowhere' is no commit"):
        gated("nowhere")
    with pytest.raises(NothingMeasuredError, match="in no git repository"):
        gate("main", folder=tmp_path)


@pytest.mark.parametrize(
    ("settings", "about"),
    [
        ({"fail_on": "latenzy>5%"}, "latenzy"),
        ({"suite": "nosuch"}, "no suite"),
        ({"budget": "soon"}, "--budget"),
        ({"metrik": "x"}, "metrik"),
    ],
)
def test_bad_usage(gated, settings, about):
    with pytest.raises(SpecError, match=about):
        gated(**settings)


def test_an_interruption_removes_the_worktrees(gated):
    """Which the fixture looks for."""

    class Interrupted(FakeArms):
        def start(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gated(arms=Interrupted())


# ---- what it leaves


def test_the_runs_are_kept_for_compare(gated, tmp_path):
    found = gated(arms=FakeArms(Noise(0.003), slower={2: 1.3}), out=tmp_path / "runs")
    base, head = tmp_path / "runs" / "base", tmp_path / "runs" / "head"
    later = compare(base, head, fail_on="latency>5%")
    assert [case.id for case in later.slower] == [case.id for case in found.comparison.slower]
    # Both processes of a block that are BASE's are in BASE's run.
    for pair in later.cases:
        assert len(pair.base.processes) == 2 * len(pair.new.processes)
    header = RunFolder.open(base).header
    assert header["gate"]["seed"] == 0
    assert header["gate"]["side"] == "base"
    with pytest.raises(StoreError, match="not empty"):
        gated(out=tmp_path / "runs")


def test_all_outputs_show_the_gate(gated):
    found = gated(arms=FakeArms(Noise(0.003), slower={1: 1.1}))
    comparison = found.comparison
    assert "BASE against itself" in to_markdown(comparison)
    assert "BASE against itself" in render(comparison)
    assert [line.partition(" ")[0] for line in to_annotations(comparison)] == ["::error"]
    content = json.loads(json.dumps(gate_json(found), allow_nan=False))
    assert content["exit_code"] == 1
    assert content["gate"]["base_commit"] == found.base.commit
    (slower,) = [case for case in content["cases"] if case["latency"]["verdict"] == "slower"]
    assert content["gate"]["cases"][slower["case_id"]]["confirmed"]


# ---- the command


def command(*arguments):
    with pytest.raises(SystemExit) as end:
        cli.app(["gate", *arguments])
    return end.value.code


@pytest.fixture
def here(gated, project, monkeypatch):
    """The command in the project, its latencies faked; a call sets what HEAD is slower by."""
    monkeypatch.chdir(project)

    def set_slower(slower):
        arms = FakeArms(Noise(0.003), slower=slower)

        def fake(base, head, **settings):
            return gated(base, head, arms=arms, **settings)

        monkeypatch.setattr("paca_bench.gate.gate", fake)

    return set_slower


def test_the_command_writes_what_is_asked_for_and_exits_with_the_code(
    here, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    here({0: 1.2})
    files = {kind: tmp_path / f"gate.{kind}" for kind in ("json", "markdown", "html", "junit")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    assert command("--base", "v1", "--head", "v5", "--github", *options) == 1
    printed = capsys.readouterr()
    assert "Regression: 1 of 4 cases slower." in " ".join(printed.out.split())
    assert "::error title=slower::" in printed.out
    assert "screening 4 cases" in printed.err
    assert json.loads(files["json"].read_text())["gate"]["seed"] == 0
    assert ElementTree.parse(files["junit"]).getroot().get("failures") == "1"
    assert "Regression" in (tmp_path / "summary.md").read_text()
    here({})
    assert command("--base", "v1") == 0


def test_the_command_without_a_base(capsys):
    assert command() == 2
    assert "--base" in capsys.readouterr().err


# ---- sides


def test_a_side_imports_from_its_worktree_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    side = GateSide.importing("BASE", None, tmp_path)
    assert side.environment["PYTHONPATH"].split(os.pathsep) == [str(tmp_path), "/somewhere"]
    assert side.python == sys.executable
    (tmp_path / "src").mkdir()
    path = GateSide.importing("BASE", None, tmp_path).environment["PYTHONPATH"]
    assert path.split(os.pathsep)[0] == str(tmp_path / "src")


def test_a_plugin_of_the_repository_is_each_sides_own(project, tmp_path, monkeypatch):
    from paca_bench.gate.repository import Repository

    repository = Repository.around(project)
    side = GateSide.importing("BASE", None, Path("/worktree"))
    monkeypatch.chdir(project)
    given = {"plugin": ["kernels/a.py", str(tmp_path / "outside.py")], "res": 32}
    assert side.settings(given, repository) == {
        "plugin": ["/worktree/kernels/a.py", str(tmp_path / "outside.py")],
        "res": 32,
    }
