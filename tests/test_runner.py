"""The runner on a machine of cardboard: known laws, a clock that only jobs advance."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from paca_bench.plan import PlannedCase, fit_budget
from paca_bench.record import Case, Record, Status
from paca_bench.runner import MAX_PROCESSES, MIN_TIMEOUT_S, Runner
from paca_bench.spec import SweepSpec, make_spec
from paca_bench.store import RunFolder
from paca_bench.sweeper import Silent
from paca_bench.workers import Outcome
from tests.fakes import SECONDS, FakeMachine, Killed


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """That each line reaches the disk is tested with the store; here there are thousands."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def plan(
    *names: str, resolutions: Sequence[int] = (64, 96), fits: bool = False
) -> list[PlannedCase]:
    """Forward and train cases of each mechanism, predicted as the fake machine's laws say."""
    planned = []
    for name in names or ("vit", "swin", "pvt"):
        for mode in ("forward", "train"):
            for side in resolutions:
                case = Case(
                    level="host", mechanism=name, host="nano", height=side, width=side, mode=mode
                )
                groups = ("complexity", "latency", "memory")
                planned.append(
                    PlannedCase(case=case, groups=groups, macs=1, call_s=0.1, wall_s=3.5)
                )
        if fits:
            case = Case(level="host", mechanism=name, host="nano", height=32, width=32, mode="fit")
            planned.append(
                PlannedCase(
                    case=case,
                    groups=("complexity", "accuracy"),
                    macs=1,
                    call_s=SECONDS["accuracy"],
                    wall_s=3 * SECONDS["accuracy"],
                )
            )
    return planned


def spec(**changes: Any) -> SweepSpec:
    return make_spec({"res": "64,96", "budget": "1h", "precision": "2%", **changes})


