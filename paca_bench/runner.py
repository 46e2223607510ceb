"""Sends a plan's cases to workers, and keeps each result as it arrives.

Order of work: what each case must cost (no timing), its memory, then latency in rounds over
all cases, each round in a new shuffled order so that drift hits all alike, and accuracy one
seed at a time over all cases. Every outcome goes into a journal at once, so a sweep that is
killed goes on where it was.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from paca_bench.analyse.statistics import latency_estimate
from paca_bench.assemble import assemble
from paca_bench.plan import (
    PROCESS_START_S,
    SECONDS_PER_UNIT,
    PlannedCase,
    budget_flag,
    make_recipe,
    over_budget_reason,
)
from paca_bench.record import Case, Record, Status
from paca_bench.spec import SweepSpec
from paca_bench.store import RunFolder
from paca_bench.units import format_seconds
from paca_bench.workers import Execute, Outcome

MAX_PROCESSES = 12
# What one group's job finds out for the others too.
_TELLING = (Status.OUT_OF_MEMORY, Status.PREDICTED_OUT_OF_MEMORY, Status.WRONG)
# No worker is cut off for the budget before it had this long.
MIN_TIMEOUT_S = 20.0


class Observer(Protocol):
    """Is told what happens, to show it."""

    def planned(self, planned: Sequence[PlannedCase], jobs: int) -> None:
        """The sweep starts, with about ``jobs`` jobs to run."""

    def working(self, planned: PlannedCase, group: str) -> None:
        """A job starts."""

    def worked(self, planned: PlannedCase, group: str, outcome: Outcome, jobs_left: int) -> None:
        """A job ended."""

    def recorded(self, record: Record) -> None:
        """A case is finished and on the disk."""


class Runner:
    """Runs one plan into one run folder.

    Args:
        spec: limits, seed and settings that jobs are given.
        run: where records and the journal go.
        execute: runs one job; see ``workers.Execute``.
        observer: is told what happens.
        clock: seconds, for the budget.
    """

    def __init__(
        self,
        spec: SweepSpec,
        run: RunFolder,
        execute: Execute,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec = spec
        self._run_folder = run
        self._execute = execute
        self._observer = observer
        self._clock = clock
        self._outcomes: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
        self._counts: dict[tuple[object, ...], Outcome] = {}
        self._jobs_left = 0
        self.measured_s = 0.0

    def run(self, planned: Sequence[PlannedCase], started: float | None = None) -> None:
        """Measure every case that has no final record yet, and record it.

        ``started`` is the clock's time from which the budget counts; now, if None.
        """
        begin = self._clock() if started is None else started
        end = begin + self._spec.budget_s
        todo = self._load(planned)
        self._jobs_left = sum(self._jobs_of(p) for p in todo)
        self._observer.planned(planned, self._jobs_left)
        self._each_once("complexity", todo, end)
        self._each_once("memory", todo, end)
        todo = [self._held_back(one) for one in todo]
        fits = [p for p in todo if "accuracy" in p.to_run]
        kept = sum(p.wall_s * self._seeds_left(p) / self._spec.seeds for p in fits)
        self._latency([p for p in todo if "latency" in p.to_run], end - kept)
        for one in todo:
            if "accuracy" not in one.to_run:
                self._finish(one)
        self._accuracy(fits, end)
        for one in fits:
            self._finish(one)

    def _load(self, planned: Sequence[PlannedCase]) -> list[PlannedCase]:
        """Take up what an earlier attempt left; the cases that still need work."""
        final = {r.case.hash for r in self._run_folder.records() if r.is_final}
        for case_hash, group, data in self._run_folder.journal():
            outcome = Outcome.from_json(data)
            if outcome.status.is_final:
                self._outcomes[case_hash][group].append(outcome)
        for one in planned:
            for outcome in self._done(one, "complexity"):
                self._counts[_shape(one.case)] = outcome
        return [p for p in planned if p.case.hash not in final]

    def _jobs_of(self, planned: PlannedCase) -> int:
        per_group = {"latency": self._spec.processes, "accuracy": self._spec.seeds}
        wanted = sum(per_group.get(group, 1) for group in planned.to_run)
        done = sum(len(o) for o in self._outcomes[planned.case.hash].values())
        return max(wanted - done, 0)

    def _each_once(self, group: str, todo: Sequence[PlannedCase], end: float) -> None:
        """One job for each case that lacks ``group``, in shuffled order."""
        for one in self._shuffled((p for p in todo if group in p.to_run), group):
            if self._done(one, group):
                continue
            known = self._counts.get(_shape(one.case)) if group == "complexity" else None
            if known:
                # The time was spent once, on the first case of this shape.
                self._keep(one, group, replace(known, seconds=0.0))
            elif self._clock() < end:
                outcome = self._job(one, group, {}, self._timeout(end))
                if group == "complexity":
                    self._counts[_shape(one.case)] = outcome

    def _held_back(self, planned: PlannedCase) -> PlannedCase:
        """Without latency where the case was found not to fit into memory, or to be wrong."""
        for group in ("complexity", "memory"):
            for outcome in self._done(planned, group):
                if outcome.status in _TELLING:
                    groups = [g for g in planned.to_run if g in ("latency", "accuracy")]
                    reason = f"not tried, as {group} ended so"
                    return planned.refuse(groups, outcome.status, reason)
        return planned

    def _latency(self, cases: Sequence[PlannedCase], end: float) -> None:
        """Rounds over all cases until each is precise enough or the time is up."""
        budget = max(end - self._clock(), 0.0)
        units = max(len(cases) * self._spec.processes, 1)
        slice_s = min(max(budget / units - PROCESS_START_S, 0.05), SECONDS_PER_UNIT)
        number = 0
        active = [one for one in cases if self._wants_process(one)]
        while active:
            progressed = False
            for one in self._by_need(active, number):
                if self._clock() + self._expected_unit_s(one) > end:
                    continue
                job = {
                    "slice_s": slice_s,
                    "precision": self._spec.precision,
                    "check": not self._done(one, "latency"),
                }
                self._job(one, "latency", job, self._timeout(end))
                progressed = True
            number += 1
            active = [one for one in active if self._wants_process(one)]
            if not progressed:
                break

    def _by_need(self, active: list[PlannedCase], number: int) -> list[PlannedCase]:
        """A new shuffled order each round; once all have their minimum, the widest first."""
        order = self._shuffled(active, f"latency {number}")
        if number >= self._spec.processes:
            order.sort(key=self._half_width, reverse=True)
        return order

    def _wants_process(self, planned: PlannedCase) -> bool:
        done = self._done(planned, "latency")
        if any(outcome.status is not Status.OK for outcome in done):
            return False
        if len(done) < self._spec.processes:
            return True
        return len(done) < MAX_PROCESSES and self._half_width(planned) > self._spec.precision

    def _half_width(self, planned: PlannedCase) -> float:
        samples = [o.samples["latency_s"] for o in self._done(planned, "latency")]
        return latency_estimate(samples).relative_half_width if samples else float("inf")

    def _expected_unit_s(self, planned: PlannedCase) -> float:
        """Seconds that one more process takes: as the last one, or as predicted."""
        done = self._done(planned, "latency")
        if done:
            return done[-1].seconds
        return PROCESS_START_S + max(SECONDS_PER_UNIT, 2 * planned.call_s)

    def _accuracy(self, fits: Sequence[PlannedCase], end: float) -> None:
        """Seed by seed over all cases, so that drift and an early end hit all alike."""
        for seed in range(self._spec.seeds):
            for one in self._shuffled(fits, f"accuracy {seed}"):
                done = self._done(one, "accuracy")
                failed = any(o.status is not Status.OK for o in done)
                if len(done) > seed or failed or self._clock() + self._expected_fit_s(one) > end:
                    continue
                job = {
                    "seed": self._spec.seed + seed,
                    "data": self._spec.data,
                    "recipe": make_recipe(self._spec, one.case.device).to_json(),
                }
                self._job(one, "accuracy", job, self._timeout(end))

    def _expected_fit_s(self, planned: PlannedCase) -> float:
        done = self._done(planned, "accuracy")
        return done[-1].seconds if done else planned.call_s

    def _seeds_left(self, planned: PlannedCase) -> int:
        return max(self._spec.seeds - len(self._done(planned, "accuracy")), 0)

    def _job(
        self, planned: PlannedCase, group: str, extra: Mapping[str, Any], timeout_s: float
    ) -> Outcome:
        self._observer.working(planned, group)
        job = {
            "kind": group,
            "case": planned.case.to_json(),
            "plugins": list(self._spec.plugins),
            "threads": self._spec.threads,
            "seed": self._spec.seed,
            **extra,
        }
        outcome = self._execute(job, timeout_s)
        if outcome.status is Status.TIMEOUT and timeout_s < self._spec.timeout_s:
            reason = (
                f"cut off after {format_seconds(outcome.seconds)}, when the budget was spent; "
                f"give more, such as {budget_flag(2 * self._spec.budget_s)}"
            )
            outcome = Outcome(status=Status.OVER_BUDGET, reason=reason, seconds=outcome.seconds)
        self.measured_s += outcome.seconds
        self._keep(planned, group, outcome)
        return outcome

    def _keep(self, planned: PlannedCase, group: str, outcome: Outcome) -> None:
        self._run_folder.note(planned.case.hash, group, outcome.to_json())
        self._outcomes[planned.case.hash][group].append(outcome)
        self._jobs_left = max(self._jobs_left - 1, 0)
        self._observer.worked(planned, group, outcome, self._jobs_left)

    def _finish(self, planned: PlannedCase) -> None:
        """Write the case's record; groups that never got their turn are over budget."""
        outcomes = self._outcomes[planned.case.hash]
        starved = [group for group in planned.to_run if not outcomes.get(group)]
        reason = over_budget_reason(planned.wall_s, self._spec.budget_s, 2 * self._spec.budget_s)
        record = assemble(planned.refuse(starved, Status.OVER_BUDGET, reason), outcomes)
        self._run_folder.append(record)
        self._observer.recorded(record)

    def _done(self, planned: PlannedCase, group: str) -> list[Outcome]:
        return self._outcomes[planned.case.hash][group]

    def _timeout(self, end: float) -> float:
        return min(self._spec.timeout_s, max(end - self._clock(), MIN_TIMEOUT_S))

    def _shuffled(self, planned: Iterable[PlannedCase], what: str) -> list[PlannedCase]:
        order = list(planned)
        random.Random(f"{self._spec.seed} {what}").shuffle(order)
        return order


def _shape(case: Case) -> tuple[object, ...]:
    """What static counts depend on: not mode, batch, dtype or device. A shape is counted once."""
    return (case.level, case.stage, case.host, case.label, case.resolution)
