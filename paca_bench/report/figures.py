"""The figures, one function each, as plotly figures in the light scheme's colours.

Text from users (labels, run names, reasons) reaches plotly only HTML-escaped, because plotly
reads a subset of HTML in its texts.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from paca_bench.report.places import (
    Row,
    group_reason,
    is_censored,
    is_number,
    plain,
    resolution_text,
)
from paca_bench.report.quantities import LATENCIES, Quantity, rows_of, with_interval
from paca_bench.report.theme import GRID, MUTED, PAPER, TEXT, Style
from paca_bench.units import format_percent, format_seconds

Styles = Mapping[str, Style]
Dashes = Mapping[str, str]

_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_HOVER = "%{customdata}<extra></extra>"


def scaling_figure(
    rows: list[Row], quantity: Quantity, styles: Styles, dashes: Dashes
) -> go.Figure | None:
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
    figure = _figure(_axis_title(quantity.title, unit))
    sides = sorted({float(row["resolution"]) for row in rows})
    bottom, top = _log_range(quantity, points, size)
    missing = [row for row in rows if is_censored(row, quantity.group)]
    edge = top * 1.25 if missing else top
    _log_x(figure, {float(row["resolution"]): resolution_text(row) for row in rows},
           "image side (pixels)")
    _log_y(figure, bottom, edge * 1.12 if missing else edge)
    _add_guides(figure, sides, points, quantity, size, top)
    for (label, run), curve in _curves(points, styles, dashes).items():
        figure.add_trace(_curve(label, run, curve, quantity, size, styles, dashes))
    for (label, run), curve in _curves(missing, styles, dashes).items():
        figure.add_trace(_censored(label, run, curve, quantity, edge, styles))
    return figure


def clusters_figure(
    rows: list[Row], quantity: Quantity, styles: Styles, dashes: Dashes
) -> go.Figure | None:
    """One quantity against the number of clusters M, at one resolution of one place.

    Mechanisms without clusters are horizontal lines with their interval as a band. None
    where no mechanism with clusters was measured.
    """
    points = [row for row in rows_of(rows, quantity) if quantity.is_measured(row)]
    clustered = [row for row in points if _has_clusters(row)]
    if not clustered:
        return None
    size, unit = quantity.unit(float(row[quantity.metric]) for row in points)
    figure = _figure(_axis_title(quantity.title, unit))
    counts = sorted({float(row["num_clusters"]) for row in clustered})
    _log_x(figure, {count: f"{count:.0f}" for count in counts}, "clusters M")
    span = (counts[0] / 1.25, counts[-1] * 1.25)
    for row in sorted(points, key=lambda row: _position(row, styles, dashes)):
        if not _has_clusters(row):
            for trace in _reference(row, quantity, size, span, styles, dashes):
                figure.add_trace(trace)
    families: dict[tuple[str, str, str], list[Row]] = {}
    for row in sorted(clustered, key=lambda row: float(row["num_clusters"])):
        family = (str(row["mechanism"]), str(row["options"]), str(row["run"]))
        families.setdefault(family, []).append(row)
    for (mechanism, _, run), family_rows in families.items():
        trace = _curve(mechanism, run, family_rows, quantity, size, styles, dashes, x="num_clusters")
        figure.add_trace(trace)
    return figure


def front_figure(
    front: list[Row], run_of: Sequence[str], mode: str, styles: Styles, dashes: Dashes
) -> go.Figure:
    """Accuracy against latency, with intervals both ways and the Pareto front as a step line.

    Args:
        front: rows of ``analyse.pareto.front_table`` at one resolution.
        run_of: the run of each row.
        mode: ``forward`` or ``train``: which latency it is.
        styles: label -> style.
        dashes: run -> dash of its front.
    """
    latency = LATENCIES[mode]
    size, unit = latency.unit(float(row["cost"]) for row in front)
    figure = _figure(_axis_title("accuracy (test top-1)", "%"), legend_top=True)
    figure.update_xaxes(title_text=_axis_title(latency.title.lower(), unit), type="log",
                        **_one_two_five([float(row["cost"]) / size for row in front]))
    for run in dict.fromkeys(run_of):
        best = sorted(
            (row for row, name in zip(front, run_of, strict=True)
             if name == run and row["on_front"]),
            key=lambda row: float(row["cost"]),
        )
        figure.add_trace(go.Scatter(
            x=[row["cost"] / size for row in best], y=[100 * row["accuracy"] for row in best],
            mode="lines", line={"color": MUTED, "width": 1.5, "shape": "hv", "dash": dashes[run]},
            name="Pareto front", hoverinfo="skip", meta={"front": True},
        ))
    for row, run in zip(front, run_of, strict=True):
        figure.add_trace(_front_point(row, run, size, styles))
    return figure


def _has_clusters(row: Row) -> bool:
    """False also for M = 0, which stands for attention without clustering."""
    return is_number(row["num_clusters"]) and row["num_clusters"] > 0


def _figure(y_title: str, legend_top: bool = False) -> go.Figure:
    axis = {
        "gridcolor": GRID, "linecolor": GRID, "zeroline": False, "ticks": "outside",
        "tickcolor": GRID, "tickfont": {"color": TEXT, "size": 12}, "automargin": True,
        "title": {"font": {"size": 12, "color": MUTED}, "standoff": 8},
    }
    figure = go.Figure(layout={
        "template": {"data": {}}, "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)", "font": {"family": _FONT, "size": 12, "color": TEXT},
        "margin": {"l": 8, "r": 14, "t": 14, "b": 8}, "showlegend": False, "height": 360,
        "hovermode": "closest", "hoverlabel": {"bgcolor": PAPER, "bordercolor": GRID,
                                               "font": {"color": TEXT}, "align": "left"},
        "xaxis": axis, "yaxis": axis,
    })
    figure.update_yaxes(title_text=y_title)
    if legend_top:
        figure.update_layout(height=440)
    return figure


def _axis_title(title: str, unit: str) -> str:
    return f"{title} ({unit})" if unit else title


def _log_range(quantity: Quantity, points: list[Row], size: float) -> tuple[float, float]:
    """Lowest and highest value, intervals included, with room, in display units."""
    values = [float(row[quantity.metric]) for row in points]
    for row in points:
        values += quantity.interval(row) or ()
    positive = [value for value in values if value > 0] or [1.0]
    return min(positive) / size / 1.35, max(positive) / size * 1.35


def _log_x(figure: go.Figure, ticks: Mapping[float, str], title: str) -> None:
    values = sorted(ticks)
    room = max(0.07 * math.log10(values[-1] / values[0]), 0.05)
    shown = _spread(values)
    figure.update_xaxes(
        type="log", title_text=title, tickmode="array", tickvals=shown,
        ticktext=[ticks[value] for value in shown],
        range=[math.log10(values[0]) - room, math.log10(values[-1]) + room],
    )


def _log_y(figure: go.Figure, bottom: float, top: float) -> None:
    figure.update_yaxes(type="log", range=[math.log10(bottom), math.log10(top)],
                        **_one_two_five([bottom, top]))


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


def _curves(
    rows: list[Row], styles: Styles, dashes: Dashes
) -> dict[tuple[str, str], list[Row]]:
    """Rows by label and run, in the report's order, each by resolution."""
    curves: dict[tuple[str, str], list[Row]] = {}
    ordered = sorted(rows, key=lambda r: (*_position(r, styles, dashes), float(r["resolution"])))
    for row in ordered:
        curves.setdefault((row["label"], row["run"]), []).append(row)
    return curves


