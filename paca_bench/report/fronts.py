"""Accuracy against what it costs: latency, memory, MACs; each with its Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paca_bench.analyse.accuracy_pairs import trainings
from paca_bench.analyse.curves import Row, groups, records, resolution_text
from paca_bench.analyse.front_words import front_text
from paca_bench.analyse.pareto import front_table
from paca_bench.report.charts import Chart, Choices, missing
from paca_bench.report.drawn import Drawn
from paca_bench.report.figures import front_figure
from paca_bench.report.panels import MOST_CHARTS, choices
from paca_bench.report.places import Place, place_key
from paca_bench.report.quantities import LATENCIES, MACS, MEMORIES, TRAIN_MEMORY, Quantity
from paca_bench.report.traces import Dashes, Styles

if TYPE_CHECKING:
    import pandas as pd

_SIZE = ("height", "width", "accuracy_resolution", "dataset")
_EXECUTED = ("level", "host", "batch", "dtype", "device", "execution", "mode")


def latency_fronts(drawn: Drawn, frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> Choices:
    """Accuracy against latency: a chart per host or models' place, mode, size and training."""
    return _timed(drawn, frame, "latency_s", LATENCIES, styles, dashes, "front")


def memory_fronts(drawn: Drawn, frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> Choices:
    """Accuracy against peak memory: of one pass, and of the trainings themselves."""
    passes = _timed(drawn, frame, "peak_memory_bytes", MEMORIES, styles, dashes, "memory-front")
    own = _of_size(drawn, frame, TRAIN_MEMORY, styles, dashes, "train-memory-front")
    return Choices([*passes.charts, *own.charts], passes.default if passes.charts else own.default)


def macs_fronts(drawn: Drawn, frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> Choices:
    """Accuracy against MACs: a chart per host or models, size and training."""
    return _of_size(drawn, frame, MACS, styles, dashes, "macs-front")


def _timed(
    drawn: Drawn,
    frame: pd.DataFrame,
    cost: str,
    quantities: dict[str, Quantity],
    styles: Styles,
    dashes: Dashes,
    prefix: str,
) -> Choices:
    """A chart per place, mode, size and training."""
    charts: list[Chart] = []
    weights: list[tuple[Any, ...]] = []
    found = {one.key: one for one in drawn.places}
    for axes, points in groups(_table(drawn, frame, cost), (*_EXECUTED, *_SIZE)):
        place = found.get(place_key({**axes, "stage": None}))
        rows = [] if place is None else _at(place, axes)
        if place is None or not rows:
            continue
        quantity = quantities[axes["mode"]]
        title = f"{place.title}, {axes['mode']}, {resolution_text(rows[0])} px"
        notes = missing(rows, quantity)
        id_ = f"{prefix}-{len(charts)}"
        charts.append(_chart(id_, title, records(points), quantity, notes, styles, dashes))
        trained = axes["accuracy_resolution"]
        weights.append((axes["mode"] == "forward", len(points), trained, axes["height"]))
    return _most(charts, weights)


def _of_size(
    drawn: Drawn,
    frame: pd.DataFrame,
    quantity: Quantity,
    styles: Styles,
    dashes: Dashes,
    prefix: str,
) -> Choices:
    """A chart per host, size and training, whichever way the cost was executed."""
    charts: list[Chart] = []
    weights: list[tuple[Any, ...]] = []
    for axes, points in groups(_table(drawn, frame, quantity.metric), ("level", "host", *_SIZE)):
        rows = records(points)
        where = f"Host {axes['host']}" if axes["host"] else "Models"
        title = f"{where}, {resolution_text(rows[0])} px"
        id_ = f"{prefix}-{len(charts)}"
        charts.append(_chart(id_, title, rows, quantity, [], styles, dashes))
        own = rows[0]["resolution"] == rows[0]["accuracy_resolution"]
        weights.append((own, len(points), axes["height"]))
    return _most(charts, weights)


def _table(drawn: Drawn, frame: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The front of what is drawn; its samples are in the whole frame alone."""
    if trainings(drawn.frame).empty:
        return front_table(frame.iloc[:0], cost)
    return front_table(frame.loc[drawn.frame.index], cost)


def _at(place: Place, axes: dict[str, Any]) -> list[Row]:
    rows = place.rows
    same = [rows[axis] == axes[axis] for axis in ("mode", "height", "width")]
    return records(rows[same[0] & same[1] & same[2]])


def _chart(
    id_: str,
    title: str,
    points: list[Row],
    quantity: Quantity,
    notes: list[str],
    styles: Styles,
    dashes: Dashes,
) -> Chart:
    trained = points[0]["accuracy_resolution"]
    own = points[0]["mode"] == "fit" or points[0]["resolution"] == trained
    also = "" if own else f"; {quantity.axis} at {resolution_text(points[0])} px"
    return Chart(
        id_,
        f"{title}; trained at {trained:g} px",
        front_figure(points, quantity, styles, dashes),
        notes,
        f"Accuracy from training and testing at {trained:g} px{also}. {_said(points)}",
    )


def _said(points: list[Row]) -> str:
    by_run: dict[str, list[Row]] = {}
    for row in points:
        by_run.setdefault(str(row["run"]), []).append(row)
    lines = [
        f"On the front{f' of run {run}' if len(by_run) > 1 else ''}, {front_text(rows)}."
        for run, rows in by_run.items()
    ]
    methods = "; ".join(dict.fromkeys(str(row["front_method"]) for row in points))
    return f"{' '.join(lines)} Probabilities: {methods}."


def _most(charts: list[Chart], weights: list[tuple[Any, ...]]) -> Choices:
    """All charts, or of very many those that say most."""
    if len(charts) <= MOST_CHARTS:
        return choices(charts, weights)
    best = sorted(range(len(charts)), key=weights.__getitem__)[-MOST_CHARTS:]
    kept = sorted(best)
    note = f"The {MOST_CHARTS} of {len(charts)} that say most."
    return choices([charts[i] for i in kept], [weights[i] for i in kept], note)
