"""One case over runs: its latency under the same conditions, and each of its exact counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from paca_bench.analyse.statistics import log_mean, student
from paca_bench.analyse.steps import CONFIDENCE, FEWEST_RUNS, Course, find_steps
from paca_bench.compare.comparison import NEEDS
from paca_bench.compare.rules import LATENCY, STATIC_METRICS
from paca_bench.compare.sides import CONDITIONS, UNKNOWN, SideCase
from paca_bench.history.runs import HistoryRun


@dataclass(frozen=True, slots=True)
class Subject:
    """One metric of one case, over the runs that may be compared.

    Attributes:
        metric: ``latency``, or as in ``STATIC_METRICS``.
        case_id: the newest run's name of the case.
        conditions: what all its runs share, of that which the metric depends on.
        differing: those of the conditions in which other runs of the case and metric differ.
        is_current: the newest run that has this metric of this case is the last of these.
        runs: in order.
    """

    metric: str
    case_id: str
    conditions: Mapping[str, str]
    differing: Mapping[str, str]
    is_current: bool
    runs: Sequence[HistoryRun]

    @property
    def title(self) -> str:
        """The case, and what sets these runs apart from others of it."""
        apart = ", ".join(f"{name} {value}" for name, value in self.differing.items())
        return f"{self.case_id} ({apart})" if apart else self.case_id

    @property
    def machine(self) -> str:
        """The conditions in one line."""
        known = {name: value for name, value in self.conditions.items() if value != UNKNOWN}
        return ", ".join(f"{name} {value}" for name, value in known.items())


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies of one case.

    Attributes:
        subject: what they are of.
        medians: for each run the median of each process, in seconds.
        course: its levels and steps; None of fewer than ``FEWEST_RUNS`` runs.
    """

    subject: Subject
    medians: Sequence[Sequence[float]]
    course: Course | None

    def seconds(self) -> list[float]:
        """Each run's geometric mean over its processes, which is what steps are found in."""
        return [math.exp(sum(map(math.log, run)) / len(run)) for run in self.medians]

    def intervals(self) -> list[tuple[float, float] | None]:
        """Each run's 95% interval over its processes, in seconds; None of a single process."""
        return [_interval(run) if len(run) > 1 else None for run in self.medians]


def _interval(medians: Sequence[float]) -> tuple[float, float]:
    mean = log_mean(medians)
    half = student(CONFIDENCE, mean.freedom) * mean.error
    return math.exp(mean.value - half), math.exp(mean.value + half)


@dataclass(frozen=True, slots=True)
class Counts:
    """An exact metric of one case, a value per run."""

    subject: Subject
    values: Sequence[float]

    def changes(self) -> list[int]:
        """The first run of each new value."""
        return [i for i, (old, new) in enumerate(pairwise(self.values), start=1) if old != new]


def latencies(runs: Sequence[HistoryRun]) -> list[Latencies]:
    """The latencies of every case, apart where any condition differs, as in ``compare``."""
    found = []
    for subject, cases in _subjects(runs, LATENCY, CONDITIONS):
        medians = [[value for (value,) in case.processes] for case in cases]
        changed = [True, *(not new.same_code(old) for old, new in pairwise(subject.runs))]
        course = find_steps(medians, changed) if len(medians) >= FEWEST_RUNS else None
        found.append(Latencies(subject, medians, course))
    return found


def counts(runs: Sequence[HistoryRun]) -> list[Counts]:
    """Every exact metric of every case, apart where what it depends on differs."""
    return [
        Counts(subject, [case.statics[metric] for case in cases])
        for metric in STATIC_METRICS
        for subject, cases in _subjects(runs, metric, NEEDS.get(metric, ()))
    ]


def _subjects(
    runs: Sequence[HistoryRun], metric: str, conditions: Sequence[str]
) -> Iterator[tuple[Subject, list[SideCase]]]:
    """Runs that have the metric, by case and then by conditions, with the case of each."""
    points: dict[str, list[tuple[HistoryRun, SideCase]]] = {}
    for run in runs:
        for case in run.cases:
            if case.processes if metric == LATENCY else metric in case.statics:
                points.setdefault(case.key, []).append((run, case))
    for own in points.values():
        apart: dict[tuple[str, ...], list[tuple[HistoryRun, SideCase]]] = {}
        for run, case in own:
            values = tuple(" and ".join(sorted(case.condition(name))) for name in conditions)
            apart.setdefault(values, []).append((run, case))
        for values, members in apart.items():
            shared = dict(zip(conditions, values, strict=True))
            subject = Subject(
                metric=metric,
                case_id=members[-1][1].id,
                conditions=shared,
                differing={
                    name: value
                    for i, (name, value) in enumerate(shared.items())
                    if any(other[i] != value for other in apart)
                },
                is_current=members[-1][0] is own[-1][0],
                runs=[run for run, _ in members],
            )
            yield subject, [case for _, case in members]