class Watcher(Silent):
    """Counts what it is told, and may end the sweep at a given call."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.left: list[int] = []
        self.records: list[Record] = []
        self.calls = 0
        self.kill_at = kill_at

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed

    def worked(self, planned: PlannedCase, group: str, outcome: Outcome, jobs_left: int) -> None:
        self.left.append(jobs_left)
        self._call()

    def recorded(self, record: Record) -> None:
        self.records.append(record)
        self._call()


def sweep(
    folder: Path,
    machine: FakeMachine,
    planned: Sequence[PlannedCase],
    settings: SweepSpec | None = None,
    watcher: Watcher | None = None,
) -> RunFolder:
    """One attempt; a folder that exists is reopened, as ``--resume`` does."""
    run = RunFolder.open(folder) if folder.exists() else RunFolder.create(folder, {})
    used = settings or spec()
    runner = Runner(used, run, machine.execute, watcher or Silent(), machine.clock)
    runner.run(planned)
    run.finish()
    return run


def by_case(run: RunFolder) -> dict[str, Record]:
    return {record.case.id: record for record in run.records()}


def results(run: RunFolder) -> dict[str, Any]:
    """Everything of the records that does not depend on when they were made."""
    return {
        record.case.id: (record.statuses, record.metrics, record.samples)
        for record in run.records()
    }


def lines(run: RunFolder) -> int:
    return (run.path / "records.jsonl").read_bytes().count(b"\n")


# ---- the order of work


def test_every_case_ends_with_exactly_one_record(tmp_path: Path) -> None:
    planned = plan(fits=True)
    watcher = Watcher()
    run = sweep(tmp_path / "run", FakeMachine(), planned, watcher=watcher)
    assert lines(run) == len(planned)
    assert set(by_case(run)) == {p.case.id for p in planned}
    assert all(record.status is Status.OK for record in run.records())
    assert watcher.records == run.records()
    assert watcher.left[-1] == 0
    assert not run.journal()


def test_a_record_holds_what_its_processes_measured(tmp_path: Path) -> None:
    run = sweep(tmp_path / "run", FakeMachine(), plan("vit", fits=True))
    record = by_case(run)["host-nano/vit/96/forward/b1/float32/cpu"]
    assert record.metrics["macs"] == 96**2
    assert record.metrics["peak_memory_bytes"] == 960
    assert record.metrics["latency_s"] == pytest.approx(0.096, rel=0.01)
    assert record.metrics["latency_low_s"] <= record.metrics["latency_s"]
    assert record.metrics["latency_s"] <= record.metrics["latency_high_s"]
    assert record.metrics["images_per_s"] == pytest.approx(1 / record.metrics["latency_s"])
    assert len(record.samples["latency_s"]) == 3
    assert record.predicted == {"wall_s": 3.5, "call_s": 0.1}
    fit = by_case(run)["host-nano/vit/32/fit/b1/float32/cpu"]
    assert len(fit.samples["accuracy"]) == 3
    assert fit.details["seeds"] == [0, 1, 2]
    assert fit.metrics["accuracy_low"] < fit.metrics["accuracy"] < fit.metrics["accuracy_high"]


def test_counts_come_before_memory_before_latency_before_accuracy(tmp_path: Path) -> None:
    machine = FakeMachine()
    sweep(tmp_path / "run", machine, plan(fits=True))
    order = list(dict.fromkeys(machine.groups()))
    assert order == ["complexity", "memory", "latency", "accuracy"]
    assert machine.groups() == sorted(machine.groups(), key=order.index)


def test_a_shape_is_counted_once_for_all_modes(tmp_path: Path) -> None:
    machine = FakeMachine()
    sweep(tmp_path / "run", machine, plan())
    assert len(machine.cases("complexity")) == 3 * 2


def rounds(machine: FakeMachine, cases: int) -> list[list[str]]:
    ids = machine.cases("latency")
    return [ids[i : i + cases] for i in range(0, len(ids), cases)]


def test_each_round_of_latency_is_all_cases_in_a_new_order(tmp_path: Path) -> None:
    planned = plan()
    machine = FakeMachine()
    sweep(tmp_path / "run", machine, planned)
    found = rounds(machine, len(planned))
    assert len(found) == 3
    for one in found:
        assert sorted(one) == sorted(p.case.id for p in planned)
    assert found[0] != found[1] != found[2]
    assert all(one != [p.case.id for p in planned] for one in found)


def test_the_order_is_the_seeds(tmp_path: Path) -> None:
    orders = []
    for number, seed in enumerate((7, 7, 8)):
        machine = FakeMachine()
        sweep(tmp_path / str(number), machine, plan(fits=True), spec(seed=seed))
        orders.append([(j["kind"], j["case"]) for _, j in machine.jobs])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_accuracy_goes_seed_by_seed_over_all_cases(tmp_path: Path) -> None:
    machine = FakeMachine()
    sweep(tmp_path / "run", machine, plan(fits=True), spec(seed=5, seeds=2))
    seeds = [job["seed"] for _, job in machine.jobs if job["kind"] == "accuracy"]
    assert seeds == [5, 5, 5, 6, 6, 6]
    assert len(set(machine.cases("accuracy")[:3])) == 3
    kept = [job["keep_clusters"] for _, job in machine.jobs if job["kind"] == "accuracy"]
    assert kept == [True] * 3 + [False] * 3, "one seed shows what is learned"


# ---- the state of an unfinished training


class KeepsState:
    """A machine whose trainings leave their state where they are told, as workers do."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        self.found: list[bool] = []

    def execute(self, job: dict[str, Any], timeout_s: float) -> Outcome:
        if job["kind"] == "accuracy":
            path = Path(job["checkpoint"])
            self.found.append(path.exists())
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"state")
            path.with_name(path.name + ".part").write_bytes(b"half")
        return self.machine.execute(job, timeout_s)


def train(folder: Path, machine: KeepsState, settings: SweepSpec) -> RunFolder:
    run = RunFolder.open(folder) if folder.exists() else RunFolder.create(folder, {})
    Runner(settings, run, machine.execute, Silent(), machine.machine.clock).run(
        plan("vit", resolutions=(), fits=True)
    )
    return run


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("*"))


