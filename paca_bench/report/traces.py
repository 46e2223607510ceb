"""What is drawn in a figure: curves, intervals, open markers, guides.

Text from users (labels, run names, reasons) reaches plotly only HTML-escaped, because plotly
reads a subset of HTML in its texts.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from paca_bench.analyse.curves import Row, resolution_text
from paca_bench.analyse.wording import probability_text
from paca_bench.report.places import ending, is_number, plain
from paca_bench.report.plot_axes import Figure
from paca_bench.report.quantities import Quantity, pair_of, with_interval
from paca_bench.report.theme import MUTED, Style
from paca_bench.units import format_percent

Trace = dict[str, Any]
Styles = Mapping[str, Style]
Dashes = Mapping[str, str]

HOVER = "%{customdata}<extra></extra>"


def scatter(**properties: Any) -> Trace:
    """A plotly scatter trace."""
    return {"type": "scatter", **properties}


def position(row: Row, styles: Styles, dashes: Dashes) -> tuple[int, int]:
    """A row's place in the order of the report: by label, then by run."""
    return list(styles).index(row["label"]), list(dashes).index(row["run"])


def by_curve(rows: list[Row], styles: Styles, dashes: Dashes) -> dict[tuple[str, str], list[Row]]:
    """Rows by label and run, in the report's order, each by resolution."""
    curves: dict[tuple[str, str], list[Row]] = {}
    ordered = sorted(rows, key=lambda r: (*position(r, styles, dashes), float(r["resolution"])))
    for row in ordered:
        curves.setdefault((row["label"], row["run"]), []).append(row)
    return curves


def curve_trace(
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
    return scatter(
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
        hovertemplate=HOVER,
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


def censored_trace(
    label: str, run: str, rows: list[Row], quantity: Quantity, edge: float, styles: Styles
) -> Trace:
    """Open markers at the top edge for what was not measured, the reason on hover."""
    style = styles[label]
    return scatter(
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
        hovertemplate=HOVER,
        cliponaxis=False,
        meta={"labels": [label] * len(rows), "run": run, "censored": True},
    )


def reference_trace(
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
    return scatter(
        x=list(span),
        y=[value / size] * 2,
        mode="lines+markers",
        name=escape(row["label"]),
        line={"color": style.color, "width": 1, "dash": "dash"},
        marker={"symbol": style.marker, "color": style.color, "size": 8, "opacity": [0, 1]},
        error_y=_error([value] * 2, [None, quantity.interval(row)], size, style.color),
        customdata=[text, text],
        hovertemplate=HOVER,
        cliponaxis=False,
        meta={"labels": [row["label"]] * 2, "run": run},
    )


def add_guides(figure: Figure, points: list[Row], quantity: Quantity, size: float) -> None:
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
            scatter(
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


def front_trace(row: Row, cost: Quantity, size: float, styles: Styles, left: bool) -> Trace:
    """One mechanism's accuracy against a cost, with both intervals, faint if off the front.

    Its name stands to the ``left`` of it, or to the right.
    """
    style, value, accuracy = styles[row["label"]], float(row["cost"]), float(row["accuracy"])
    probability = float(row["front_probability"])
    chance, off = probability_text(probability), row["front_verdict"] == "off"
    text = (
        f"<b>{escape(row['label'])}</b><br>{escape(row['run'])}<br>"
        f"{cost.axis} {with_interval(cost.text, value, _pair(row, 'cost'))}<br>"
        f"accuracy {with_interval(format_percent, accuracy, _pair(row, 'accuracy'))}<br>"
        f"on the Pareto front with probability {escape(chance)}"
    )
    return scatter(
        x=[value / size],
        y=[100 * accuracy],
        mode="markers+text",
        name=escape(row["label"]),
        marker={
            "symbol": f"{style.marker}-open" if off else style.marker,
            "color": style.color,
            "size": 8 + 6 * probability,
            "opacity": 0.45 + 0.55 * probability,
            "line": {"width": 2, "color": style.color},
        },
        text=[f"{escape(row['label'])} {escape(chance)}"],
        textposition="top left" if left else "top right",
        cliponaxis=False,
        textfont={"color": style.color, "size": 12},
        error_x=_error([value], [_pair(row, "cost")], size, style.color),
        error_y=_error([accuracy], [_pair(row, "accuracy")], 0.01, style.color),
        customdata=[text],
        hovertemplate=HOVER,
        meta={
            "labels": [row["label"]],
            "run": row["run"],
            "on_front": bool(row["on_front"]),
            "front_probability": probability,
        },
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
