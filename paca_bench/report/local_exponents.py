"""The local exponent over resolution: what the closed form says, and what was measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from paca_bench.analyse.curves import Row, resolution_text
from paca_bench.report.charts import Chart
from paca_bench.report.places import is_number
from paca_bench.report.plot_axes import Figure, log_x, new_figure, set_axis
from paca_bench.report.quantities import LATENCIES
from paca_bench.report.theme import MUTED
from paca_bench.report.traces import HOVER, Dashes, Styles, Trace, by_curve, scatter

# What a power law of any interest lies within; noise may lie far outside.
_SHOWN = (-0.5, 3.0)
_LEAST_SHOWN = (0.4, 2.15)
_REFERENCES = ((1.0, "∝ N"), (2.0, "∝ N²"))


@dataclass(frozen=True, slots=True)
class Slope:
    """The exponent between two neighbouring resolutions, with an interval from theirs."""

    left: Row
    right: Row
    value: float
    half: float

    @property
    def side(self) -> float:
        """Pixels: the geometric mean."""
        return math.sqrt(self.left["resolution"] * self.right["resolution"])


def local_exponent_chart(
    id_: str, mode: str, rows: list[Row], styles: Styles, dashes: Dashes
) -> Chart | None:
    """The local exponents in N at one place and mode; None where none is known.

    Args:
        id_: of the chart.
        mode: whose latencies are drawn; the closed form's exponent is of a forward pass.
        rows: of the place and mode.
        styles: label -> style.
        dashes: run -> dash.
    """
    traces: list[Trace] = []
    values: list[float] = []
    sides: dict[float, str] = {}
    has_measured = False
    for (label, run), curve in by_curve(rows, styles, dashes).items():
        exact = [row for row in curve if is_number(row.get("macs_exponent"))]
        if len(exact) > 1:
            traces.append(_exact_trace(label, run, exact, styles, dashes))
            values += [row["macs_exponent"] for row in exact]
        slopes = list(_slopes(curve, mode))
        if slopes:
            has_measured = True
            traces.append(_measured_trace(label, run, slopes, styles))
            values += [slope.value for slope in slopes]
        if len(exact) > 1 or slopes:
            sides |= {float(row["resolution"]): resolution_text(row) for row in curve}
    if not traces:
        return None
    figure = new_figure("local exponent in N")
    log_x(figure, sides, "image side (pixels)")
    _set_y(figure, values)
    _add_references(figure, sides)
    figure["data"] += traces
    text = "Lines: of the MACs, from the closed form."
    if has_measured:
        text += (
            " Points: of the latency between neighbouring resolutions; bars from the intervals "
            "of both, taken as independent."
        )
    return Chart(id_, f"Local exponent, {mode}", figure, caption=text)


def _slopes(curve: list[Row], mode: str) -> Iterator[Slope]:
    latency = LATENCIES[mode]
    known = [r for r in curve if latency.is_measured(r) and is_number(r["tokens"])]
    for left, right in itertools.pairwise(known):
        run = math.log(right["tokens"] / left["tokens"]) if left["tokens"] else 0.0
        if run <= 0:
            continue
        rise = math.log(right["latency_s"] / left["latency_s"])
        yield Slope(left, right, rise / run, math.hypot(_half(left), _half(right)) / run)


def _half(row: Row) -> float:
    """Half the width of the interval of a latency's logarithm; 0 where there is none."""
    low, high = row["latency_low_s"], row["latency_high_s"]
    return math.log(high / low) / 2 if is_number(low) and is_number(high) and low > 0 else 0.0


def _exact_trace(label: str, run: str, rows: list[Row], styles: Styles, dashes: Dashes) -> Trace:
    style = styles[label]
    return scatter(
        x=[float(row["resolution"]) for row in rows],
        y=[float(row["macs_exponent"]) for row in rows],
        mode="lines",
        name=escape(label),
        line={"color": style.color, "width": 2, "dash": dashes[run]},
        marker={"symbol": style.marker, "color": style.color},
        customdata=[
            f"<b>{escape(label)}</b><br>{resolution_text(row)} px<br>"
            f"MACs grow with N^{row['macs_exponent']:.3f} here (closed form)"
            for row in rows
        ],
        hovertemplate=HOVER,
        meta={"labels": [label] * len(rows), "run": run, "exact": True},
    )


def _measured_trace(label: str, run: str, slopes: list[Slope], styles: Styles) -> Trace:
    style = styles[label]
    return scatter(
        x=[slope.side for slope in slopes],
        y=[slope.value for slope in slopes],
        mode="markers",
        name=f"{escape(label)}, latency",
        marker={
            "symbol": style.marker,
            "color": style.color,
            "size": 8 if len(slopes) <= 16 else 5,
        },
        error_y={
            "type": "data",
            "array": [slope.half for slope in slopes],
            "color": style.color,
            "thickness": 1,
            "width": 2,
        },
        customdata=[
            f"<b>{escape(label)}</b><br>{resolution_text(slope.left)} to "
            f"{resolution_text(slope.right)} px<br>latency grew with N^{slope.value:.2f} "
            f"[{slope.value - slope.half:.2f}, {slope.value + slope.half:.2f}]"
            for slope in slopes
        ],
        hovertemplate=HOVER,
        meta={"labels": [label] * len(slopes), "run": run},
    )


def _set_y(figure: Figure, values: list[float]) -> None:
    low = max(min(*values, _LEAST_SHOWN[0]) - 0.1, _SHOWN[0])
    high = min(max(*values, _LEAST_SHOWN[1]) + 0.1, _SHOWN[1])
    set_axis(figure, "y", range=[low, high], dtick=0.5)


def _add_references(figure: Figure, sides: dict[float, str]) -> None:
    for value, name in _REFERENCES:
        figure["data"].append(
            scatter(
                x=[min(sides), max(sides) * 1.005],
                y=[value, value],
                mode="lines+text",
                text=["", name],
                name=name,
                textposition="middle right",
                textfont={"color": MUTED, "size": 11},
                line={"color": MUTED, "width": 1, "dash": "dot"},
                hoverinfo="skip",
                showlegend=False,
                cliponaxis=False,
                meta={"reference": value},
            )
        )
