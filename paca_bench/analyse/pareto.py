"""Accuracy against cost: which mechanisms no other beats in both, and how surely.

Latency and accuracy are estimates, so being on the front is a matter of probability: the share
of draws (``analyse.draws``) of all the points' true values in which nothing beats a point.
Counts and peak memory are exact, and the same in every draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from paca_bench.analyse.accuracy_pairs import trainings
from paca_bench.analyse.curves import Row, group_of, groups, measured, records
from paca_bench.analyse.draws import DRAWS, accuracy_draws, latency_draws
from paca_bench.analyse.trainings import Array, Training
from paca_bench.errors import SpecError
from paca_bench.record import TRAININGS

# A point is called on the front from this probability on, and off it up to the rest to 1.
SURE = 0.95

_JOIN = ("run", "level", "host", "label", "options")
_PLACE = ("mode", "batch", "dtype", "device", "execution", "height", "width", "resolution")
_GAIN = ("accuracy", "accuracy_low", "accuracy_high")
_COLUMNS = (
    *("run", "level", "host", "label", *_PLACE),
    *("cost", "cost_low", "cost_high", *_GAIN, "accuracy_resolution", "dataset"),
    *("on_front", "front_probability", "front_verdict", "front_method"),
)
_FIT_AXES = ("accuracy_resolution", "fit_batch", "fit_dtype", "fit_device", "fit_execution")
_FRONT_AXES = ("run", "level", "host", *_PLACE, *_FIT_AXES, "dataset")
_LATENCY_ENDS = {"latency_s": ("latency_low_s", "latency_high_s")}
# Exact costs of a shape, whichever way it is executed.
_OF_SHAPE = ("macs", "params")
_EXECUTED = ("mode", "batch", "dtype", "device", "execution")
# What is a training's own cost.
_OF_TRAINING = ("train_peak_memory_bytes",)


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


def front_probabilities(costs: Array, gains: Array) -> Array:
    """The share of draws in which a point is on the front, as ``pareto_front`` has it.

    Args:
        costs: ``[points, draws]``, lower is better.
        gains: ``[points, draws]``, higher is better.

    Returns:
        ``[points]``; 0 for a point with a NaN, which beats nothing.

    Raises:
        SpecError: the shapes differ.
    """
    if costs.shape != gains.shape:
        raise SpecError(f"costs of shape {costs.shape} but gains of {gains.shape}")
    known = ~(np.isnan(costs) | np.isnan(gains))
    # Points that are not known come last, behind all others.
    order = np.lexsort((np.where(known, -gains, np.inf), np.where(known, costs, np.inf)), axis=0)
    cost, gain, usable = (np.take_along_axis(a, order, axis=0) for a in (costs, gains, known))
    on = np.zeros(costs.shape, dtype=bool)
    best = np.full(costs.shape[1:], -np.inf)
    for place in range(len(costs)):
        on[place] = usable[place] & (gain[place] > best)
        if place:
            equal = (cost[place] == cost[place - 1]) & (gain[place] == gain[place - 1])
            on[place] |= usable[place] & equal & on[place - 1]
        best = np.where(on[place], gain[place], best)
    found = np.empty_like(on)
    np.put_along_axis(found, order, on, axis=0)
    return np.asarray(found.mean(axis=1))


def front_table(df: pd.DataFrame, cost: str = "latency_s") -> pd.DataFrame:
    """Accuracy of the trainings beside the cost of the same mechanism, with the front.

    Rows of mode ``fit`` are joined with the other rows of the same run, level, host, label and
    options at every resolution whose cost was measured, and with what they know of their own
    cost. The front is taken among points that may be compared: same run, host and resolution,
    trained alike, and of a latency or memory the same mode, batch, dtype, device and execution.

    Args:
        df: as from ``load_results``.
        cost: ``latency_s``, ``peak_memory_bytes``, ``macs``, ``params`` or the trainings'
            ``train_peak_memory_bytes``; lower is better.

    Returns:
        One row per point with ``run``, ``level``, ``host``, ``label``, ``mode``, ``batch``,
        ``dtype``, ``device``, ``execution``, ``height``, ``width`` and ``resolution`` (pixels, of
        the cost), ``cost``, ``cost_low``, ``cost_high`` (NaN where exact), ``accuracy``,
        ``accuracy_low``, ``accuracy_high``, ``accuracy_resolution`` (pixels, of training and
        test); ``on_front``, whether the estimates are; ``front_probability``, whether the true
        values are; ``front_verdict``, ``on``, ``off`` or ``undecided`` by ``SURE``; and
        ``front_method``, which says where the probability is approximate.

    Raises:
        SpecError: there is no such cost.
    """
    points = _points(df, cost)
    found = points.assign(
        on_front=False, front_probability=math.nan, front_verdict="", front_method=""
    )
    of_shape = cost in _OF_SHAPE
    axes = tuple(a for a in _FRONT_AXES if not (of_shape and a in _EXECUTED))
    # Trainings stand at every size of the costs, and are drawn once.
    drawn: dict[tuple[str, ...], Array] = {}
    for _, rows in groups(points, axes):
        probabilities, method = _probabilities(records(rows), cost, drawn)
        front = pareto_front(rows["cost"].tolist(), rows["accuracy"].tolist())
        found.loc[rows.index, "on_front"] = front
        found.loc[rows.index, "front_probability"] = probabilities
        found.loc[rows.index, "front_verdict"] = [front_verdict(p) for p in probabilities]
        found.loc[rows.index, "front_method"] = method
    return found[list(_COLUMNS)]


def front_verdict(probability: float) -> str:
    """``on``, ``off`` or ``undecided``, by the probability in whole percent, as it is shown."""
    percent, sure = round(100 * probability), round(100 * SURE)
    if percent >= sure:
        return "on"
    return "off" if percent <= 100 - sure else "undecided"


def _points(df: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Every cost with every accuracy it belongs to, and the samples of both."""
    trained = trainings(df)
    trained = trained[trained["level"].isin(("host", "model"))]
    priced = _priced(df, cost, trained)
    low, high = _LATENCY_ENDS.get(cost, (None, None))
    costs = priced[[*_JOIN, *_PLACE]].assign(
        cost=priced.get(cost, math.nan),
        cost_low=priced[low] if low else math.nan,
        cost_high=priced[high] if high else math.nan,
        cost_case=priced["case_id"],
        latency_samples_s=priced["latency_samples_s"] if low else None,
    )
    gains = trained[[*_JOIN, *_GAIN, "accuracy_samples", "details"]].assign(
        accuracy_resolution=trained["resolution"],
        gain_case=trained["case_id"],
        dataset=[str(details.get("dataset", "")) for details in trained["details"]],
        **{f"fit_{axis}": trained[axis] for axis in ("batch", "dtype", "device", "execution")},
    )
    points = costs.merge(gains, on=list(_JOIN))
    # A training's own cost is that of its own accuracy; MACs are those of its resolution.
    own = points["cost_case"] == points["gain_case"]
    if cost in _OF_SHAPE:
        own |= points["resolution"] == points["accuracy_resolution"]
    return points[own | ~points["mode"].isin(TRAININGS)].reset_index(drop=True)