def _curve(
    label: str, run: str, rows: list[Row], quantity: Quantity, size: float,
    styles: Styles, dashes: Dashes, x: str = "resolution",
) -> go.Scatter:
    """A line through the rows; each marker in its own label's style."""
    own = [styles[row["label"]] for row in rows]
    one = len({style.color for style in own}) == 1
    color = own[0].color if one else MUTED
    values = [float(row[quantity.metric]) for row in rows]
    return go.Scatter(
        x=[float(row[x]) for row in rows],
        y=[value / size for value in values],
        mode="lines+markers",
        name=escape(label),
        line={"color": color, "width": 2, "dash": dashes[run]},
        marker={"symbol": [style.marker for style in own],
                "color": [style.color for style in own], "size": 8},
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
        "type": "data", "symmetric": False, "color": color, "thickness": 1.3, "width": 3,
        "array": [(high - value) / size for (_, high), value in zip(pairs, values, strict=True)],
        "arrayminus": [(value - low) / size for (low, _), value in zip(pairs, values, strict=True)],
    }


def _censored(
    label: str, run: str, rows: list[Row], quantity: Quantity, edge: float, styles: Styles
) -> go.Scatter:
    style = styles[label]
    return go.Scatter(
        x=[float(row["resolution"]) for row in rows],
        y=[edge] * len(rows),
        mode="markers",
        name=f"{escape(label)}: not measured",
        marker={"symbol": f"{style.marker}-open", "color": style.color, "size": 9,
                "line": {"width": 2}},
        customdata=[
            f"<b>{escape(label)}</b><br>{_shape(row)}<br>not measured<br>"
            + _wrapped(group_reason(row, quantity.group))
            for row in rows
        ],
        hovertemplate=_HOVER,
        cliponaxis=False,
        meta={"labels": [label] * len(rows), "run": run, "censored": True},
    )


