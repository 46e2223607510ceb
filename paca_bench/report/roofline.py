"""How close to its device's limits each case ran: achieved rate against arithmetic intensity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from paca_bench.analyse.curves import Row, resolution_text
from paca_bench.complexity.roofline import Ceilings
from paca_bench.report.charts import Chart, Choices
from paca_bench.report.drawn import Drawn
from paca_bench.report.places import is_measured, is_number
from paca_bench.report.plot_axes import (
    Figure,
    axis_title,
    new_figure,
    one_two_five,
    set_axis,
)
from paca_bench.report.theme import MUTED
from paca_bench.report.traces import HOVER, Dashes, Styles, Trace, by_curve, scatter
from paca_bench.units import format_bytes, format_count, format_percent, format_seconds, significant

_UNITS = ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1e6, "MFLOP/s"))
_ROOM = 1.6


def run_ceilings(header: Mapping[str, Any]) -> Ceilings | None:
    """The ceilings measured with a run; None where there are none, or in an older form."""
    found = (header.get("environment") or {}).get("ceilings")
    if not isinstance(found, Mapping):
        return None
    try:
        ceilings = Ceilings.from_json(found)
    except (KeyError, TypeError, ValueError):
        return None
    return ceilings if ceilings.bytes_per_s and ceilings.macs_per_s else None


def roofline(
    drawn: Drawn, ceilings: Mapping[str, Ceilings], styles: Styles, dashes: Dashes
) -> Choices:
    """A chart per place and mode of the runs whose ceilings are known, by run name."""
    charts: list[Chart] = []
    weights: list[tuple[bool, bool, int]] = []
    for place in drawn.places:
        for mode, rows in place.by_mode().items():
            points = [row for row in rows if row["run"] in ceilings and _is_point(row)]
            if not points:
                continue
            figure = roofline_figure(points, ceilings, styles, dashes)
            charts.append(
                Chart(
                    f"roofline-{len(charts)}",
                    f"{place.title}, {mode}",
                    figure,
                    caption=" ".join([*_copies(ceilings, dashes), *_above(points)]),
                )
            )
            weights.append((place.level == "host", mode == "forward", len(points)))
    best = max(range(len(charts)), key=weights.__getitem__) if charts else 0
    return Choices(charts, best)


def roofline_figure(
    points: list[Row],
    ceilings: Mapping[str, Ceilings],
    styles: Styles,
    dashes: Dashes,
) -> Figure:
    """FLOP/s against FLOPs per byte on log-log axes, below the roofs of the device.

    The points are of one place and mode.
    """
    cast = points[0].get("autocast", "none")
    dtype = str(points[0]["dtype"] if cast == "none" else cast)
    used = {run: ceilings[run] for run in dashes if any(row["run"] == run for row in points)}
    intensities = [float(row["intensity_flops_per_byte"]) for row in points]
    rates = [_rate(row) for row in points]
    ridges = [
        2 * one.macs_per_s[dtype] / rate
        for one in used.values()
        if one.macs_per_s.get(dtype)
        for *_, rate in _slopes(one)
    ]
    peaks = [2 * one.macs_per_s[dtype] for one in used.values() if one.macs_per_s.get(dtype)]
    size, unit = next((u for u in _UNITS if max(*rates, *peaks, 0.0) >= u[0]), _UNITS[-1])
    left = min(intensities + ridges) / _ROOM
    right = max(intensities + ridges) * _ROOM
    bottom, top = min(rates) / size / _ROOM, max(rates + peaks) / size * _ROOM
    figure = new_figure(axis_title("achieved", unit))
    figure["layout"]["height"] = 460
    for name, ends, title in (("x", (left, right), "FLOPs per byte"), ("y", (bottom, top), "")):
        logs = [math.log10(end) for end in ends]
        set_axis(figure, name, title, type="log", range=logs, **one_two_five(ends))
    for run, one in used.items():
        figure["data"] += _roofs(one, dtype, (left, right), bottom, size, dashes[run])
    for (label, run), curve in by_curve(points, styles, dashes).items():
        figure["data"].append(_points(label, run, curve, size, styles, dashes))
    return figure


def _is_point(row: Row) -> bool:
    return is_measured(row, "latency_s", "latency") and is_number(
        row.get("intensity_flops_per_byte")
    )


def _rate(row: Row) -> float:
    """FLOP/s that one call achieved: two a multiply-accumulate, of all its images."""
    macs = row["macs"] + (row["backward_macs"] if row["mode"] != "forward" else 0)
    return float(2 * row["batch"] * macs / row["latency_s"])


def _slopes(ceilings: Ceilings) -> list[tuple[str, int, float]]:
    """Name, bytes and bytes a second of the largest copy, and of the fastest if it is faster."""
    largest, memory = ceilings.bytes_per_s[-1]
    size, cache = max(ceilings.bytes_per_s, key=lambda point: point[1])
    named = [("memory", largest, memory)]
    if cache > 1.05 * memory:
        named.append(("cache", size, cache))
    return named


def _roofs(
    ceilings: Ceilings,
    dtype: str,
    span: tuple[float, float],
    bottom: float,
    size: float,
    dash: str,
) -> list[Trace]:
    left, right = span
    peak = 2 * ceilings.macs_per_s.get(dtype, math.inf)
    traces = []
    for name, _, rate in _slopes(ceilings):
        start, end = max(left, bottom * size / rate), min(peak / rate, right)
        x = [start, math.sqrt(start * end), end]
        text = ["", f"{name} {format_count(rate, 'B/s')}", ""]
        traces.append(_roof(x, [rate * at / size for at in x], text, "bottom right", dash))
    if math.isfinite(peak):
        start = peak / max(rate for *_, rate in _slopes(ceilings))
        text = ["", f"{dtype} products {format_count(peak, 'FLOP/s')}"]
        traces.append(_roof([start, right], [peak / size] * 2, text, "top left", dash))
    return traces


def _roof(x: list[float], y: list[float], text: list[str], where: str, dash: str) -> Trace:
    return scatter(
        x=x,
        y=y,
        mode="lines+text",
        name=max(text, key=len),
        text=text,
        textposition=where,
        textfont={"color": MUTED, "size": 11},
        line={"color": MUTED, "width": 1.5, "dash": dash},
        hoverinfo="skip",
        meta={"roof": True},
    )


def _points(
    label: str,
    run: str,
    rows: list[Row],
    size: float,
    styles: Styles,
    dashes: Dashes,
) -> Trace:
    style = styles[label]
    return scatter(
        x=[float(row["intensity_flops_per_byte"]) for row in rows],
        y=[_rate(row) / size for row in rows],
        mode="lines+markers",
        name=escape(label),
        line={"color": style.color, "width": 1, "dash": dashes[run]},
        marker={
            "symbol": style.marker,
            "color": style.color,
            "size": 8 if len(rows) <= 16 else 5,
        },
        customdata=[_hover(row, run, dashes) for row in rows],
        hovertemplate=HOVER,
        meta={"labels": [label] * len(rows), "run": run},
    )


def _hover(row: Row, run: str, dashes: Dashes) -> str:
    lines = [f"<b>{escape(row['label'])}</b>"]
    if len(dashes) > 1:
        lines.append(escape(run))
    lines += [
        f"{resolution_text(row)} px",
        f"{format_count(_rate(row), 'FLOP/s')} at "
        f"{significant(row['intensity_flops_per_byte'])} FLOPs a byte",
    ]
    if is_number(row["roof_share"]):
        bound = format_seconds(row["bound_s"]) if is_number(row["bound_s"]) else "unknown"
        lines.append(
            f"{format_percent(row['roof_share'])} of its roof: "
            f"{format_seconds(row['latency_s'])}, at least {bound}"
        )
    return "<br>".join(lines)


def _copies(ceilings: Mapping[str, Ceilings], dashes: Dashes) -> list[str]:
    """Of which size the copies were that the slopes are named by."""
    texts = []
    for run, one in ceilings.items():
        of_run = f"of run {run}" if len(dashes) > 1 else ""
        sizes = (f"{name}, copies of {format_bytes(size)}" for name, size, _ in _slopes(one))
        texts.append(f"Ceilings {of_run}: {'; '.join(sizes)}.".replace(" :", ":"))
    return texts


def _above(points: list[Row]) -> list[str]:
    """A caution where something was faster than the device was measured to allow."""
    above = [r for r in points if is_number(r["roof_share"]) and r["roof_share"] > 1]
    if not above:
        return []
    worst = max(above, key=lambda row: float(row["roof_share"]))
    where = f"{len(above)} of {len(points)} points" if len(points) > 1 else "The point"
    return [
        f"{where} above 100% of the roof, the farthest {worst['label']} at "
        f"{resolution_text(worst)} px with {format_percent(worst['roof_share'])}: the ceilings "
        "were measured while the machine was busy, so they are too low; measure again on an "
        "idle one."
    ]
