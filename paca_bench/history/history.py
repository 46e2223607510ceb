"""A history, and what follows from it for an exit code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from paca_bench.analyse.compare import Q, adjusted_p_values
from paca_bench.analyse.statistics import Estimate
from paca_bench.analyse.steps import FEWEST_RUNS, Course
from paca_bench.compare.comparison import CLEAN, REGRESSION
from paca_bench.compare.rules import LATENCY, Rule, parse_rules
from paca_bench.errors import NothingMeasuredError
from paca_bench.history.runs import HistoryRun, load_runs
from paca_bench.history.series import Counts, Latencies, Subject, counts, latencies


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStep:
    """A change of one metric of one case between two runs.

    Attributes:
        subject: the metric and case.
        at: the first run after it, or the likeliest such run.
        after: the last run that is certainly before it.
        until: the first run that is certainly after it: the change is in a commit after
            that of ``after``, up to that of ``until``.
        before, now: the values on either side: of an exact metric as they are, of a latency
            the level in seconds.
        ratio: of a latency, with its interval; None of an exact metric.
        is_code: False where all these runs are of one commit.
        is_latest: nothing changed since, and the newest run of the case is among these.
        rule: what may fail it, if any.
        adjusted_p: of a latency: of no step, with false discoveries controlled over all
            steps and series of the history (Benjamini and Hochberg); 0 of an exact metric.
    """

    subject: Subject
    at: HistoryRun
    after: HistoryRun
    until: HistoryRun
    before: float
    now: float
    ratio: Estimate | None
    is_code: bool
    is_latest: bool
    rule: Rule | None
    adjusted_p: float = 0.0

    @property
    def change(self) -> float:
        """How many times ``before`` it is now; infinite from 0."""
        if self.ratio is not None:
            return self.ratio.value
        return self.now / self.before if self.before else math.inf

    @property
    def is_worse(self) -> bool:
        """Slower, or more."""
        return self.change > 1

    @property
    def is_regression(self) -> bool:
        """True if it still holds and a rule forbids it.

        A latency must have changed with the code, and be no false discovery among all cases.
        """
        if self.rule is None or not self.is_latest:
            return False
        if self.ratio is None:
            return self.rule.is_broken(self.before, self.now)
        return self.is_code and self.adjusted_p <= Q and self.rule.is_broken(1.0, self.ratio.value)


@dataclass(frozen=True)
class History:
    """All cases over runs.

    Attributes:
        runs: in order of their commits.
        latencies: a series per case and set of conditions.
        counts: a series per case and exact metric.
        rules: name -> what may fail; empty where nothing may.
    """

    runs: Sequence[HistoryRun]
    latencies: Sequence[Latencies]
    counts: Sequence[Counts]
    rules: Mapping[str, Rule]

    @cached_property
    def steps(self) -> list[FoundStep]:
        """Regressions first, then the newest; of one run in the order of the cases."""
        found = [step for one in self.counts for step in self._count_steps(one)]
        found += self._latency_steps()
        places = {id(run): place for place, run in enumerate(self.runs)}
        return sorted(found, key=lambda step: (not step.is_regression, -places[id(step.at)]))

    @cached_property
    def regressions(self) -> list[FoundStep]:
        """The steps that a rule forbids."""
        return [step for step in self.steps if step.is_regression]

    @cached_property
    def possible(self) -> list[tuple[Latencies, Estimate]]:
        """Latencies whose newest run stands apart, so that another run must decide."""
        return [
            (one, course.last)
            for one, course in self.timed
            if course.last and one.subject.is_current
        ]

    @cached_property
    def timed(self) -> list[tuple[Latencies, Course]]:
        """The latencies of enough runs to look for a step."""
        return [(one, one.course) for one in self.latencies if one.course]

    @cached_property
    def cases(self) -> int:
        """How many cases there are."""
        return len({case.key for run in self.runs for case in run.cases})

    @property
    def exit_code(self) -> int:
        """0 clean, 1 regression."""
        return REGRESSION if self.regressions else CLEAN

    def _count_steps(self, one: Counts) -> list[FoundStep]:
        subject, changes = one.subject, one.changes()
        return [
            FoundStep(
                subject=subject,
                at=subject.runs[i],
                after=subject.runs[i - 1],
                until=subject.runs[i],
                before=one.values[i - 1],
                now=one.values[i],
                ratio=None,
                is_code=not subject.runs[i].same_code(subject.runs[i - 1]),
                is_latest=subject.is_current and i == changes[-1],
                rule=self.rules.get(subject.metric),
            )
            for i in changes
        ]

    def _latency_steps(self) -> list[FoundStep]:
        stepless = sum(not course.steps for _, course in self.timed)
        ps = [step.p for _, course in self.timed for step in course.steps]
        adjusted = iter(adjusted_p_values([*ps, *[1.0] * stepless]))
        return [
            self._latency_step(one.subject, course, i, next(adjusted))
            for one, course in self.timed
            for i in range(len(course.steps))
        ]

    def _latency_step(
        self, subject: Subject, course: Course, index: int, adjusted_p: float
    ) -> FoundStep:
        step, levels = course.steps[index], course.levels
        return FoundStep(
            subject=subject,
            at=subject.runs[step.index],
            after=subject.runs[step.first - 1],
            until=subject.runs[step.last],
            before=math.exp(levels[index].log_value),
            now=math.exp(levels[index + 1].log_value),
            ratio=step.ratio,
            is_code=step.is_code,
            is_latest=subject.is_current and index == len(course.steps) - 1,
            rule=self.rules.get(LATENCY),
            adjusted_p=adjusted_p,
        )


def history(paths: Iterable[Path], *, fail_on: str | None = None) -> History:
    """The history of all runs under ``paths``.

    Args:
        paths: run folders, pytest-benchmark JSON files, or folders of either.
        fail_on: what makes the exit code 1, as for ``compare``; nothing does if None.

    Raises:
        SpecError: ``fail_on`` makes no sense.
        StoreError: a path does not exist or cannot be read.
        NothingMeasuredError: no case was measured in as many runs as a history needs.
    """
    rules = parse_rules(fail_on) if fail_on is not None else {}
    given = list(paths)
    runs = load_runs(given)
    keys = Counter(key for run in runs for key in {case.key for case in run.cases})
    most = max(keys.values(), default=0)
    if most < FEWEST_RUNS:
        raise NothingMeasuredError(
            f"a history needs {FEWEST_RUNS} runs of a case, and {', '.join(map(str, given))} "
            f"{'hold' if len(given) > 1 else 'holds'} at most {most} of any in "
            f"{len(runs)} run{'' if len(runs) == 1 else 's'}; measure more commits with "
            f"'paca-bench sweep', or name the folders of more runs"
        )
    return History(runs, latencies(runs), counts(runs), rules)
