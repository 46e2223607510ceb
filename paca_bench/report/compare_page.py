"""A comparison of two sides as one HTML file, with the samples of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from paca_bench.analyse.compare import Change
from paca_bench.compare.comparison import CasePair, Comparison
from paca_bench.compare.wording import (
    change_text,
    detectable_text,
    headline,
    latency_text,
    note,
    sentences,
    static_text,
)
from paca_bench.report.page import environment, policy, source
from paca_bench.units import format_seconds
from paca_bench.version import package_version

# The drawing's own units; the page scales it.
WIDTH, LANE, GAP, MARGIN = 640.0, 9.0, 8.0, 6.0
# Cases are in order of news, and a page of thousands of drawings would open slowly.
MOST_DRAWN = 200
# A strip of more samples than this is drawn from as many of its quantiles.
_MOST_DOTS = 120


@dataclass(frozen=True, slots=True)
class Dot:
    """One sample, or the median of one process."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Strip:
    """The samples of one side: a lane per process, dots for samples, a bar for its median."""

    name: str
    css: str
    dots: list[Dot]
    medians: list[Dot]
    middle: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """Both sides' samples of one case on one axis, with the axis's ends in words."""

    height: float
    strips: list[Strip]
    low: str
    high: str
    label: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case as the page shows it."""

    id: str
    change: str
    ratio: str
    detectable: str
    note: str
    drawing: Drawing | None


def render(comparison: Comparison) -> str:
    """The page as text."""
    pages = environment()
    return pages.get_template("compare.html.j2").render(
        headline=headline(comparison),
        exit_code=comparison.exit_code,
        sentences=sentences(comparison),
        sides=[("BASE", comparison.base), ("NEW", comparison.new)],
        rules=[str(rule) for rule in comparison.rules.values()],
        statics=list(_statics(comparison)),
        cases=list(_cases(comparison.cases)),
        most_drawn=MOST_DRAWN,
        width=WIDTH,
        lane=LANE,
        version=package_version(),
        policy=policy(()),
        css=Markup(source(pages, "report.css") + source(pages, "compare.css")),
    )


def _statics(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """The cells of what changed exactly; the last one is a CSS class."""
    for case, static in comparison.static_changes:
        word = "regression" if static.is_regression else "changed"
        yield (
            case.id,
            static.name.replace("_", " "),
            static_text(static, static.base),
            static_text(static, static.new),
            change_text(static),
            word,
            "slower" if static.is_regression else "",
        )


def _cases(cases: Iterable[CasePair]) -> Iterator[CaseView]:
    """All cases, those with news first."""
    order = [Change.SLOWER, Change.FASTER, Change.INCONCLUSIVE, Change.SAME]

    def rank(case: CasePair) -> tuple[int, float]:
        if case.judgement is None:
            return (-1 if case.broken or case.is_refused else len(order)), 0.0
        return order.index(case.judgement.change), -abs(math.log(case.judgement.ratio.value))

    for number, case in enumerate(sorted(cases, key=rank)):
        is_drawn = case.base.processes and case.new.processes and number < MOST_DRAWN
        verdict = case.judgement.change.value if case.judgement else ""
        yield CaseView(
            id=case.id,
            change=verdict or ("refused" if case.is_refused else "not timed"),
            ratio=latency_text(case),
            detectable=detectable_text(case.judgement),
            note=note(case),
            drawing=draw(case) if is_drawn else None,
        )


def draw(case: CasePair) -> Drawing:
    """The samples of both sides on one logarithmic axis.

    The axis spans all process medians and the middle 96% of all samples: one interruption
    by the operating system would squeeze everything else together. What lies beyond is drawn
    at its end.
    """
    sides = (("BASE", "base", case.base.processes), ("NEW", "new", case.new.processes))
    low, high = _span([*case.base.processes, *case.new.processes])

    def place(value: float) -> float:
        share = math.log(value / low) / math.log(high / low)
        return round(MARGIN + min(max(share, 0.0), 1.0) * (WIDTH - 2 * MARGIN), 1)

    strips, top = [], GAP
    for name, css, processes in sides:
        lanes = [top + LANE * (number + 0.5) for number in range(len(processes))]
        medians = [median(process) for process in processes]
        strips.append(
            Strip(
                name=name,
                css=css,
                dots=[
                    Dot(place(value), y)
                    for process, y in zip(processes, lanes, strict=True)
                    for value in _thinned(process)
                ],
                medians=[Dot(place(m), y) for m, y in zip(medians, lanes, strict=True)],
                middle=place(median(medians)),
            )
        )
        top += LANE * len(processes) + GAP
    label = ", ".join(
        f"{name} {format_seconds(median([median(p) for p in processes]))} "
        f"over {len(processes)} process{'es' if len(processes) > 1 else ''}"
        for name, _, processes in sides
    )
    return Drawing(top, strips, format_seconds(low), format_seconds(high), label)


def _span(processes: Sequence[Sequence[float]]) -> tuple[float, float]:
    medians = [median(process) for process in processes]
    samples = sorted(value for process in processes for value in process)
    cut = len(samples) // 50
    low = min(*medians, samples[cut])
    high = max(*medians, samples[-1 - cut])
    return (low, high) if high > low else (low / 1.01, high * 1.01)


def _thinned(process: Sequence[float]) -> list[float]:
    """The samples; of very many, evenly spaced order statistics."""
    if len(process) <= _MOST_DOTS:
        return list(process)
    ordered = sorted(process)
    step = (len(ordered) - 1) / (_MOST_DOTS - 1)
    return [ordered[round(i * step)] for i in range(_MOST_DOTS)]
