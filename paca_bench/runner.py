"""Sends a plan's cases to workers, and keeps each result as it arrives.

Order of work: what each case must cost (no timing), its memory, then latency in rounds over
all cases, each round in a new shuffled order so that drift hits all alike, its energy, and
accuracy one seed at a time over all cases. Every outcome goes into a journal at once, so a
sweep that is killed goes on where it was.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from paca_bench.analyse.statistics import latency_estimate
from paca_bench.assemble import assemble
from paca_bench.grid import make_recipe
from paca_bench.plan import ACCURACY_SHARE, PlannedCase, over_budget_reason
from paca_bench.predicted_time import (
    CALLS_OF_CHECK,
    PROCESS_START_S,
    SECONDS_PER_UNIT,
    budget_flag,
    energy_seconds,
    memory_seconds,
    start_seconds,
    unit_seconds,
)
from paca_bench.record import Case, Record, Status
from paca_bench.schedule import MAX_PROCESSES, Need, next_round
from paca_bench.spec import SweepSpec
from paca_bench.store import RunFolder
from paca_bench.units import format_seconds
from paca_bench.workers import Execute, Outcome

# How much of the time memory may take while latency still waits.
MEMORY_SHARE = 0.2
# What one group's job finds out for the others too.
_TELLING = (Status.OUT_OF_MEMORY, Status.PREDICTED_OUT_OF_MEMORY, Status.WRONG)
_HELD_BACK = ("latency", "energy", "accuracy")
# No worker is cut off for the budget before it had this long.
MIN_TIMEOUT_S = 20.0


class Observer(Protocol):
    """Is told what happens, to show it."""

    def planned(self, planned: Sequence[PlannedCase], jobs: int, seconds: float) -> None:
        """The sweep starts: about ``jobs`` jobs, if ``seconds`` are enough for them."""

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
        self._ratios: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._counts: dict[tuple[object, ...], Outcome] = {}
        self._wanted = {"latency": spec.processes, "accuracy": spec.seeds}
        self._rounds = 0
        self._jobs_left = 0

    def run(self, planned: Sequence[PlannedCase], started: float | None = None) -> None:
        """Measure every case that has no final record yet, and record it.

        ``started`` is the clock's time from which the budget counts; now, if None.
        """
        begin = self._clock() if started is None else started
        end = begin + self._spec.budget_s
        todo = self._load(planned)
        self._jobs_left = sum(self._jobs_of(p) for p in todo)
        self._observer.planned(planned, self._jobs_left, end - self._clock())
        self._complexity(todo, end)
        remaining = end - self._clock()
        self._memory(todo, self._clock() + MEMORY_SHARE * remaining)
        todo = [self._held_back(one) for one in todo]
        fits = [p for p in todo if "accuracy" in p.to_run]
        timed = [p for p in todo if "latency" in p.to_run]
        kept = min(self._accuracy_s(fits), ACCURACY_SHARE * remaining)
        self._latency(timed, end - kept, precision=math.inf)
        self._memory(todo, end - kept)
        self._energy(todo, end - kept)
        self._latency(timed, end - kept, self._spec.precision)
        self._accuracy(fits, end)
        # What trainings left of the time goes to what had to stand back.
        self._memory(todo, end)
        self._latency(timed, end, self._spec.precision)
        self._energy(todo, end)
        needed = self._spec.budget_s + sum(one.wall_s for one in todo if self._starved(one))
        for one in todo:
            self._finish(one, needed)

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
        wanted = sum(self._wanted.get(group, 1) for group in planned.to_run)
        done = sum(len(o) for o in self._outcomes[planned.case.hash].values())
        return max(wanted - done, 0)

    def _complexity(self, todo: Sequence[PlannedCase], end: float) -> None:
        """Count every case, each shape once."""
        for one in self._lacking("complexity", todo):
            known = self._counts.get(_shape(one.case))
            if known:
                # The time was spent once, on the first case of this shape.
                self._keep(one, "complexity", replace(known, seconds=0.0))
            elif self._clock() < end:
                outcome = self._job(one, "complexity", {}, self._timeout(end))
                self._counts[_shape(one.case)] = outcome

    def _memory(self, todo: Sequence[PlannedCase], end: float) -> None:
        """Measure the peak memory of every case that lacks it, as far as the time goes.

        The cheapest go first: nothing here depends on the order, and more get measured.
        """
        for one in sorted(self._lacking("memory", todo), key=self._expected_call_s):
            seconds = memory_seconds(self._expected_call_s(one)) + start_seconds(one.case)
            if self._clock() + seconds <= end:
                self._job(one, "memory", {}, self._timeout(end))

    def _energy(self, todo: Sequence[PlannedCase], end: float) -> None:
        """Measure the energy of every case that wants it and lacks it, the cheapest first."""
        for one in sorted(self._lacking("energy", todo), key=self._expected_call_s):
            seconds = energy_seconds(self._expected_call_s(one)) + start_seconds(one.case)
            if self._clock() + seconds <= end:
                self._job(one, "energy", {}, self._timeout(end))

    def _lacking(self, group: str, todo: Sequence[PlannedCase]) -> list[PlannedCase]:
        """The cases that want ``group`` and have no outcome of it, in shuffled order."""
        lacking = (p for p in todo if group in p.to_run and not self._done(p, group))
        return self._shuffled(lacking, group)

    def _held_back(self, planned: PlannedCase) -> PlannedCase:
        """Without latency where the case was found not to fit into memory, or to be wrong."""
        for group in ("complexity", "memory"):
            for outcome in self._done(planned, group):
                if outcome.status in _TELLING:
                    groups = [g for g in planned.to_run if g in _HELD_BACK]
                    reason = f"not tried, as for {group}: {outcome.reason}"
                    return planned.refuse(groups, outcome.status, reason)
        return planned

    def _latency(self, cases: Sequence[PlannedCase], end: float, precision: float) -> None:
        """Rounds of one process a case, until all are precise enough or the time is up."""
        units = max(len(cases) * self._spec.processes, 1)
        share = max(end - self._clock(), 0.0) / units - PROCESS_START_S
        slice_s = min(max(share, 0.05), SECONDS_PER_UNIT)
        while True:
            chosen = next_round(
                self._needs(cases, slice_s),
                minimum=self._spec.processes,
                precision=precision,
                remaining_s=end - self._clock(),
            )
            if not self._round(chosen, slice_s, end):
                return

    def _round(self, chosen: Sequence[Need], slice_s: float, end: float) -> bool:
        """One process for each of ``chosen``, in a new shuffled order; False if none ran."""
        ran = False
        by_hash = {need.planned.case.hash: need for need in chosen}
        self._rounds += 1
        for one in self._shuffled((n.planned for n in chosen), f"latency {self._rounds}"):
            if self._clock() + by_hash[one.case.hash].unit_s > end:
                continue
            job = {
                "slice_s": slice_s,
                "precision": self._spec.precision,
                "check": not self._done(one, "latency"),
                "round": self._rounds,
            }
            self._job(one, "latency", job, self._timeout(end))
            ran = True
        return ran

    def _needs(self, cases: Sequence[PlannedCase], slice_s: float) -> list[Need]:
        """The cases that want one more process."""
        needs = []
        for one in cases:
            done = self._done(one, "latency")
            failed = any(outcome.status is not Status.OK for outcome in done)
            if failed or len(done) >= MAX_PROCESSES:
                continue
            samples = [outcome.samples["latency_s"] for outcome in done]
            width = latency_estimate(samples).relative_half_width if samples else math.inf
            if len(done) < self._spec.processes or width > self._spec.precision:
                needs.append(Need(one, len(done), self._expected_unit_s(one, slice_s), width))
        return needs

    def _expected_unit_s(self, planned: PlannedCase, slice_s: float) -> float:
        """Seconds that one more process is expected to take."""
        call_s = self._expected_call_s(planned)
        done = self._done(planned, "latency")
        start_s = done[-1].seconds if done and planned.case.compile != "none" else 0.0
        check_s = 0.0 if done else CALLS_OF_CHECK * call_s + start_seconds(planned.case)
        # On CUDA the call is timed a second time, with a warm cache.
        slices = 2 if planned.case.device.startswith("cuda") else 1
        return max(unit_seconds(call_s, slices * slice_s) + check_s, start_s)

    def _expected_call_s(self, planned: PlannedCase) -> float:
        """Seconds of one call: as measured, or as predicted and corrected by the others."""
        done = self._done(planned, "latency")
        samples = [s for outcome in done for s in outcome.samples.get("latency_s", [])]
        if samples:
            return statistics.median(samples)
        return planned.call_s * self._correction(planned)

    def _correction(self, planned: PlannedCase) -> float:
        """How much longer than predicted cases of this kind took so far."""
        ratios = self._ratios[_kind(planned.case)]
        return statistics.median(ratios) if ratios else 1.0

    def _accuracy(self, fits: Sequence[PlannedCase], end: float) -> None:
        """Seed by seed over all cases, so that drift and an early end hit all alike."""
        for seed in range(self._spec.seeds):
            for one in self._shuffled(fits, f"accuracy {seed}"):
                done = self._done(one, "accuracy")
                failed = any(o.status is not Status.OK for o in done)
                if len(done) > seed or failed or self._clock() + self._expected_fit_s(one) > end:
                    continue
                number = self._spec.seed + seed
                job = {
                    "seed": number,
                    "data": self._spec.data,
                    "bad_images": self._spec.bad_images,
                    "recipe": make_recipe(self._spec, one.case.device).to_json(),
                    # One seed's clusters show what is learned, and a record stays small.
                    "keep_clusters": seed == 0,
                    "checkpoint": str(
                        self._run_folder.checkpoint(one.case.hash, number).absolute()
                    ),
                    # Rounds of latency count from 1: a training has a process of its own.
                    "round": -1 - seed,
                }
                outcome = self._job(one, "accuracy", job, self._timeout(end))
                if outcome.status.is_final:
                    self._run_folder.drop_checkpoint(one.case.hash, number)

    def _expected_fit_s(self, planned: PlannedCase) -> float:
        done = self._done(planned, "accuracy")
        return done[-1].seconds if done else planned.call_s * self._correction(planned)

    def _accuracy_s(self, fits: Sequence[PlannedCase]) -> float:
        """What all trainings that are left are expected to take."""
        return sum(
            max(self._spec.seeds - len(self._done(one, "accuracy")), 0) * self._expected_fit_s(one)
            for one in fits
        )

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
        self._keep(planned, group, outcome)
        return outcome

    def _keep(self, planned: PlannedCase, group: str, outcome: Outcome) -> None:
        self._run_folder.note(planned.case.hash, group, outcome.to_json())
        self._outcomes[planned.case.hash][group].append(outcome)
        self._learn(planned, group, outcome)
        self._jobs_left = max(self._jobs_left - 1, 0)
        self._observer.worked(planned, group, outcome, self._jobs_left)

    def _learn(self, planned: PlannedCase, group: str, outcome: Outcome) -> None:
        """Compare what a case took with what was predicted, to predict the others better."""
        took = {"accuracy": [outcome.seconds]}.get(group, outcome.samples.get("latency_s"))
        if outcome.status is Status.OK and took and planned.call_s:
            ratio = statistics.median(took) / planned.call_s
            self._ratios[_kind(planned.case)].append(ratio)

    def _starved(self, planned: PlannedCase) -> list[str]:
        """The groups that never got their turn."""
        return [group for group in planned.to_run if not self._done(planned, group)]

    def _finish(self, planned: PlannedCase, needed_s: float) -> None:
        """Write the case's record; groups that never got their turn are over budget."""
        reason = over_budget_reason(planned.wall_s, self._spec.budget_s, needed_s)
        starved = planned.refuse(self._starved(planned), Status.OVER_BUDGET, reason)
        record = assemble(starved, self._outcomes[planned.case.hash], self._wanted)
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


def _kind(case: Case) -> tuple[str, str, str]:
    """What a prediction errs alike for."""
    return case.level, case.mode, case.execution


def _shape(case: Case) -> tuple[object, ...]:
    """What static counts depend on: not mode, batch, dtype or device. A shape is counted once."""
    return (case.level, case.stage, case.host, case.label, case.resolution, case.head)
