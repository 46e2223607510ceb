"""The empty figure and its axes, as plotly.js reads them: log scales with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from paca_bench.analyse.curves import Row
from paca_bench.report.quantities import Quantity
from paca_bench.report.theme import GRID, MUTED, PAPER, TEXT

Figure = dict[str, Any]

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def new_figure(y_title: str) -> Figure:
    """An empty figure with our fonts, colours and margins."""
    layout = {
        # No template: plotly.js would add its own colours.
        "template": {"data": {}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12, "color": TEXT},
        "margin": {"l": 8, "r": 42, "t": 34, "b": 8},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": TEXT},
        "showlegend": False,
        "height": 380,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": PAPER,
            "bordercolor": GRID,
            "font": {"color": TEXT},
            "align": "left",
        },
    }
    figure: Figure = {"data": [], "layout": layout}
    set_axis(figure, "x")
    set_axis(figure, "y", title=y_title)
    return figure


def set_axis(figure: Figure, name: str, title: str = "", **settings: Any) -> None:
    """Add settings, and a title if given, to the axis ``x`` or ``y``."""
    axis = figure["layout"].setdefault(
        f"{name}axis",
        {
            "gridcolor": GRID,
            "linecolor": GRID,
            "zeroline": False,
            "ticks": "outside",
            "tickcolor": GRID,
            "tickfont": {"color": TEXT, "size": 12},
            "automargin": True,
        },
    )
    axis.update(settings)
    if title:
        axis["title"] = {"text": title, "font": {"size": 12, "color": MUTED}, "standoff": 8}


def axis_title(title: str, unit: str) -> str:
    """``latency (ms)``; the title alone where there is no unit."""
    return f"{title} ({unit})" if unit else title


def log_range(quantity: Quantity, points: list[Row], size: float) -> tuple[float, float]:
    """Lowest and highest value, intervals included, with room, in display units."""
    values = [float(row[quantity.metric]) for row in points]
    for row in points:
        values += quantity.interval(row) or ()
    positive = [value for value in values if value > 0] or [1.0]
    return min(positive) / size / 1.35, max(positive) / size * 1.35


def log_x(figure: Figure, ticks: Mapping[float, str], title: str, end: float = 0.0) -> None:
    """Ticks where the data are, as many as have room; ``end`` extends the axis."""
    values = sorted(ticks)
    last = max(values[-1], end)
    room = max(0.05 * math.log10(last / values[0]), 0.03)
    shown = _spread(values)
    set_axis(
        figure,
        "x",
        type="log",
        title=title,
        tickmode="array",
        tickvals=shown,
        ticktext=[ticks[value] for value in shown],
        range=[math.log10(values[0]) - room, math.log10(last) + room],
    )


def log_y(figure: Figure, bottom: float, top: float) -> None:
    """A log axis from ``bottom`` to ``top``, with round ticks."""
    set_axis(
        figure,
        "y",
        type="log",
        range=[math.log10(bottom), math.log10(top)],
        **one_two_five([bottom, top]),
    )


def _spread(values: list[float], share: float = 0.085) -> list[float]:
    """The sorted values whose labels have room on a log axis; first and last always."""
    gap = share * math.log(values[-1] / values[0])
    shown = [values[0]]
    for value in values[1:-1]:
        if math.log(value / shown[-1]) >= gap and math.log(values[-1] / value) >= gap:
            shown.append(value)
    return shown + ([values[-1]] if len(values) > 1 else [])


def one_two_five(values: Iterable[float]) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 times powers of ten; at the powers alone over three decades.

    Over part of a decade at more of their multiples.
    """
    ordered = sorted(value for value in values if value > 0)
    first, last = math.floor(math.log10(ordered[0])) - 1, math.ceil(math.log10(ordered[-1])) + 1
    decades = math.log10(ordered[-1] / ordered[0])
    steps: tuple[float, ...] = (1,) if decades > 3 else (1, 2, 5)
    if 0.15 < decades < 1:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return {"tickmode": "array", "tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}