def _priced(df: pd.DataFrame, cost: str, trained: pd.DataFrame) -> pd.DataFrame:
    """The rows whose cost is known and may stand beside an accuracy of ``trained``."""
    group_of(cost)
    if trained.empty or cost not in df:
        return df.iloc[:0]
    if cost in _OF_TRAINING:
        return measured(trained, cost)
    alike = df["label"].isin(trained["label"]) & (df["mode"] != "segment")
    priced = measured(df[alike], cost)
    if cost not in _OF_SHAPE:
        return priced[~priced["mode"].isin(TRAININGS)]
    # Of equal ones the first, and a training's own only where there is no other.
    ordered = priced.assign(_own=priced["mode"] == "fit").sort_values("_own", kind="stable")
    return ordered.drop_duplicates([*_JOIN, "height", "width"])


def _probabilities(
    rows: list[Row], cost: str, drawn: dict[tuple[str, ...], Array]
) -> tuple[list[float], str]:
    trained = {str(row["gain_case"]): Training.of(row) for row in rows}
    names = list(trained)
    key = (str(rows[0]["run"]), *names)
    if key not in drawn:
        drawn[key] = accuracy_draws(trained)
    gains = drawn[key][[names.index(str(row["gain_case"])) for row in rows]]
    methods = [_accuracy_method(list(trained.values()))]
    if cost == "latency_s":
        timed = {str(row["cost_case"]): row["latency_samples_s"] for row in rows}
        times = {case: latency_draws(taken, case) for case, taken in timed.items()}
        costs = np.array([times[str(row["cost_case"])] for row in rows])
        methods.insert(0, _latency_method([len(taken) for taken in timed.values()]))
    else:
        costs = np.repeat([[float(row["cost"])] for row in rows], DRAWS, axis=1)
    probabilities: list[float] = front_probabilities(costs, gains).tolist()
    return probabilities, f"{DRAWS} draws of {' and of '.join(methods)}"


def _latency_method(processes: list[int]) -> str:
    if min(processes) > 1:
        return "latencies by log-t over processes"
    return (
        "latencies, some within a single process, a lower bound on the uncertainty that makes "
        "the probability approximate"
    )


def _accuracy_method(trained: list[Training]) -> str:
    seeds = [len(one.accuracies) for one in trained]
    how = "accuracies by t over seeds" if min(seeds) > 1 else "accuracies, some of a single seed"
    if all(one.outcomes is not None for one in trained):
        how += ", paired, and by test images, which all share"
    elif all(one.num_test for one in trained):
        how += " and by binomials of the test images"
    else:
        how += ", blind to the choice of test images"
    if min(seeds) == 1:
        how += ", a lower bound on the uncertainty that makes the probability approximate"
    return how
