"""What the sections on clusters and on accuracy show: charts of which one is seen at a time."""

from __future__ import annotations

from typing import Any

from paca_bench.analyse.curves import Row, records, resolution_text
from paca_bench.analyse.scaling import spread
from paca_bench.report.charts import Chart, Choices, missing
from paca_bench.report.drawn import Drawn
from paca_bench.report.figures import clusters_figure
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
    return choices(charts, weights, note)


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


def choices(charts: list[Chart], weights: list[tuple[Any, ...]], note: str = "") -> Choices:
    """The charts, of which the one with the largest weight is shown first."""
    best = max(range(len(charts)), key=weights.__getitem__) if charts else 0
    return Choices(charts, best, note if charts else "")