def _reference(
    row: Row, quantity: Quantity, size: float, span: tuple[float, float],
    styles: Styles, dashes: Dashes,
) -> list[go.Scatter]:
    """A horizontal line over ``span``, with a band where there is an interval."""
    style, run, value = styles[row["label"]], row["run"], float(row[quantity.metric]) / size
    text = _hover(row, run, dashes, quantity.describe(row))
    line = go.Scatter(
        x=list(span), y=[value, value], mode="lines+markers", name=escape(row["label"]),
        line={"color": style.color, "width": 1.5, "dash": "dash"},
        marker={"symbol": style.marker, "color": style.color, "size": 8},
        customdata=[text, text], hovertemplate=_HOVER, cliponaxis=False,
        meta={"labels": [row["label"]] * 2, "run": run},
    )
    interval = quantity.interval(row)
    if interval is None:
        return [line]
    low, high = interval[0] / size, interval[1] / size
    band = go.Scatter(
        x=[span[0], span[1], span[1], span[0]], y=[low, low, high, high], mode="lines",
        fill="toself", fillcolor=style.color, line={"width": 0, "color": style.color},
        opacity=0.13, hoverinfo="skip", showlegend=False,
        meta={"labels": [row["label"]] * 4, "run": run},
    )
    return [band, line]


def _add_guides(
    figure: go.Figure, sides: list[float], points: list[Row], quantity: Quantity,
    size: float, top: float,
) -> None:
    """Dotted lines of growth with N and N², from below the lowest curve's first point."""
    if len(sides) < 2:
        return
    first, last = sides[0], sides[-1]
    starts = [float(r[quantity.metric]) for r in points if float(r["resolution"]) == first]
    if not starts or min(starts) <= 0:
        return
    start = min(starts) / size / 1.2
    for power, name in ((2, "∝ N"), (4, "∝ N²")):
        end = min(last, first * (top / start) ** (1 / power))
        figure.add_trace(go.Scatter(
            x=[first, end], y=[start, start * (end / first) ** power], mode="lines+text",
            text=["", name], textposition="bottom right" if end < last else "bottom left",
            textfont={"color": MUTED, "size": 11},
            line={"color": MUTED, "width": 1, "dash": "dot"}, hoverinfo="skip",
            showlegend=False, cliponaxis=False, name=name, meta={"guide": power // 2},
        ))


def _front_point(row: Row, run: str, size: float, styles: Styles) -> go.Scatter:
    style, cost, accuracy = styles[row["label"]], float(row["cost"]), float(row["accuracy"])
    where = "on the Pareto front" if row["on_front"] else "dominated"
    text = (
        f"<b>{escape(row['label'])}</b> ({where})<br>{escape(run)}<br>"
        f"latency {with_interval(format_seconds, cost, _pair(row, 'cost'))}<br>"
        f"accuracy {with_interval(format_percent, accuracy, _pair(row, 'accuracy'))}"
    )
    symbol = style.marker if row["on_front"] else f"{style.marker}-open"
    return go.Scatter(
        x=[cost / size], y=[100 * accuracy], mode="markers", name=escape(row["label"]),
        marker={"symbol": symbol, "color": style.color, "size": 12, "line": {"width": 2}},
        error_x=_error([cost], [_pair(row, "cost")], size, style.color),
        error_y=_error([accuracy], [_pair(row, "accuracy")], 0.01, style.color),
        customdata=[text], hovertemplate=_HOVER,
        meta={"labels": [row["label"]], "run": run, "on_front": bool(row["on_front"])},
    )


def _pair(row: Row, name: str) -> tuple[float, float] | None:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return (float(low), float(high)) if is_number(low) and is_number(high) else None


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

