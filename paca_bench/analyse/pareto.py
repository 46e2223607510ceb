"""Accuracy against cost: which mechanisms no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from paca_bench.analyse.curves import groups, measured
from paca_bench.errors import SpecError

_JOIN = ("run", "level", "host", "label", "options")
_COLUMNS = (
    *("run", "host", "label", "mode", "batch", "dtype", "device", "execution", "resolution"),
    *("cost", "cost_low", "cost_high", "accuracy", "accuracy_low", "accuracy_high"),
    *("accuracy_resolution", "on_front"),
)
_FIT_AXES = ("accuracy_resolution", "fit_batch", "fit_dtype", "fit_device")
_PLACE = ("mode", "batch", "dtype", "device", "execution", "resolution")
_FRONT_AXES = ("run", "host", *_PLACE, *_FIT_AXES)
_LATENCY_ENDS = {"latency_s": ("latency_low_s", "latency_high_s")}


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[bool]:
    """Which points no other point beats: lower cost and higher gain are better.

    A point is beaten by one that is at least as good in both and better in one, so equal
    points stand on the front together. A point with a NaN is never on the front and beats
    nothing.

    Raises:
        SpecError: the lengths differ.
    """
    if len(costs) != len(gains):
        raise SpecError(f"{len(costs)} costs but {len(gains)} gains; give one gain per cost")
    points = [
        (c, g) if not (math.isnan(c) or math.isnan(g)) else None
        for c, g in zip(costs, gains, strict=True)
    ]
    known = {point for point in points if point}
    return [
        point is not None
        and not any(c <= point[0] and g >= point[1] and (c, g) != point for c, g in known)
        for point in points
    ]


def front_table(df: pd.DataFrame, cost: str = "latency_s") -> pd.DataFrame:
    """Accuracy of the trainings beside the cost of the same mechanism, with the front.

    Rows of mode ``fit`` are joined with the other host rows of the same run, host, label and
    options at every resolution whose cost was measured. The front is taken among points that
    may be compared: same run, host, mode, batch, dtype, device and resolution, and trained
    alike. It is a front of point estimates: the intervals are there to judge it by.

    Args:
        df: as from ``load_results``.
        cost: ``latency_s``, ``peak_memory_bytes``, ``macs`` or ``params``; lower is better.

    Returns:
        One row per point with ``run``, ``host``, ``label``, ``mode``, ``batch``, ``dtype``,
        ``device``, ``resolution`` (pixels, of the cost), ``cost``, ``cost_low``,
        ``cost_high`` (NaN where exact), ``accuracy``, ``accuracy_low``, ``accuracy_high``,
        ``accuracy_resolution`` (pixels, of training and test) and ``on_front``.

    Raises:
        SpecError: there is no such cost.
    """
    priced, trained = measured(df, cost), measured(df, "accuracy")
    if priced.empty or trained.empty:
        return pd.DataFrame(columns=list(_COLUMNS))
    priced = priced[(priced["level"] == "host") & (priced["mode"] != "fit")]
    trained = trained[trained["mode"] == "fit"]
    low, high = _LATENCY_ENDS.get(cost, (None, None))
    costs = priced[[*_JOIN, *_PLACE]].assign(
        cost=priced[cost],
        cost_low=priced[low] if low else math.nan,
        cost_high=priced[high] if high else math.nan,
    )
    gains = trained[[*_JOIN, "accuracy", "accuracy_low", "accuracy_high"]].assign(
        accuracy_resolution=trained["resolution"],
        fit_batch=trained["batch"],
        fit_dtype=trained["dtype"],
        fit_device=trained["device"],
    )
    points = costs.merge(gains, on=list(_JOIN)).assign(on_front=False)
    for _, rows in groups(points, _FRONT_AXES):
        front = pareto_front(rows["cost"].tolist(), rows["accuracy"].tolist())
        points.loc[rows.index, "on_front"] = front
    return points[list(_COLUMNS)]