def test_a_training_is_told_its_recipe_and_where_its_state_goes(tmp_path: Path) -> None:
    machine = FakeMachine()
    settings = spec(train_budget="images:64k", bad_images="skip", seed=5, seeds=2)
    sweep(tmp_path / "run", machine, plan("vit", fits=True), settings)
    jobs = [job for _, job in machine.jobs if job["kind"] == "accuracy"]
    case_hash = Case.from_json(jobs[0]["case"]).hash
    folder = tmp_path / "run" / "checkpoints"
    assert [Path(job["checkpoint"]) for job in jobs] == [
        folder / f"{case_hash}-{seed}.pt" for seed in (5, 6)
    ]
    assert {job["recipe"]["budget"] for job in jobs} == {"images:64000"}
    assert {job["bad_images"] for job in jobs} == {"skip"}
    latency = {job["round"] for _, job in machine.jobs if job["kind"] == "latency"}
    rounds_of_training = {job["round"] for job in jobs}
    assert len(rounds_of_training) == 2, "a process of its own on CUDA too"
    assert not rounds_of_training & {0, *latency}


def test_a_trainings_state_goes_when_its_outcome_is_kept(tmp_path: Path) -> None:
    machine = KeepsState(FakeMachine())
    run = train(tmp_path / "run", machine, spec())
    assert machine.found == [False] * 3
    assert states(run.path) == []
    run.finish()
    assert not (run.path / "checkpoints").exists()


def test_the_state_of_a_killed_training_is_there_for_the_next_attempt(tmp_path: Path) -> None:
    machine = KeepsState(FakeMachine(kill_at=2))  # the count, a training, and this one
    with pytest.raises(Killed):
        train(tmp_path / "run", machine, spec())
    assert len(states(tmp_path / "run")) == 2
    run = train(tmp_path / "run", machine, spec())
    assert machine.found == [False, False, True, False]
    assert states(run.path) == []
    assert {r.status for r in run.records()} == {Status.OK}


def test_a_training_that_the_budget_cut_off_keeps_its_state(tmp_path: Path) -> None:
    slow = KeepsState(FakeMachine(slower=30))
    run = train(tmp_path / "run", slow, spec(budget=30))
    run.finish()
    assert {r.statuses["accuracy"] for r in run.records()} == {Status.OVER_BUDGET}
    assert len(states(run.path)) == 2
    run = train(run.path, slow, spec(budget="1h"))
    run.finish()
    assert slow.found == [False, True, False, False]
    assert {r.status for r in run.records()} == {Status.OK}
    assert not (run.path / "checkpoints").exists()


def test_a_job_carries_what_a_worker_needs(tmp_path: Path) -> None:
    machine = FakeMachine()
    sweep(tmp_path / "run", machine, plan(), spec(plugin="a.py", threads=2, precision="7%"))
    for _, job in machine.jobs:
        assert (job["plugins"], job["threads"], job["seed"]) == (["a.py"], 2, 0)
    latency = [job for _, job in machine.jobs if job["kind"] == "latency"]
    assert {job["precision"] for job in latency} == {0.07}
    checked = Counter(Case.from_json(job["case"]).id for job in latency if job["check"])
    assert set(checked.values()) == {1}, "the first process of each case checks its output"


# ---- when it stops


def test_a_precise_case_has_the_fewest_processes_and_a_noisy_one_more(tmp_path: Path) -> None:
    quiet, noisy = FakeMachine(noise=1e-4), FakeMachine(noise=0.05)
    for machine in (quiet, noisy):
        sweep(tmp_path / str(machine.noise), machine, plan("vit"))
    assert set(Counter(quiet.cases("latency")).values()) == {3}
    counts = Counter(noisy.cases("latency"))
    assert max(counts.values()) > 3
    assert max(counts.values()) <= MAX_PROCESSES


def test_sampling_ends_where_the_interval_is_narrow_enough(tmp_path: Path) -> None:
    machine = FakeMachine(noise=0.02)
    run = sweep(tmp_path / "run", machine, plan())
    for record in run.records():
        m = record.metrics
        half = (m["latency_high_s"] - m["latency_low_s"]) / 2 / m["latency_s"]
        assert half <= 0.02 or len(record.samples["latency_s"]) == MAX_PROCESSES


