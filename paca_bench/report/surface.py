"""Accuracy over resolution and number of clusters, as a map of cells with their numbers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from paca_bench.analyse.curves import Row, groups, records, resolution_text
from paca_bench.report.charts import Chart, Choices
from paca_bench.report.places import ending, is_censored
from paca_bench.report.plot_axes import Figure, new_figure, set_axis
from paca_bench.report.quantities import ACCURACY
from paca_bench.report.theme import GRID, MUTED
from paca_bench.report.traces import HOVER, scatter
from paca_bench.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

_AXES = ("run", "level", "host", "mechanism", "options", "batch", "dtype", "device", "execution")
# Cividis (Nunez, Anderton and Renslow, 2018): the same order with and without colour blindness,
# and in both schemes of the page. Text is light below the middle and dark above it.
_SCALE = (
    (0.0, "#00306F"),
    (0.25, "#404C6C"),
    (0.5, "#7C7B78"),
    (0.75, "#BBAF71"),
    (1.0, "#FEE838"),
)
_LIGHT_TEXT, _DARK_TEXT = "#FDFDFD", "#101418"


def surfaces(frame: pd.DataFrame) -> Choices:
    """A map per run, host and mechanism that was trained at two resolutions and M or more."""
    charts: list[Chart] = []
    several = frame["run"].nunique() > 1
    trained = frame[(frame["mode"] == "fit") & (frame["num_clusters"] > 0)]
    trained = trained[trained["accuracy_status"].notna()]
    for axes, rows in groups(trained, _AXES):
        cells = records(rows)
        known = [cell for cell in cells if ACCURACY.is_measured(cell)]
        if min(len({cell[axis] for cell in known}) for axis in ("resolution", "num_clusters")) < 2:
            continue
        where = f"host {axes['host']}" if axes["host"] else "model"
        options = "" if axes["options"] in ("", "{}") else f" {axes['options']}"
        title = f"{axes['mechanism']}{options}, {where}"
        title += f", run {axes['run']}" if several else ""
        charts.append(Chart(f"surface-{len(charts)}", title, surface_figure(cells)))
    return Choices(charts)


def surface_figure(cells: list[Row]) -> Figure:
    """Accuracy of each resolution (upwards) and M (to the right), its half-width below it.

    A cell without a value says how its training ended, or that none was asked for.

    Args:
        cells: trainings of one mechanism, at least one of which was measured.
    """
    sides = {float(cell["resolution"]): resolution_text(cell) for cell in cells}
    counts = sorted({float(cell["num_clusters"]) for cell in cells})
    found = {(float(cell["resolution"]), float(cell["num_clusters"])): cell for cell in cells}
    values = [float(cell["accuracy"]) for cell in cells if ACCURACY.is_measured(cell)]
    low, high = min(values), max(values)
    columns = [f"{count:.0f}" for count in counts]
    rows = [sides[side] for side in sorted(sides)]
    grid = [[_value(found.get((side, count))) for count in counts] for side in sorted(sides)]
    figure = new_figure("image side (pixels)")
    figure["layout"]["height"] = 120 + 70 * max(len(rows), 3)
    set_axis(figure, "x", title="clusters M", type="category", showgrid=False)
    set_axis(figure, "y", type="category", showgrid=False)
    figure["data"].append(
        {
            "type": "heatmap",
            "x": columns,
            "y": rows,
            "z": grid,
            "zmin": 100 * low,
            # A map of equal values has a range all the same.
            "zmax": 100 * max(high, low + 1e-3),
            "colorscale": [list(step) for step in _SCALE],
            "colorbar": {
                "title": {"text": "accuracy (%)", "font": {"size": 12, "color": MUTED}},
                "thickness": 12,
                "outlinecolor": GRID,
            },
            "xgap": 2,
            "ygap": 2,
            "hoverinfo": "skip",
            "meta": {"surface": True},
        }
    )
    places = [(side, count) for side in sorted(sides) for count in counts]
    shown = [found.get(place) for place in places]
    figure["data"].append(
        scatter(
            x=[f"{count:.0f}" for _, count in places],
            y=[sides[side] for side, _ in places],
            mode="text",
            text=[_text(cell) for cell in shown],
            textfont={"size": 12, "color": [_ink(cell, low, high) for cell in shown]},
            customdata=[
                _hover(cell, sides[s], c) for cell, (s, c) in zip(shown, places, strict=True)
            ],
            hovertemplate=HOVER,
            showlegend=False,
            meta={"surface": True},
        )
    )
    return figure


def _value(cell: Row | None) -> float | None:
    return 100 * float(cell["accuracy"]) if cell and ACCURACY.is_measured(cell) else None


def _text(cell: Row | None) -> str:
    if cell is None:
        return "not asked for"
    if not ACCURACY.is_measured(cell):
        return "<br>".join(escape(str(cell["accuracy_status"])).split("_"))
    value, interval = float(cell["accuracy"]), ACCURACY.interval(cell)
    text = f"<b>{format_percent(value).rstrip('%')}</b>"
    if interval is None:
        return text
    return f"{text}<br>±{100 * max(interval[1] - value, value - interval[0]):.1f}"


def _ink(cell: Row | None, low: float, high: float) -> str:
    value = _value(cell)
    if value is None:
        return MUTED
    return _LIGHT_TEXT if value / 100 < (low + max(high, low + 1e-3)) / 2 else _DARK_TEXT


def _hover(cell: Row | None, side: str, count: float) -> str:
    where = f"{side} px, M={count:.0f}"
    if cell is None:
        return f"{where}<br>no training was asked for"
    head = f"<b>{escape(str(cell['label']))}</b><br>{side} px<br>"
    if ACCURACY.is_measured(cell):
        return head + ACCURACY.describe(cell)
    why = ending(cell, "accuracy") if is_censored(cell, "accuracy") else "no value"
    return head + "not measured<br>" + escape(why)
