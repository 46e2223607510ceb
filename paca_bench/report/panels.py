"""What the sections with figures show: figures, exponents and notes, ready for a template."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from paca_bench.analyse.curves import Row, groups, records, resolution_text
from paca_bench.analyse.pareto import front_table
from paca_bench.analyse.scaling import scaling_table
from paca_bench.report.figures import clusters_figure, front_figure, scaling_figure
from paca_bench.report.places import Place, ending, is_censored, is_number, place_key, places
from paca_bench.report.plot_axes import Figure
from paca_bench.report.quantities import ACCURACY, LATENCIES, SCALING, Quantity, rows_of
from paca_bench.report.traces import Dashes, Styles


@dataclass(frozen=True)
class Chart:
    """One figure with its title, and a note for every point it could not show."""

    id: str
    title: str
    figure: Figure | None
    notes: list[str] = field(default_factory=list)
    caption: str = ""


@dataclass(frozen=True)
class Exponent:
    """One fitted exponent; ``points`` were used, ``censored`` were not measured.

    ``tail`` is the exponent of the upper half of the range, as text, where one was fitted.
    """

    value: float
    low: float
    high: float
    points: int
    censored: int
    tail: str

    @property
    def hint(self) -> str:
        """What the fit rests on, in words."""
        parts = [f"{self.points} points"]
        if self.censored:
            parts.append(f"{self.censored} not measured")
        if self.tail:
            parts.append(f"upper half of the range: {self.tail}")
        return ", ".join(parts)


@dataclass(frozen=True)
class ScalingPanel:
    """One place: a chart per quantity, and exponents per curve and quantity."""

    id: str
    title: str
    charts: list[Chart]
    quantities: list[Quantity]
    exponents: list[tuple[str, str, list[Exponent | None]]]
    method: str


def scaling_panels(frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> list[ScalingPanel]:
    """Every place of the frame, hosts first."""
    fits = {
        metric: records(scaling_table(frame, metric))
        for metric in dict.fromkeys(quantity.metric for quantity in SCALING)
    }
    return [
        _scaling_panel(f"scaling-{number}", place, fits, styles, dashes)
        for number, place in enumerate(places(frame))
    ]


def _scaling_panel(
    id_: str, place: Place, fits: dict[str, list[Row]], styles: Styles, dashes: Dashes
) -> ScalingPanel:
    rows = records(place.rows)
    charts, quantities = [], []
    for quantity in SCALING:
        chart = Chart(
            f"{id_}-{quantity.id}",
            quantity.title,
            scaling_figure(rows, quantity, styles, dashes),
            _missing(rows, quantity),
        )
        if chart.figure or chart.notes:
            charts.append(chart)
        if chart.figure:
            quantities.append(quantity)
    here = {
        metric: [fit for fit in table if place_key(fit) == place.key]
        for metric, table in fits.items()
    }
    curves = [
        (
            label,
            run,
            [
                _exponent(here[quantity.metric], label, run, quantity.mode)
                for quantity in quantities
            ],
        )
        for label in styles
        for run in dashes
    ]
    methods = dict.fromkeys(
        re.sub(r"of \d+ points", "of the measured points", str(fit["method"]))
        for table in here.values()
        for fit in table
        if is_number(fit["exponent"])
    )
    return ScalingPanel(
        id_,
        place.title,
        charts,
        quantities,
        [curve for curve in curves if any(curve[2])],
        "; ".join(methods),
    )


def _exponent(fits: list[Row], label: str, run: str, mode: str) -> Exponent | None:
    """The fit of one curve; where the mode does not matter, of whichever mode has one."""
    for fit in fits:
        if (fit["label"], fit["run"]) == (label, run) and mode in ("", fit["mode"]):
            if not is_number(fit["exponent"]):
                continue
            return Exponent(
                fit["exponent"],
                fit["exponent_low"],
                fit["exponent_high"],
                int(fit["points"]),
                int(fit["censored"]),
                _tail(fit),
            )
    return None


def _tail(fit: Row) -> str:
    ends = [fit[f"tail_exponent{end}"] for end in ("", "_low", "_high")]
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ends) if all(map(is_number, ends)) else ""


def _missing(rows: list[Row], quantity: Quantity) -> list[str]:
    """``vit at 1024 px: over budget: predicted 41 min ...``, one per point."""
    return [
        f"{row['label']} at {resolution_text(row)} px: {ending(row, quantity.group)}"
        for row in sorted(rows_of(rows, quantity), key=lambda r: (r["label"], r["resolution"]))
        if is_censored(row, quantity.group)
    ]


@dataclass(frozen=True)
class Choices:
    """Charts of which one is shown at a time; ``default`` is the index of the first shown."""

    charts: list[Chart]
    default: int = 0


def cluster_latency(frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> Choices:
    """Latency against M: a chart per place, mode and resolution."""
    charts: list[Chart] = []
    weights: list[tuple[Any, ...]] = []
    for place in places(frame):
        for mode, quantity in LATENCIES.items():
            for side, rows in _by_resolution(place.rows[place.rows["mode"] == mode]):
                figure = clusters_figure(rows, quantity, styles, dashes)
                if figure is None:
                    continue
                title = f"{place.title}, {mode}, {resolution_text(rows[0])} px"
                charts.append(
                    Chart(f"clusters-{len(charts)}", title, figure, _missing(rows, quantity))
                )
                weights.append(_weight(place, mode, rows, quantity, side))
    return _choices(charts, weights)


def cluster_accuracy(frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> Choices:
    """Accuracy against M: a chart per host and training resolution."""
    charts: list[Chart] = []
    trained = frame[frame["mode"] == "fit"]
    for host, of_host in trained.groupby("host"):
        for _, rows in _by_resolution(of_host):
            figure = clusters_figure(rows, ACCURACY, styles, dashes)
            if figure is not None:
                title = f"Host {host}, trained at {resolution_text(rows[0])} px"
                charts.append(
                    Chart(f"accuracy-{len(charts)}", title, figure, _missing(rows, ACCURACY))
                )
    return Choices(charts)


_FRONT_AXES = ("host", "batch", "dtype", "device", "mode", "resolution", "accuracy_resolution")


def fronts(frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> Choices:
    """Accuracy against latency: a chart per host place, mode, resolution and training."""
    charts: list[Chart] = []
    weights: list[tuple[Any, ...]] = []
    table = front_table(frame, cost="latency_s")
    hosts = {place.key: place for place in places(frame) if place.level == "host"}
    for axes, points in groups(table, _FRONT_AXES):
        host, batch, dtype, device, mode, side, trained = axes.values()
        place = hosts["host", host, None, batch, dtype, device]
        rows = place.rows[(place.rows["mode"] == mode) & (place.rows["resolution"] == side)]
        timed = records(rows)
        shape = f"{resolution_text(timed[0])} px"
        charts.append(
            Chart(
                f"front-{len(charts)}",
                f"{place.title}, {mode}, {shape}; trained at {trained:g} px",
                front_figure(records(points), mode, styles, dashes),
                _missing(timed, LATENCIES[mode]),
                f"Accuracy from training and testing at {trained:g} px; latency at {shape}. The "
                "step line joins the mechanisms that none beats in both; open markers are "
                "dominated.",
            )
        )
        weights.append((mode == "forward", len(points), side))
    return _choices(charts, weights)


def _by_resolution(frame: pd.DataFrame) -> list[tuple[float, list[Row]]]:
    ordered = frame.sort_values("resolution", kind="stable")
    return [(axes["resolution"], records(rows)) for axes, rows in groups(ordered, ("resolution",))]


def _weight(
    place: Place, mode: str, rows: list[Row], quantity: Quantity, side: float
) -> tuple[Any, ...]:
    """Larger is the better first view: a host, forward, most values, largest resolution."""
    measured = sum(quantity.is_measured(row) for row in rows)
    return place.level == "host", mode == "forward", measured, side


def _choices(charts: list[Chart], weights: list[tuple[Any, ...]]) -> Choices:
    best = max(range(len(charts)), key=weights.__getitem__) if charts else 0
    return Choices(charts, best)
