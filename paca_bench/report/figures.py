"""The figures, one function each: plotly ``data`` and ``layout`` in the light scheme's colours.

Text from users (labels, run names, reasons) reaches plotly only HTML-escaped, because plotly
reads a subset of HTML in its texts.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from paca_bench.analyse.curves import Row, resolution_text
from paca_bench.report.places import ending, is_censored, is_number, plain
from paca_bench.report.quantities import (
    ACCURACY,
    LATENCIES,
    Quantity,
    pair_of,
    rows_of,
    with_interval,
)
from paca_bench.report.theme import GRID, MUTED, PAPER, TEXT, Style
from paca_bench.units import format_percent, format_seconds

# As plotly.js reads them. Made without ``plotly.graph_objects``, whose checks cost more than
# all the rest of a report with hundreds of figures; the tests put every figure through them.
Figure = dict[str, Any]
Trace = dict[str, Any]

Styles = Mapping[str, Style]
Dashes = Mapping[str, str]

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_HOVER = "%{customdata}<extra></extra>"


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
    figure = _figure(_axis_title(quantity.axis, unit))
    bottom, top = _log_range(quantity, points, size)
    missing = [row for row in rows if is_censored(row, quantity.group)]
    edge = top * 1.15 if missing else top
    _log_x(
        figure,
        {float(row["resolution"]): resolution_text(row) for row in rows},
        "image side (pixels)",
    )
    _log_y(figure, bottom, edge)
    _add_guides(figure, points, quantity, size)
    for (label, run), curve in _curves(points, styles, dashes).items():
        figure["data"].append(_curve(label, run, curve, quantity, size, styles, dashes))
    for (label, run), curve in _curves(missing, styles, dashes).items():
        figure["data"].append(_censored(label, run, curve, quantity, edge, styles))
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
    figure = _figure(_axis_title(quantity.axis, unit))
    counts = sorted({float(row["num_clusters"]) for row in clustered})
    others = sorted(
        (row for row in points if not _has_clusters(row)),
        key=lambda row: _position(row, styles, dashes),
    )
    lane = _lane(counts, len(others))
    ticks = {count: f"{count:.0f}" for count in counts}
    if others:
        ticks[lane[len(lane) // 2]] = "no clusters"
    _log_x(figure, ticks, "clusters M", end=lane[-1] if lane else counts[-1])
    if quantity is not ACCURACY:
        _log_y(figure, *_log_range(quantity, points, size))
    for row, end in zip(others, lane, strict=True):
        figure["data"].append(_reference(row, quantity, size, (counts[0], end), styles, dashes))
    families: dict[tuple[str, str, str], list[Row]] = {}
    for row in sorted(clustered, key=lambda row: float(row["num_clusters"])):
        family = (str(row["mechanism"]), str(row["options"]), str(row["run"]))
        families.setdefault(family, []).append(row)
    for (mechanism, _, run), family_rows in families.items():
        trace = _curve(
            mechanism, run, family_rows, quantity, size, styles, dashes, x="num_clusters"
        )
        figure["data"].append(trace)
    return figure


def front_figure(front: list[Row], mode: str, styles: Styles, dashes: Dashes) -> Figure:
    """Accuracy against latency, with intervals both ways and the Pareto front as a step line.

    Args:
        front: rows of ``analyse.pareto.front_table`` that may be compared with each other.
        mode: ``forward`` or ``train``: which latency it is.
        styles: label -> style.
        dashes: run -> dash of its front.
    """
    latency = LATENCIES[mode]
    size, unit = latency.unit(float(row["cost"]) for row in front)
    figure = _figure(_axis_title("accuracy", "%"))
    figure["layout"]["height"] = 460
    _set_axis(
        figure,
        "x",
        title=_axis_title(latency.title.lower(), unit),
        type="log",
        **_one_two_five([float(row["cost"]) / size for row in front]),
    )
    ordered = sorted(front, key=lambda row: float(row["cost"]))
    for run in dashes:
        best = [row for row in ordered if row["run"] == run and row["on_front"]]
        if best:
            figure["data"].append(
                _scatter(
                    x=[row["cost"] / size for row in best],
                    y=[100 * row["accuracy"] for row in best],
                    line={"color": MUTED, "width": 1.5, "shape": "hv", "dash": dashes[run]},
                    mode="lines",
                    name="Pareto front",
                    hoverinfo="skip",
                    meta={"front": True},
                )
            )
    for row in sorted(front, key=lambda row: _position(row, styles, dashes)):
        figure["data"].append(_front_point(row, size, styles))
    return figure


def _has_clusters(row: Row) -> bool:
    """False also for M = 0, which stands for attention without clustering."""
    return is_number(row["num_clusters"]) and row["num_clusters"] > 0


def _figure(y_title: str) -> Figure:
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
    _set_axis(figure, "x")
    _set_axis(figure, "y", title=y_title)
    return figure


def _set_axis(figure: Figure, name: str, title: str = "", **settings: Any) -> None:
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


def _scatter(**properties: Any) -> Trace:
    return {"type": "scatter", **properties}


def _axis_title(title: str, unit: str) -> str:
    return f"{title} ({unit})" if unit else title


def _log_range(quantity: Quantity, points: list[Row], size: float) -> tuple[float, float]:
    """Lowest and highest value, intervals included, with room, in display units."""
    values = [float(row[quantity.metric]) for row in points]
    for row in points:
        values += quantity.interval(row) or ()
    positive = [value for value in values if value > 0] or [1.0]
    return min(positive) / size / 1.35, max(positive) / size * 1.35


def _log_x(figure: Figure, ticks: Mapping[float, str], title: str, end: float = 0.0) -> None:
    """Ticks where the data are, as many as have room; ``end`` extends the axis."""
    values = sorted(ticks)
    last = max(values[-1], end)
    room = max(0.05 * math.log10(last / values[0]), 0.03)
    shown = _spread(values)
    _set_axis(
        figure,
        "x",
        type="log",
        title=title,
        tickmode="array",
        tickvals=shown,
        ticktext=[ticks[value] for value in shown],
        range=[math.log10(values[0]) - room, math.log10(last) + room],
    )


def _log_y(figure: Figure, bottom: float, top: float) -> None:
    _set_axis(
        figure,
        "y",
        type="log",
        range=[math.log10(bottom), math.log10(top)],
        **_one_two_five([bottom, top]),
    )


def _spread(values: list[float], share: float = 0.085) -> list[float]:
    """The sorted values whose labels have room on a log axis; first and last always."""
    gap = share * math.log(values[-1] / values[0])
    shown = [values[0]]
    for value in values[1:-1]:
        if math.log(value / shown[-1]) >= gap and math.log(values[-1] / value) >= gap:
            shown.append(value)
    return shown + ([values[-1]] if len(values) > 1 else [])


def _one_two_five(values: Iterable[float]) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 times powers of ten; at the powers alone over three decades."""
    ordered = sorted(value for value in values if value > 0)
    first, last = math.floor(math.log10(ordered[0])) - 1, math.ceil(math.log10(ordered[-1])) + 1
    steps = (1,) if math.log10(ordered[-1] / ordered[0]) > 3 else (1, 2, 5)
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return {"tickmode": "array", "tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}


def _position(row: Row, styles: Styles, dashes: Dashes) -> tuple[int, int]:
    return list(styles).index(row["label"]), list(dashes).index(row["run"])


def _curves(rows: list[Row], styles: Styles, dashes: Dashes) -> dict[tuple[str, str], list[Row]]:
    """Rows by label and run, in the report's order, each by resolution."""
    curves: dict[tuple[str, str], list[Row]] = {}
    ordered = sorted(rows, key=lambda r: (*_position(r, styles, dashes), float(r["resolution"])))
    for row in ordered:
        curves.setdefault((row["label"], row["run"]), []).append(row)
    return curves


def _curve(
    label: str,
    run: str,
    rows: list[Row],
    quantity: Quantity,
    size: float,
    styles: Styles,
    dashes: Dashes,
    x: str = "resolution",
) -> Trace:
    """A line through the rows; each marker in its own label's style."""
    own = [styles[row["label"]] for row in rows]
    one = len({style.color for style in own}) == 1
    color = own[0].color if one else MUTED
    values = [float(row[quantity.metric]) for row in rows]
    return _scatter(
        x=[float(row[x]) for row in rows],
        y=[value / size for value in values],
        mode="lines+markers",
        name=escape(label),
        line={"color": color, "width": 2, "dash": dashes[run]},
        marker={
            "symbol": [style.marker for style in own],
            "color": [style.color for style in own],
            "size": 8 if len(rows) <= 16 else 5,
        },
        error_y=_error(values, [quantity.interval(row) for row in rows], size, color),
        customdata=[_hover(row, run, dashes, quantity.describe(row)) for row in rows],
        hovertemplate=_HOVER,
        meta={"labels": [row["label"] for row in rows], "run": run},
    )


def _error(
    values: list[float], intervals: Sequence[tuple[float, float] | None], size: float, color: str
) -> dict[str, Any]:
    """Asymmetric error bars; empty where no value has an interval."""
    if not any(intervals):
        return {}
    pairs = [interval or (value, value) for interval, value in zip(intervals, values, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "color": color,
        "thickness": 1.3,
        "width": 3,
        "array": [(high - value) / size for (_, high), value in zip(pairs, values, strict=True)],
        "arrayminus": [(value - low) / size for (low, _), value in zip(pairs, values, strict=True)],
    }


def _censored(
    label: str, run: str, rows: list[Row], quantity: Quantity, edge: float, styles: Styles
) -> Trace:
    style = styles[label]
    return _scatter(
        x=[float(row["resolution"]) for row in rows],
        y=[edge] * len(rows),
        mode="markers",
        name=f"{escape(label)}: not measured",
        marker={
            "symbol": f"{style.marker}-open",
            "color": style.color,
            "size": 9,
            "line": {"width": 2, "color": style.color},
        },
        customdata=[
            f"<b>{escape(label)}</b><br>{_shape(row)}<br>not measured<br>"
            + _wrapped(ending(row, quantity.group))
            for row in rows
        ],
        hovertemplate=_HOVER,
        cliponaxis=False,
        meta={"labels": [label] * len(rows), "run": run, "censored": True},
    )


def _lane(counts: list[float], others: int) -> list[float]:
    """Places to the right of the largest M, evenly spaced on a log axis."""
    span = max(counts[-1] / counts[0], 2.0)
    return [counts[-1] * span ** (0.18 + 0.06 * i) for i in range(others)]


def _reference(
    row: Row,
    quantity: Quantity,
    size: float,
    span: tuple[float, float],
    styles: Styles,
    dashes: Dashes,
) -> Trace:
    """A horizontal line over ``span`` that ends in the label's marker and interval."""
    style, run, value = styles[row["label"]], row["run"], float(row[quantity.metric])
    text = _hover(row, run, dashes, quantity.describe(row))
    return _scatter(
        x=list(span),
        y=[value / size] * 2,
        mode="lines+markers",
        name=escape(row["label"]),
        line={"color": style.color, "width": 1, "dash": "dash"},
        marker={"symbol": style.marker, "color": style.color, "size": 8, "opacity": [0, 1]},
        error_y=_error([value] * 2, [None, quantity.interval(row)], size, style.color),
        customdata=[text, text],
        hovertemplate=_HOVER,
        cliponaxis=False,
        meta={"labels": [row["label"]] * 2, "run": run},
    )


def _add_guides(figure: Figure, points: list[Row], quantity: Quantity, size: float) -> None:
    """Dotted lines of growth with N and N² across the axes, named in the margin."""
    first = min(float(row["resolution"]) for row in points)
    if first == max(float(row["resolution"]) for row in points):
        return
    start = min(float(r[quantity.metric]) for r in points if float(r["resolution"]) == first)
    if start <= 0:
        return
    (_, right), (bottom, top) = (figure["layout"][axis]["range"] for axis in ("xaxis", "yaxis"))
    begin = (math.log10(first), (math.log10(start / size) + bottom) / 2)
    for power, name in ((2, "∝ N"), (4, "∝ N²")):
        # A text just outside the axes by rounding would be dropped.
        length = 0.999 * min(right - begin[0], (top - begin[1]) / power)
        end = (begin[0] + length, begin[1] + power * length)
        at_right = length > 0.99 * (right - begin[0])
        figure["data"].append(
            _scatter(
                x=[10 ** begin[0], 10 ** end[0]],
                y=[10 ** begin[1], 10 ** end[1]],
                mode="lines+text",
                text=["", name],
                name=name,
                textposition="middle right" if at_right else "top center",
                textfont={"color": MUTED, "size": 11},
                line={"color": MUTED, "width": 1, "dash": "dot"},
                hoverinfo="skip",
                showlegend=False,
                cliponaxis=False,
                meta={"guide": power // 2},
            )
        )


def _front_point(row: Row, size: float, styles: Styles) -> Trace:
    style, cost, accuracy = styles[row["label"]], float(row["cost"]), float(row["accuracy"])
    where = "on the Pareto front" if row["on_front"] else "dominated"
    text = (
        f"<b>{escape(row['label'])}</b> ({where})<br>{escape(row['run'])}<br>"
        f"latency {with_interval(format_seconds, cost, _pair(row, 'cost'))}<br>"
        f"accuracy {with_interval(format_percent, accuracy, _pair(row, 'accuracy'))}"
    )
    symbol = style.marker if row["on_front"] else f"{style.marker}-open"
    return _scatter(
        x=[cost / size],
        y=[100 * accuracy],
        mode="markers+text",
        name=escape(row["label"]),
        marker={
            "symbol": symbol,
            "color": style.color,
            "size": 12,
            "line": {"width": 2, "color": style.color},
        },
        text=[escape(row["label"])],
        textposition="top right",
        cliponaxis=False,
        textfont={"color": style.color, "size": 12},
        error_x=_error([cost], [_pair(row, "cost")], size, style.color),
        error_y=_error([accuracy], [_pair(row, "accuracy")], 0.01, style.color),
        customdata=[text],
        hovertemplate=_HOVER,
        meta={"labels": [row["label"]], "run": row["run"], "on_front": bool(row["on_front"])},
    )


def _pair(row: Row, name: str) -> tuple[float, float] | None:
    return pair_of(row, f"{name}_low", f"{name}_high")


def _hover(row: Row, run: str, dashes: Dashes, value: str) -> str:
    lines = [f"<b>{escape(row['label'])}</b>", _shape(row), value]
    if len(dashes) > 1:
        lines.insert(1, escape(run))
    kernel = plain(row.get("kernel_path"))
    if kernel and row["mode"] != "fit":
        lines.append(f"kernel: {escape(str(kernel))}")
    return "<br>".join(lines)


def _shape(row: Row) -> str:
    tokens = row["tokens"]
    known = f", N = {tokens:,.0f} tokens" if is_number(tokens) else ""
    return f"{resolution_text(row)} px{known}"


def _wrapped(text: str) -> str:
    return "<br>".join(escape(line) for line in textwrap.wrap(text, 48))