@pytest.mark.parametrize("slower", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("budget", [1, 10, 40, 90])
@pytest.mark.parametrize("noise", [0.001, 0.3])
def test_no_unit_starts_after_the_budget(
    tmp_path: Path, slower: float, budget: int, noise: float
) -> None:
    machine = FakeMachine(slower=slower, noise=noise)
    start = machine.now
    planned = plan(fits=True)
    run = sweep(tmp_path / "run", machine, planned, spec(budget=budget))
    assert all(moment < start + budget for moment, _ in machine.jobs)
    assert machine.now <= start + budget + MIN_TIMEOUT_S
    assert lines(run) == len(planned)
    for record in run.records():
        assert set(record.statuses.values()) <= {Status.OK, Status.OVER_BUDGET}
        for group, reason in record.reasons.items():
            assert record.statuses[group] is Status.OVER_BUDGET
            assert "--budget" in reason


def test_a_counted_shape_is_every_cases_even_when_the_time_is_up(tmp_path: Path) -> None:
    machine = FakeMachine()
    run = sweep(tmp_path / "run", machine, plan("vit", resolutions=(64,)), spec(budget=0.1))
    assert machine.groups() == ["complexity"]
    assert {r.statuses["complexity"] for r in run.records()} == {Status.OK}


def test_a_job_cut_off_by_the_budget_is_over_budget_and_asks_for_more(tmp_path: Path) -> None:
    machine = FakeMachine(slower=30)
    run = sweep(tmp_path / "run", machine, plan("vit", resolutions=(64,)), spec(budget=30))
    cut = [reason for r in run.records() for reason in r.reasons.values()]
    assert any("cut off after" in reason for reason in cut)
    for reason in cut:
        assert "--budget 1m" in reason or "--budget 2m" in reason, "more than what did not do"


def test_a_job_that_outlasts_its_own_timeout_is_a_timeout(tmp_path: Path) -> None:
    machine = FakeMachine(slower=30)
    run = sweep(tmp_path / "run", machine, plan("vit", resolutions=(64,)), spec(timeout=25))
    assert {r.statuses["latency"] for r in run.records()} == {Status.TIMEOUT}


# ---- what goes wrong


@pytest.mark.parametrize("group", ["complexity", "memory", "latency", "accuracy"])
@pytest.mark.parametrize("status", [s for s in Status if s is not Status.OK])
def test_a_failure_is_recorded_and_the_others_go_on(
    tmp_path: Path, group: str, status: Status
) -> None:
    failure = Outcome(status=status, reason="as foreseen")
    machine = FakeMachine(fails={("swin", group): lambda _: failure})
    run = sweep(tmp_path / "run", machine, plan(fits=True))
    assert lines(run) == len(plan(fits=True))
    for record in run.records():
        if record.case.mechanism != "swin":
            assert record.status is Status.OK
        elif group in record.statuses:
            assert record.statuses[group] is status
            assert record.reasons[group] == "as foreseen"
            assert not any(name.startswith(group) for name in record.metrics)
        assert record.reasons.keys() == {g for g, s in record.statuses.items() if s != Status.OK}


def test_a_case_that_fails_is_not_measured_again(tmp_path: Path) -> None:
    crash = Outcome(status=Status.CRASH, reason="as foreseen")
    machine = FakeMachine(
        fails={("swin", "latency"): lambda n: crash if n == 1 else None,
               ("swin", "accuracy"): lambda n: crash}
    )  # fmt: skip
    run = sweep(tmp_path / "run", machine, plan(fits=True))
    counts = Counter(machine.cases("latency"))
    assert {counts[case] for case in counts if "/swin/" in case} == {2}
    assert Counter(machine.cases("accuracy"))["host-nano/swin/32/fit/b1/float32/cpu"] == 1
    record = by_case(run)["host-nano/swin/64/forward/b1/float32/cpu"]
    assert record.reasons["latency"] == "as foreseen (process 2 of this case)"
    assert "latency_s" not in record.metrics


@pytest.mark.parametrize("status", [Status.OUT_OF_MEMORY, Status.WRONG])
@pytest.mark.parametrize("group", ["memory", "complexity"])
def test_what_does_not_fit_or_is_wrong_is_not_timed(
    tmp_path: Path, status: Status, group: str
) -> None:
    failure = Outcome(status=status, reason="as foreseen")
    machine = FakeMachine(fails={("swin", group): lambda _: failure})
    run = sweep(tmp_path / "run", machine, plan(fits=True))
    assert not any("/swin/" in case for case in machine.cases("latency"))
    record = by_case(run)["host-nano/swin/64/forward/b1/float32/cpu"]
    assert record.statuses["latency"] is status
    assert group in record.reasons["latency"]


def test_a_refused_case_is_recorded_as_the_plan_says(tmp_path: Path) -> None:
    first, *others = plan("vit")
    refused = first.refuse(first.groups, Status.NOT_SUPPORTED, "the grid is too small")
    machine = FakeMachine()
    run = sweep(tmp_path / "run", machine, [refused, *others])
    record = by_case(run)[first.case.id]
    assert set(record.statuses.values()) == {Status.NOT_SUPPORTED}
    assert set(record.reasons.values()) == {"the grid is too small"}
    assert not any(Case.from_json(job["case"]) == first.case for _, job in machine.jobs)


# ---- killed and resumed

MANY_JOBS = 200


def work(machine: FakeMachine) -> Counter[tuple[str, str]]:
    """Processes by case and group; a shape's one count may be made for any of its modes."""
    done: Counter[tuple[str, str]] = Counter()
    for (case, group), count in machine.done.items():
        done[case.split("/")[1] if group == "complexity" else case, group] += count
    return done


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_killed_at_any_job_nothing_is_lost_doubled_or_repeated(
    tmp_path: Path, error: type[BaseException]
) -> None:
    planned = plan("vit", "swin", resolutions=(64,), fits=True)
    settings = spec(seeds=2)
    crash = Outcome(status=Status.CRASH, reason="as foreseen")
    fails: dict[tuple[str, str], Callable[[int], Outcome | None]] = {
        ("swin", "latency"): lambda n: crash if n == 1 else None
    }
    whole = FakeMachine(noise=0.02, fails=fails)
    expected = results(sweep(tmp_path / "whole", whole, planned, settings))
    assert len(whole.jobs) < MANY_JOBS
    for kill_at in range(len(whole.jobs)):
        folder = tmp_path / f"{error.__name__}-{kill_at}"
        machine = FakeMachine(noise=0.02, fails=fails, kill_at=kill_at, error=error)
        with pytest.raises(error):
            sweep(folder, machine, planned, settings)
        assert len(machine.jobs) == kill_at
        before = by_case(RunFolder.open(folder))
        run = sweep(folder, machine, planned, settings)
        assert results(run) == expected, kill_at
        assert lines(run) == len(planned), "no record is written twice"
        assert before.items() <= by_case(run).items()
        assert work(machine) == work(whole), kill_at


def test_killed_again_and_again(tmp_path: Path) -> None:
    planned = plan("vit", "swin", resolutions=(64,), fits=True)
    whole = FakeMachine()
    expected = results(sweep(tmp_path / "whole", whole, planned))
    machine = FakeMachine()
    attempts = 0
    while True:
        attempts += 1
        machine.kill_at = len(machine.jobs) + 2
        try:
            run = sweep(tmp_path / "run", machine, planned)
        except Killed:
            assert attempts < MANY_JOBS
        else:
            break
    assert attempts > 5
    assert results(run) == expected
    assert lines(run) == len(planned)


def test_killed_between_the_journal_and_the_record(tmp_path: Path) -> None:
    planned = plan("vit", resolutions=(64,), fits=True)
    whole, counter = FakeMachine(), Watcher()
    expected = results(sweep(tmp_path / "whole", whole, planned, watcher=counter))
    for kill_at in range(1, counter.calls + 1):
        folder = tmp_path / str(kill_at)
        machine = FakeMachine()
        with pytest.raises(Killed):
            sweep(folder, machine, planned, watcher=Watcher(kill_at))
        run = sweep(folder, machine, planned)
        assert results(run) == expected
        assert lines(run) == len(planned)
        assert work(machine) == work(whole)


def test_a_finished_run_has_nothing_to_resume(tmp_path: Path) -> None:
    machine = FakeMachine()
    run = sweep(tmp_path / "run", machine, plan(fits=True))
    content = (run.path / "records.jsonl").read_bytes()
    jobs = len(machine.jobs)
    sweep(run.path, machine, plan(fits=True))
    assert len(machine.jobs) == jobs
    assert (run.path / "records.jsonl").read_bytes() == content


def test_a_torn_journal_costs_one_job(tmp_path: Path) -> None:
    planned = plan("vit", resolutions=(64,))
    machine = FakeMachine(kill_at=6)
    with pytest.raises(Killed):
        sweep(tmp_path / "run", machine, planned)
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    with pytest.warns(UserWarning, match="torn"):
        run = sweep(tmp_path / "run", machine, planned)
    assert {r.status for r in run.records()} == {Status.OK}
    assert lines(run) == len(planned)


def test_what_was_over_budget_is_tried_by_resume_and_the_rest_is_not(tmp_path: Path) -> None:
    planned = plan("vit", "swin", fits=True)
    machine = FakeMachine()
    small = spec(budget=12)
    run = sweep(tmp_path / "run", machine, fit_budget(planned, 12), small)
    left_out = {case for case, r in by_case(run).items() if r.status is Status.OVER_BUDGET}
    assert 0 < len(left_out) < len(planned)
    measured = {case: r for case, r in by_case(run).items() if r.is_final}
    jobs = len(machine.jobs)
    run = sweep(run.path, machine, fit_budget(planned, 3600), spec(budget=3600))
    assert {r.status for r in run.records()} == {Status.OK}
    assert measured.items() <= by_case(run).items()
    again = {Case.from_json(job["case"]).id for _, job in machine.jobs[jobs:]}
    assert again == left_out
    assert not run.journal()


def test_a_failure_in_the_journal_is_not_tried_again(tmp_path: Path) -> None:
    """The case is not final, because its memory was over budget; its crash still is."""
    crash = Outcome(status=Status.CRASH, reason="as foreseen")
    over = Outcome(status=Status.OVER_BUDGET, reason="raise --budget")
    machine = FakeMachine(
        fails={
            ("vit", "latency"): lambda _: crash,
            ("vit", "memory"): lambda n: None if n else over,
        }
    )
    planned = plan("vit", resolutions=(64,))
    run = sweep(tmp_path / "run", machine, planned)
    jobs = len(machine.jobs)
    run = sweep(run.path, machine, planned)
    assert [job["kind"] for _, job in machine.jobs[jobs:]] == ["memory", "memory"]
    for record in run.records():
        assert record.statuses["latency"] is Status.CRASH
        assert record.statuses["memory"] is Status.OK


def test_the_time_before_the_runner_counts(tmp_path: Path) -> None:
    machine = FakeMachine()
    run = RunFolder.create(tmp_path / "run", {})
    runner = Runner(spec(budget=100), run, machine.execute, Silent(), machine.clock)
    runner.run(plan(), started=machine.now - 99)
    assert set(machine.groups()) <= {"complexity", "memory"}


# ---- energy


def test_energy_is_measured_once_a_case_after_its_latency_and_not_unless_asked(
    tmp_path: Path,
) -> None:
    planned = [dataclasses.replace(p, groups=(*p.groups, "energy")) for p in plan()]
    machine = FakeMachine()
    run = sweep(tmp_path / "run", machine, planned)
    assert sorted(machine.cases("energy")) == sorted(p.case.id for p in planned)
    assert machine.groups().index("energy") > machine.groups().index("latency")
    record = by_case(run)["host-nano/vit/64/forward/b1/float32/cpu"]
    assert record.metrics["joules_per_image"] == pytest.approx(0.64)
    assert machine.cases("energy")
    without = FakeMachine()
    sweep(tmp_path / "other", without, plan())
    assert not without.cases("energy")


def test_a_machine_without_counters_says_so_and_nothing_is_zero(tmp_path: Path) -> None:
    absent = Outcome(status=Status.NOT_SUPPORTED, reason="no RAPL package")
    planned = [dataclasses.replace(p, groups=(*p.groups, "energy")) for p in plan("vit")]
    run = sweep(tmp_path / "run", FakeMachine(fails={("vit", "energy"): lambda _: absent}), planned)
    for record in run.records():
        assert record.statuses["energy"] is Status.NOT_SUPPORTED
        assert record.reasons["energy"] == "no RAPL package"
        assert "joules_per_image" not in record.metrics
        assert record.statuses["latency"] is Status.OK


def test_each_round_is_numbered_for_workers_that_stay(tmp_path: Path) -> None:
    machine = FakeMachine()
    sweep(tmp_path / "run", machine, plan())
    numbers = [job["round"] for _, job in machine.jobs if job["kind"] == "latency"]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 3
