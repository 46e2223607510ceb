"""Histories of made-up runs: their order, what is apart, what is a step, what fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paca_bench.errors import NothingMeasuredError, SpecError, StoreError
from paca_bench.history import History, history
from paca_bench.history.history import FoundStep
from paca_bench.history.runs import load_runs
from tests.compare import sides
from tests.history import made

UP = [1.0] * 9 + [1.2] * 9
BACK = [1.0] * 6 + [1.2] * 6 + [1.0] * 6


def only(found: History) -> FoundStep:
    (step,) = found.steps
    return step


def test_a_step_has_its_commit_and_the_commits_it_may_be_in(tmp_path: Path) -> None:
    step = only(history([made.runs(tmp_path, UP)]))
    assert step.subject.metric == "latency"
    assert step.at.commit == made.commit(9)
    assert step.at.date == "2026-01-10"
    assert step.after.commit == made.commit(8)
    assert step.until.commit == made.commit(9)
    assert step.ratio is not None
    assert step.ratio.low < 1.2 < step.ratio.high
    assert step.before == pytest.approx(0.010, rel=0.02)
    assert step.now == pytest.approx(0.012, rel=0.02)
    assert step.is_code
    assert step.is_latest
    assert step.is_worse


def test_one_commit_apart_is_no_step(tmp_path: Path) -> None:
    factors = [1.0] * 18
    factors[7] = 1.4
    found = history([made.runs(tmp_path, factors)])
    assert not found.steps
    assert found.timed[0][1].outliers == (7,)
    assert not found.possible


def test_the_last_run_apart_is_possible_and_fails_nothing(tmp_path: Path) -> None:
    found = history([made.runs(tmp_path, [1.0] * 12 + [1.4])], fail_on="latency>5%")
    assert not found.steps
    ((one, ratio),) = found.possible
    assert one.subject.case_id.startswith("host-nano/vit")
    assert ratio.low < 1.4 < ratio.high
    assert found.exit_code == 0


def test_runs_stand_in_the_order_of_their_commits(tmp_path: Path) -> None:
    """Measured in reverse, as when one bisects, and in folders of any name."""
    for day in (3, 1, 2):
        made.add_run(tmp_path, day, [sides.record()], name=f"z{9 - day}")
    assert [run.commit for run in load_runs([tmp_path])] == [made.commit(d) for d in (1, 2, 3)]


def test_runs_of_one_commit_stand_in_the_order_of_their_start(tmp_path: Path) -> None:
    for hour, name in ((5, "a"), (3, "b"), (4, "c")):
        path = made.add_run(tmp_path, 1, [sides.record()], name=name)
        header = json.loads((path / "run.json").read_text())
        header["started_at"] = f"2026-02-01T0{hour}:00:00+01:00"
        (path / "run.json").write_text(json.dumps(header))
    assert [run.path.name for run in load_runs([tmp_path])] == ["b", "c", "a"]


def test_runs_without_a_commit_are_named_by_folder_in_order_of_their_start(
    tmp_path: Path,
) -> None:
    for day, name in ((2, "one"), (1, "two"), (3, "three")):
        made.add_run(tmp_path, day, [sides.record()], git=False, name=name)
    assert [run.label for run in load_runs([tmp_path])] == ["two", "one", "three"]


def test_a_commit_with_changes_is_starred(tmp_path: Path) -> None:
    made.add_run(tmp_path, 1, [sides.record()], dirty=True)
    (run,) = load_runs([tmp_path])
    assert run.label == made.commit(1)[:9] + "*"


@pytest.mark.parametrize("git", [None, [], "main", {"commit": 3, "committed_at": "yesterday"}])
def test_a_strange_commit_is_none(tmp_path: Path, git: object) -> None:
    path = made.add_run(tmp_path, 1, [sides.record()], git=False)
    header = json.loads((path / "run.json").read_text()) | {"git": git, "started_at": "soon"}
    (path / "run.json").write_text(json.dumps(header))
    (run,) = load_runs([path])
    assert (run.commit, run.committed_at, run.date) == (None, None, "")


def test_a_run_is_read_once(tmp_path: Path) -> None:
    path = made.add_run(tmp_path, 1, [sides.record()])
    assert len(load_runs([tmp_path, path, path / "run.json", tmp_path])) == 1


def test_a_folder_without_runs_adds_none(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    made.add_run(tmp_path, 1, [sides.record()])
    assert len(load_runs(sorted(tmp_path.iterdir()))) == 1


def test_benchmark_files_are_a_history_too(tmp_path: Path) -> None:
    found = history([made.benchmark_files(tmp_path / "files", UP)])
    assert [run.commit for run in found.runs] == [made.commit(day) for day in range(18)]
    assert {step.at.commit for step in found.steps} == {made.commit(9)}
    assert len(found.steps) == 2, "one a benchmark"


def test_benchmark_files_without_a_repository_are_named_by_file(tmp_path: Path) -> None:
    folder = made.benchmark_files(tmp_path, [1.0])
    (path,) = folder.iterdir()
    content = json.loads(path.read_text())
    content["commit_info"] = {"id": "unversioned", "time": None, "dirty": False}
    path.write_text(json.dumps(content))
    (run,) = load_runs([tmp_path])
    assert run.commit is None
    assert run.label == "0000.json"


def test_what_was_measured_elsewhere_is_another_series(tmp_path: Path) -> None:
    """Half of the runs are from a machine that is a fifth slower: no step."""
    for day in range(16):
        slow = day >= 8
        record = sides.record(slower=1.2 if slow else 1.0, seed=day)
        made.add_run(tmp_path, day, [record], cpu="Slow CPU" if slow else "Fast CPU")
    found = history([tmp_path])
    assert not found.steps
    old, new = found.latencies
    assert old.subject.title.endswith("(cpu Fast CPU)")
    assert new.subject.title.endswith("(cpu Slow CPU)")
    assert (old.subject.is_current, new.subject.is_current) == (False, True)


@pytest.mark.parametrize("condition", ["torch", "threads", "malloc", "kernel"])
def test_every_condition_of_compare_sets_apart(tmp_path: Path, condition: str) -> None:
    values = {"torch": ["2.12", "2.13"], "threads": [1, 2], "kernel": ["math", "flash"],
              "malloc": [{}, {"MALLOC_TOP_PAD_": "1"}]}[condition]  # fmt: skip
    for day in range(8):
        value = values[day % 2]
        kernel = value if condition == "kernel" else "flash"
        facts = {} if condition == "kernel" else {condition: value}
        record = sides.record(slower=1 + 0.2 * (day % 2), seed=day, kernel=kernel)
        made.add_run(tmp_path, day, [record], **facts)
    found = history([tmp_path])
    assert [len(one.medians) for one in found.latencies] == [4, 4]
    (macs,) = [one for one in found.counts if one.subject.metric == "macs"]
    assert len(macs.values) == 8, "a count depends on none of these"


def test_a_step_on_a_machine_that_was_left_fails_nothing(tmp_path: Path) -> None:
    for day, factor in enumerate([*UP, 1.0, 1.0, 1.0]):
        record = sides.record(slower=factor, seed=day)
        made.add_run(tmp_path, day, [record], cpu="New CPU" if day >= len(UP) else "Old CPU")
    found = history([tmp_path], fail_on="latency>5%")
    assert not only(found).is_latest
    assert found.exit_code == 0


def test_between_runs_of_one_commit_it_was_not_the_code(tmp_path: Path) -> None:
    for day, factor in enumerate(UP):
        record = sides.record(slower=factor, seed=day)
        made.add_run(tmp_path, day, [record], of_commit="a" * 40)
    found = history([tmp_path], fail_on="latency>5%")
    assert not only(found).is_code
    assert found.exit_code == 0


def test_uncommitted_changes_may_be_the_code(tmp_path: Path) -> None:
    for day, factor in enumerate(UP):
        record = sides.record(slower=factor, seed=day)
        made.add_run(tmp_path, day, [record], of_commit="a" * 40, dirty=True)
    assert only(history([tmp_path])).is_code


@pytest.mark.parametrize(
    ("factors", "fail_on", "code"),
    [
        (UP, None, 0),
        (UP, "latency>5%", 1),
        (UP, "latency>30%", 0),
        (UP, "macs>0", 0),
        (UP[::-1], "latency>5%", 0),
        (BACK, "latency>5%", 0),
        ([1.0] * 18, "latency>0", 0),
    ],
)
def test_the_exit_code(
    tmp_path: Path, factors: list[float], fail_on: str | None, code: int
) -> None:
    found = history([made.runs(tmp_path, factors)], fail_on=fail_on)
    assert found.exit_code == code
    assert bool(found.regressions) == bool(code)


def test_any_change_of_a_count_is_a_step(tmp_path: Path) -> None:
    macs = [1000, 1000, 1001, 1001, 900]
    found = history([made.runs(tmp_path, [1.0] * 5, macs)], fail_on="macs>0")
    new, old = found.steps
    assert (old.before, old.now, old.at.commit) == (1000, 1001, made.commit(2))
    assert (old.after.commit, old.until.commit) == (made.commit(1), made.commit(2))
    assert (new.before, new.now, new.is_latest) == (1001, 900, True)
    assert found.exit_code == 0, "it went down again"


@pytest.mark.parametrize(
    ("macs", "fail_on", "code"),
    [
        ([1000, 1000, 1001], "macs>0", 1),
        ([1000, 1001, 1001], "macs>0", 1),
        ([1000, 1000, 1001], "macs>1%", 0),
        ([1000, 1000, 999], "macs>0", 0),
        ([1000, 1000, 999], "macs!=0", 1),
        ([0, 0, 5], "macs>0", 1),
        ([1000, 1000, 1001], "latency>5%,params>0", 0),
    ],
)
def test_the_exit_code_of_counts(tmp_path: Path, macs: list[int], fail_on: str, code: int) -> None:
    assert history([made.runs(tmp_path, [1.0] * 3, macs)], fail_on=fail_on).exit_code == code


def test_among_many_cases_a_step_must_be_surer_to_fail(tmp_path: Path) -> None:
    """Adding cases changes no step, only whether it is taken for a false discovery."""
    few, many = tmp_path / "few", tmp_path / "many"
    others = ("swin", "pvt", "pvt_linear")
    for day, factor in enumerate(UP):
        record = sides.record("vit", slower=factor, seed=day)
        made.add_run(few, day, [record])
        steady = [sides.record(name, seed=day) for name in others]
        made.add_run(many, day, [record, *steady])
    one, of_four = history([few]), history([many])
    step = next(step for step in of_four.steps if "vit" in step.subject.case_id)
    assert step.ratio == only(one).ratio
    assert step.adjusted_p == pytest.approx(4 * only(one).adjusted_p)


def test_fewer_than_three_runs_are_no_history(tmp_path: Path) -> None:
    made.runs(tmp_path, [1.0, 1.0])
    with pytest.raises(NothingMeasuredError, match=r"3 runs of a case.*at most 2.*in 2 runs") as e:
        history([tmp_path])
    assert e.value.exit_code == 3


def test_disjoint_cases_are_no_history(tmp_path: Path) -> None:
    for day, name in enumerate(("vit", "swin", "pvt", "pvt_linear")):
        made.add_run(tmp_path, day, [sides.record(name)])
    with pytest.raises(NothingMeasuredError):
        history([tmp_path])


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing does not exist"):
        history([tmp_path / "missing"])
    (tmp_path / "notes.md").write_text("# notes")
    with pytest.raises(StoreError, match=r"notes\.md is not JSON"):
        history([tmp_path / "notes.md"])
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(StoreError, match=r"other\.json is not a pytest-benchmark file"):
        history([tmp_path])


def test_rules_are_those_of_compare(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no metric speed"):
        history([made.runs(tmp_path, [1.0] * 3)], fail_on="speed>5%")
