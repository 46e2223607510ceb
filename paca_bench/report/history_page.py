"""A history as one HTML file: the steps, a figure a case, all series in a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from paca_bench.analyse.wording import interval
from paca_bench.history.history import FoundStep, History
from paca_bench.history.runs import HistoryRun
from paca_bench.history.series import Latencies
from paca_bench.history.wording import (
    SERIES_HEADERS,
    STEP_HEADERS,
    headline,
    sentences,
    series_row,
    span,
    step_row,
)
from paca_bench.report.charts import Chart
from paca_bench.report.page import environment, policy, source
from paca_bench.report.plot_axes import Figure, axis_title, new_figure, set_axis
from paca_bench.report.quantities import LATENCIES
from paca_bench.report.theme import GRID, LIGHT, dark_colors
from paca_bench.report.traces import HOVER, Trace, scatter
from paca_bench.units import format_seconds
from paca_bench.version import package_version

# Cases with steps come first, and a page of thousands of figures would open slowly.
MOST_DRAWN = 100
_MOST_TICKS = 12
# A smaller range of latencies would make hills of the noise.
_LEAST_RANGE = 1.1
_LOG_FROM = 3.0
_REACH = 0.35

Places = Mapping[int, int]


def render(history: History) -> str:
    """The page as text."""
    pages = environment()
    scripts = {"plotly": get_plotlyjs(), "report": source(pages, "report.js")}
    charts = list(_charts(history))
    return pages.get_template("history.html.j2").render(
        headline=headline(history),
        exit_code=history.exit_code,
        sentences=sentences(history),
        span=span(history.runs),
        rules=[str(rule) for rule in history.rules.values()],
        step_headers=STEP_HEADERS,
        steps=[(_css(step), step_row(step)) for step in history.steps],
        charts=charts[:MOST_DRAWN],
        not_drawn=max(len(charts) - MOST_DRAWN, 0),
        series_headers=SERIES_HEADERS,
        series=[series_row(one) for one in history.latencies],
        dark=dark_colors(),
        version=package_version(),
        policy=policy(scripts.values()),
        css=Markup(source(pages, "report.css") + source(pages, "history.css")),
        scripts={name: Markup(text) for name, text in scripts.items()},
    )


def _css(step: FoundStep) -> str:
    if step.is_regression:
        return "slower"
    return "past" if not step.is_latest else ""


def _charts(history: History) -> Iterator[Chart]:
    """A figure a case, those with steps first; what was measured apart is in one figure."""
    of_case: dict[str, list[Latencies]] = {}
    for one in history.latencies:
        of_case.setdefault(one.subject.case_id, []).append(one)
    in_order = sorted(of_case.items(), key=lambda item: not any(map(_steps, item[1])))
    for number, (case_id, several) in enumerate(in_order):
        yield Chart(f"history-{number}", case_id, history_figure(history.runs, several))


def _steps(one: Latencies) -> int:
    return len(one.course.steps) if one.course else 0


def history_figure(runs: Sequence[HistoryRun], several: Sequence[Latencies]) -> Figure:
    """The latencies of one case over the runs of the history.

    A point a run, with the 95% interval over its processes; a line a level; where a step may
    lie is shaded. Runs that stand apart are open. A colour for each set of conditions.
    """
    seconds = [value for one in several for value in one.seconds()]
    size, unit = LATENCIES["forward"].unit(seconds)
    figure = new_figure(axis_title("latency", unit))
    places = {id(run): place for place, run in enumerate(runs)}
    for number, one in enumerate(several):
        color = LIGHT[number % len(LIGHT)]
        name = ", ".join(f"{k} {v}" for k, v in one.subject.differing.items()) or "latency"
        figure["data"] += _levels(one, places, size, color, name)
        figure["data"] += _points(one, places, size, color, name)
    figure["layout"]["shapes"] = [shape for one in several for shape in _shaded(one, places)]
    figure["layout"]["showlegend"] = len(several) > 1
    figure["layout"]["legend"] = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    _axes(figure, runs, [value / size for value in seconds])
    return figure


def _points(one: Latencies, places: Places, size: float, color: str, name: str) -> Iterator[Trace]:
    """The runs that count, and apart from them those that stand apart."""
    outliers = set(one.course.outliers) if one.course else set()
    points = list(zip(one.subject.runs, one.seconds(), one.intervals(), strict=True))
    for is_apart in (False, True):
        shown = [point for i, point in enumerate(points) if (i in outliers) is is_apart]
        if not shown:
            continue
        values = [value for _, value, _ in shown]
        ends = [pair or (value, value) for _, value, pair in shown]
        yield scatter(
            x=[places[id(run)] for run, _, _ in shown],
            y=[value / size for value in values],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [(high - v) / size for v, (_, high) in zip(values, ends, strict=True)],
                "arrayminus": [(v - low) / size for v, (low, _) in zip(values, ends, strict=True)],
                "color": color,
                "thickness": 1,
                "width": 0,
            },
            mode="markers",
            name=escape(name),
            showlegend=not is_apart,
            marker={"color": color, "size": 7, "symbol": "circle-open" if is_apart else "circle"},
            customdata=[_hover(*point, is_apart) for point in shown],
            hovertemplate=HOVER,
        )


def _hover(run: HistoryRun, value: float, ends: tuple[float, float] | None, is_apart: bool) -> str:
    lines = [
        f"<b>{escape(run.label)}</b> {run.date}",
        interval(format_seconds, value, *ends) if ends else format_seconds(value),
    ]
    if run.commit:
        lines.append(escape(run.path.name))
    if is_apart:
        lines.append("stands apart from its level")
    return "<br>".join(lines)


def _levels(one: Latencies, places: Places, size: float, color: str, name: str) -> Iterator[Trace]:
    """A line a level, reaching a little beyond its first and last run."""
    runs = one.subject.runs
    for level in one.course.levels if one.course else ():
        ends = places[id(runs[level.start])], places[id(runs[level.stop - 1])]
        value = math.exp(level.log_value) / size
        yield scatter(
            x=[ends[0] - _REACH, ends[1] + _REACH],
            y=[value, value],
            mode="lines",
            line={"color": color, "width": 2},
            name=escape(name),
            showlegend=False,
            hoverinfo="skip",
        )


def _shaded(one: Latencies, places: Places) -> Iterator[dict[str, object]]:
    runs = one.subject.runs
    for step in one.course.steps if one.course else ():
        yield {
            "type": "rect",
            "x0": places[id(runs[step.first - 1])],
            "x1": places[id(runs[step.last])],
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "fillcolor": GRID,
            "line": {"width": 0},
            "layer": "below",
        }


def _axes(figure: Figure, runs: Sequence[HistoryRun], values: Sequence[float]) -> None:
    """Commits where there is room; a logarithm only where a line would hide what is small."""
    step = math.ceil(len(runs) / _MOST_TICKS)
    shown = range(0, len(runs), step)
    set_axis(
        figure,
        "x",
        title="run, in order of its commit",
        tickmode="array",
        tickvals=list(shown),
        ticktext=[escape(runs[place].label) for place in shown],
        tickangle=-45,
        range=[-0.6, len(runs) - 0.4],
    )
    low, high = min(values), max(values)
    if high > low * _LOG_FROM:
        set_axis(figure, "y", type="log")
        return
    middle, half = (low + high) / 2, max(high - low, low * (_LEAST_RANGE - 1)) / 2
    set_axis(figure, "y", range=[middle - 1.25 * half, middle + 1.25 * half])
