"""The figures, one function each: plotly ``data`` and ``layout`` in the light scheme's colours.

They are made without ``plotly.graph_objects``, whose checks cost more than all the rest of a
report with hundreds of figures; the tests put every figure through them.
"""

from __future__ import annotations

import math

from paca_bench.analyse.curves import Row, resolution_text
from paca_bench.report.places import is_censored, is_number
from paca_bench.report.plot_axes import (
    Figure,
    axis_title,
    log_range,
    log_x,
    log_y,
    new_figure,
    one_two_five,
    set_axis,
)
from paca_bench.report.quantities import ACCURACY, Quantity, rows_of
from paca_bench.report.theme import MUTED
from paca_bench.report.traces import (
    Dashes,
    Styles,
    add_guides,
    by_curve,
    censored_trace,
    curve_trace,
    front_trace,
    position,
    reference_trace,
    scatter,
)


def scaling_figure(
    rows: list[Row], quantity: Quantity, styles: Styles, dashes: Dashes
) -> Figure | None:
    """One quantity against resolution on log-log axes, for all labels and runs of a place.

    Intervals are error bars; a point that was asked for and not measured is an open marker
    at the top edge with its reason on hover. Dotted guides show growth with N and with N².
    None where the place has no measured value.
    """
    rows = rows_of(rows, quantity)
    points = [row for row in rows if quantity.is_measured(row)]
    if not points:
        return None
    size, unit = quantity.unit(float(row[quantity.metric]) for row in points)
    figure = new_figure(axis_title(quantity.axis, unit))
    bottom, top = log_range(quantity, points, size)
    missing = [row for row in rows if is_censored(row, quantity.group)]
    edge = top * 1.15 if missing else top
    log_x(
        figure,
        {float(row["resolution"]): resolution_text(row) for row in rows},
        "image side (pixels)",
    )
    log_y(figure, bottom, edge)
    add_guides(figure, points, quantity, size)
    for (label, run), curve in by_curve(points, styles, dashes).items():
        figure["data"].append(curve_trace(label, run, curve, quantity, size, styles, dashes))
    for (label, run), curve in by_curve(missing, styles, dashes).items():
        figure["data"].append(censored_trace(label, run, curve, quantity, edge, styles))
    return figure


def clusters_figure(
    rows: list[Row], quantity: Quantity, styles: Styles, dashes: Dashes
) -> Figure | None:
    """One quantity against the number of clusters M, at one resolution of one place.

    Mechanisms without clusters are horizontal lines that end in a lane of their own at the
    right, with their interval there. None where no mechanism with clusters was measured.
    """
    points = [row for row in rows_of(rows, quantity) if quantity.is_measured(row)]
    clustered = [row for row in points if _has_clusters(row)]
    if not clustered:
        return None
    size, unit = quantity.unit(float(row[quantity.metric]) for row in points)
    figure = new_figure(axis_title(quantity.axis, unit))
    counts = sorted({float(row["num_clusters"]) for row in clustered})
    others = sorted(
        (row for row in points if not _has_clusters(row)),
        key=lambda row: position(row, styles, dashes),
    )
    lane = _lane(counts, len(others))
    ticks = {count: f"{count:.0f}" for count in counts}
    if others:
        ticks[lane[len(lane) // 2]] = "no clusters"
    log_x(figure, ticks, "clusters M", end=lane[-1] if lane else counts[-1])
    if quantity is not ACCURACY:
        log_y(figure, *log_range(quantity, points, size))
    for row, end in zip(others, lane, strict=True):
        figure["data"].append(
            reference_trace(row, quantity, size, (counts[0], end), styles, dashes)
        )
    families: dict[tuple[str, str, str], list[Row]] = {}
    for row in sorted(clustered, key=lambda row: float(row["num_clusters"])):
        family = (str(row["mechanism"]), str(row["options"]), str(row["run"]))
        families.setdefault(family, []).append(row)
    for (mechanism, _, run), family_rows in families.items():
        trace = curve_trace(
            mechanism, run, family_rows, quantity, size, styles, dashes, x="num_clusters"
        )
        figure["data"].append(trace)
    return figure


def front_figure(front: list[Row], cost: Quantity, styles: Styles, dashes: Dashes) -> Figure:
    """Accuracy against a cost, with intervals both ways, and the estimates' front as a step line.

    A point is the fainter, the less probable it is on the front; open where that is improbable.

    Args:
        front: rows of ``analyse.pareto.front_table`` that may be compared with each other.
        cost: which cost it is.
        styles: label -> style.
        dashes: run -> dash of its front.
    """
    size, unit = cost.unit(float(row["cost"]) for row in front)
    figure = new_figure(axis_title("accuracy", "%"))
    figure["layout"]["height"] = 460
    low, high = _cost_range(front, size)
    set_axis(
        figure,
        "x",
        title=axis_title(cost.in_sentence, unit),
        type="log",
        range=[math.log10(low), math.log10(high)],
        # Within so little plotly.js knows better ticks.
        **(one_two_five([low, high]) if high > 2 * low else {"nticks": 8}),
    )
    middle = math.sqrt(low * high)
    ordered = sorted(front, key=lambda row: float(row["cost"]))
    for run in dashes:
        best = [row for row in ordered if row["run"] == run and row["on_front"]]
        if best:
            figure["data"].append(
                scatter(
                    x=[row["cost"] / size for row in best],
                    y=[100 * row["accuracy"] for row in best],
                    line={"color": MUTED, "width": 1.5, "shape": "hv", "dash": dashes[run]},
                    mode="lines",
                    name="front of the estimates",
                    hoverinfo="skip",
                    meta={"front": True},
                )
            )
    for row in sorted(front, key=lambda row: position(row, styles, dashes)):
        left = float(row["cost"]) / size > middle
        figure["data"].append(front_trace(row, cost, size, styles, left))
    return figure


def _cost_range(front: list[Row], size: float) -> tuple[float, float]:
    """Lowest and highest cost, intervals included, with room on both sides."""
    names = ("cost", "cost_low", "cost_high")
    costs = [float(row[name]) / size for row in front for name in names if is_number(row[name])]
    positive = [cost for cost in costs if cost > 0]
    room = max((max(positive) / min(positive)) ** 0.08, 1.06)
    return min(positive) / room, max(positive) * room


def _has_clusters(row: Row) -> bool:
    """False also for M = 0, which stands for attention without clustering."""
    return is_number(row["num_clusters"]) and row["num_clusters"] > 0


def _lane(counts: list[float], others: int) -> list[float]:
    """Places to the right of the largest M, evenly spaced on a log axis."""
    span = max(counts[-1] / counts[0], 2.0)
    return [counts[-1] * span ** (0.18 + 0.06 * i) for i in range(others)]
