"""A history in words: the headline, the sentences under it, and the cells of its tables."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from paca_bench.analyse.compare import POWER
from paca_bench.analyse.statistics import Estimate
from paca_bench.analyse.steps import FEWEST_RUNS
from paca_bench.analyse.wording import cases, interval, listed
from paca_bench.compare.rules import LATENCY, STATIC_METRICS
from paca_bench.history.history import FoundStep, History
from paca_bench.history.runs import HistoryRun
from paca_bench.history.series import Latencies
from paca_bench.units import format_bytes, format_count, format_percent, format_seconds, significant

STEP_HEADERS = ["case", "metric", "commit", "date", "where", "before → after", "ratio", "note"]
STEP_NAMES = 5
SERIES_HEADERS = ["case", "latency over runs", "runs", "newest", "noise", "steps"]
_BLOCKS = "▁▂▃▄▅▆▇█"
_LEAST_SPAN = math.log(1.1)


def headline(history: History) -> str:
    """What was found, in one line."""
    if len(history.regressions) == 1:
        (step,) = history.regressions
        return f"Regression: {_metric(step)} of {step.subject.title} since {step.at.label}."
    if history.regressions:
        names = Counter(map(_metric, history.regressions))
        return f"Regressions: {listed([f'{n} of {cases(k)}' for n, k in names.items()])}."
    over = f"{cases(history.cases)} over {_runs(len(history.runs))}"
    if not history.steps:
        return f"No step found in {over}."
    count = len(history.steps)
    kept = sum(step.is_latest and step.is_worse for step in history.steps)
    still = f", {kept} of them to slower or more and still there" if kept else ""
    return f"{count} step{'' if count == 1 else 's'} found in {over}{still}."


def sentences(history: History) -> list[str]:
    """What stands behind the headline: how it was looked for, what could be seen, doubts."""
    return [*_latency_sentences(history), *_possible(history), *_left_out(history)]


def _latency_sentences(history: History) -> Iterator[str]:
    courses = [course for _, course in history.timed]
    if not courses:
        yield f"No latency was measured in {FEWEST_RUNS} runs under the same conditions."
        return
    noise = sorted(course.noise for course in courses)
    seen = sorted(course.detectable for course in courses)
    if len(courses) == 1:
        yield (
            f"Noise from run to run: {format_percent(noise[0])}. A slowdown in the middle of the "
            f"series is found with a probability of {POWER:.0%} from {_percent(seen[0])} on."
        )
    else:
        yield (
            f"Noise from run to run: {format_percent(statistics.median(noise))} in the middle of "
            f"{len(noise)} series, {format_percent(noise[-1])} in the noisiest. A slowdown in the "
            f"middle of a series is found with a probability of {POWER:.0%} from "
            f"{_percent(statistics.median(seen))} on, in the least certain series from "
            f"{_percent(seen[-1])} on."
        )
    apart = sum(len(course.outliers) for course in courses)
    if apart:
        yield f"Set aside, because they stand apart from their level: {_runs(apart)}."
    if any(not step.is_code for step in history.steps):
        yield "Where a step lies between runs of the same commit, something but the code changed."


def _possible(history: History) -> Iterator[str]:
    if not history.possible:
        return
    found = [f"{one.subject.title} at {ratio(last)}" for one, last in history.possible]
    yield (
        f"The last run stands apart from the level before it: {listed(found)} times that. A "
        f"possible step: it needs another run of the same commit or a later one."
    )


def _left_out(history: History) -> Iterator[str]:
    few = [one for one in history.latencies if one.course is None]
    if few:
        yield (
            f"Too few runs for a step in latency, at least {FEWEST_RUNS} under the same "
            f"conditions: {len(few)} series, such as {few[0].subject.title}."
        )
    split = {one.subject.case_id for one in history.latencies if one.subject.differing}
    if split:
        names = dict.fromkeys(n for one in history.latencies for n in one.subject.differing)
        yield (
            f"Measured under conditions that differ ({', '.join(names)}), and therefore apart: "
            f"{cases(len(split))}."
        )


def step_row(step: FoundStep) -> list[str]:
    """The cells under ``STEP_HEADERS``."""
    return [
        step.subject.title,
        _metric(step),
        step.at.label,
        step.at.date,
        where(step),
        f"{value_text(step, step.before)} → {value_text(step, step.now)}",
        ratio(step.ratio) if step.ratio else _exact_change(step),
        _note(step),
    ]


def ratio(estimate: Estimate) -> str:
    """``1.20 [1.17, 1.23]``; with one digit more where the interval is narrow."""
    digits = 4 if estimate.high < 1.05 * estimate.low else 3
    ends = estimate.value, estimate.low, estimate.high
    return interval(lambda value: significant(value, digits), *ends)


def value_text(step: FoundStep, value: float) -> str:
    """A value with its unit; exact where rounding would hide the change."""
    if step.subject.metric == LATENCY:
        return format_seconds(value)
    is_bytes = STATIC_METRICS[step.subject.metric].endswith("_bytes")
    short = format_bytes if is_bytes else format_count
    if short(step.before) == short(step.now):
        return f"{value:,}" + (" B" if is_bytes else "")
    return short(value)


def where(step: FoundStep) -> str:
    """The commits that the change may be in."""
    if not step.is_code:
        return f"within {step.at.label}"
    return f"after {step.after.label}, up to {step.until.label}"


def span(runs: Sequence[HistoryRun]) -> str:
    """``30 runs, 1a2b3c4d5 (2026-01-01) to 6e7f8a9b0 (2026-02-01)``."""
    first, last = (f"{run.label} ({run.date})" if run.date else run.label
                   for run in (runs[0], runs[-1]))  # fmt: skip
    return f"{_runs(len(runs))}, {first} to {last}"


def sparkline(one: Latencies, width: int = 40) -> str:
    """The newest ``width`` latencies as blocks of eight heights, from the least to the most.

    The scale is logarithmic and spans the runs that do not stand apart; those that do are at
    its ends.
    """
    values = [math.log(value) for value in one.seconds()]
    apart = set(one.course.outliers) if one.course else set()
    kept = [value for i, value in enumerate(values) if i not in apart]
    low, high = min(kept), max(kept)
    # Noise of a percent would look like a mountain range.
    high = max(high, low + _LEAST_SPAN)
    return "".join(_block(value, low, high) for value in values[-width:])


def _block(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low)
    return _BLOCKS[min(max(int(share * len(_BLOCKS)), 0), len(_BLOCKS) - 1)]


def series_row(one: Latencies) -> list[str]:
    """Case, runs, sparkline, latency now, noise, and how many steps."""
    course = one.course
    now = format_seconds(one.seconds()[-1])
    noise = format_percent(course.noise) if course else "-"
    steps = str(len(course.steps)) if course else "too few runs"
    return [one.subject.title, sparkline(one), str(len(one.medians)), now, noise, steps]


def _metric(step: FoundStep) -> str:
    return step.subject.metric.replace("_", " ")


def _exact_change(step: FoundStep) -> str:
    if step.before and abs(step.change - 1) >= 1e-4:
        return f"{significant(step.change, 4)}"
    return f"{step.now - step.before:+,}"


def _note(step: FoundStep) -> str:
    parts = []
    if step.is_regression:
        parts.append("regression")
    elif not step.is_latest:
        parts.append("past")
    if not step.is_code:
        parts.append("same commit: not the code")
    return ", ".join(parts)


def _percent(fraction: float) -> str:
    """A change in percent; more than tenfold is as good as none that could be found."""
    return f"{significant(100 * fraction, 2)}%" if fraction <= 9 else "more than 900%"


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
