"""What the sections on clusters and on accuracy show: charts of which one is seen at a time."""

from __future__ import annotations

from typing import Any

from paca_bench.analyse.curves import Row, groups, records, resolution_text
from paca_bench.analyse.pareto import front_table
from paca_bench.analyse.scaling import spread
from paca_bench.report.charts import Chart, Choices, missing
from paca_bench.report.drawn import Drawn
from paca_bench.report.figures import clusters_figure, front_figure
from paca_bench.report.places import Place
from paca_bench.report.quantities import ACCURACY, LATENCIES, Quantity
from paca_bench.report.traces import Dashes, Styles

# Of one chooser: a longer list is not read to its end.
MOST_CHARTS = 60


def cluster_latency(drawn: Drawn, styles: Styles, dashes: Dashes) -> Choices:
    """Latency against M: a chart per place, mode and resolution."""
    charts: list[Chart] = []
    weights: list[tuple[Any, ...]] = []
    scenes = [
        (place, mode, _by_resolution(rows))
        for place in drawn.places
        for mode, rows in place.by_mode().items()
        if any(row["num_clusters"] == row["num_clusters"] for row in rows)
    ]
    total = sum(len(sides) for *_, sides in scenes)
    most = max(MOST_CHARTS // max(len(scenes), 1), 2) if total > MOST_CHARTS else total
    for place, mode, sides in scenes:
        quantity = LATENCIES[mode]
        for side in spread(sides, most):
            rows = sides[side]
            figure = clusters_figure(rows, quantity, styles, dashes)
            if figure is None:
                continue
            title = f"{place.title}, {mode}, {resolution_text(rows[0])} px"
            notes = missing(rows, quantity)
            charts.append(Chart(f"clusters-{len(charts)}", title, figure, notes))
            weights.append(_weight(place, mode, rows, quantity, side))
    note = f"At {most} resolutions of each place and mode." if most < total else ""
    return _choices(charts, weights, note)


def cluster_accuracy(drawn: Drawn, styles: Styles, dashes: Dashes) -> Choices:
    """Accuracy against M: a chart per host and training resolution."""
    charts: list[Chart] = []
    trained = drawn.frame[drawn.frame["mode"] == "fit"]
    for host, of_host in trained.groupby("host"):
        for rows in _by_resolution(records(of_host)).values():
            figure = clusters_figure(rows, ACCURACY, styles, dashes)
            if figure is not None:
                title = f"Host {host}, trained at {resolution_text(rows[0])} px"
                notes = missing(rows, ACCURACY)
                charts.append(Chart(f"accuracy-{len(charts)}", title, figure, notes))
    return Choices(charts)


_FRONT_PLACE = ("host", "batch", "dtype", "device", "execution")
_FRONT_AXES = (*_FRONT_PLACE, "mode", "resolution", "accuracy_resolution")


def fronts(drawn: Drawn, styles: Styles, dashes: Dashes) -> Choices:
    """Accuracy against latency: a chart per host place, mode, resolution and training."""
    charts: list[Chart] = []
    weights: list[tuple[Any, ...]] = []
    table = front_table(drawn.frame, cost="latency_s")
    hosts: dict[tuple[Any, ...], Place] = {}
    for one in drawn.places:
        _, host, stage, *where = one.key
        if one.level == "host" and stage is None:
            hosts[host, *where] = one
    for axes, points in groups(table, _FRONT_AXES):
        *where, mode, side, trained = axes.values()
        place = hosts.get(tuple(where))
        if place is None:
            continue
        rows = place.rows[(place.rows["mode"] == mode) & (place.rows["resolution"] == side)]
        if rows.empty:
            continue
        timed = records(rows)
        shape = f"{resolution_text(timed[0])} px"
        charts.append(
            Chart(
                f"front-{len(charts)}",
                f"{place.title}, {mode}, {shape}; trained at {trained:g} px",
                front_figure(records(points), mode, styles, dashes),
                missing(timed, LATENCIES[mode]),
                f"Accuracy from training and testing at {trained:g} px; latency at {shape}. The "
                "step line joins the mechanisms that none beats in both; open markers are "
                "dominated.",
            )
        )
        weights.append((mode == "forward", len(points), side))
    return _choices(charts, weights)


def _by_resolution(rows: list[Row]) -> dict[float, list[Row]]:
    found: dict[float, list[Row]] = {}
    for row in rows:
        found.setdefault(float(row["resolution"]), []).append(row)
    return dict(sorted(found.items()))


def _weight(
    place: Place, mode: str, rows: list[Row], quantity: Quantity, side: float
) -> tuple[Any, ...]:
    """Larger is the better first view: a host, forward, most values, largest resolution."""
    measured = sum(quantity.is_measured(row) for row in rows)
    return place.level == "host", mode == "forward", measured, side


def _choices(charts: list[Chart], weights: list[tuple[Any, ...]], note: str = "") -> Choices:
    best = max(range(len(charts)), key=weights.__getitem__) if charts else 0
    return Choices(charts, best, note if charts else "")
