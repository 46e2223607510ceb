"""From which resolution on one label is cheaper than another."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paca_bench.analyse.curves import (
    CURVE_AXES,
    PLACE_AXES,
    Row,
    group_of,
    groups,
    measured,
    records,
)
from paca_bench.analyse.meeting import DRAWS, last_rise
from paca_bench.analyse.statistics import log_latency, ratio_estimate
from paca_bench.errors import SpecError
from paca_bench.record import TRAININGS

METRICS = ("macs", "latency_s", "peak_memory_bytes")

_Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Crossover:
    """From which resolution on one label is cheaper than another.

    Attributes:
        resolution: where the two cost the same, in pixels (side; geometric mean of the sides
            for other shapes), interpolated between measured ones; NaN if neither overtakes.
        low: lower end of its interval; 0 if it may lie below all measured ones.
        high: upper end; infinite if it may lie beyond all measured ones.
        cheaper: the label that costs less above ``resolution``; None if the two never differ.
        always: the label that costs less at every measured resolution, else None.
        points: resolutions measured for both.
        unclear: those of them at which the ratio's interval includes 1.
        method: how it was made, in words.
    """

    resolution: float
    low: float
    high: float
    cheaper: str | None
    always: str | None
    points: int
    unclear: int
    method: str


def crossovers(
    df: pd.DataFrame,
    metric: str,
    a_label: str,
    b_label: str,
    *,
    mode: str = "forward",
    level: str = "host",
    stage: int | None = None,
    run: str | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Crossover | None:
    """The resolution from which one of two labels is cheaper than the other.

    Both must be measured at the same resolutions; the sign of log(a/b) is taken at each, and
    the crossover lies between the last two neighbours whose signs differ, interpolated on
    logarithms of both resolution and ratio.

    The interval of a deterministic metric is that pair. That of ``latency_s`` is the
    percentile interval of the crossovers that ratios redrawn at every resolution (Student's t
    of the process medians, Welch) would have, each widened by what interpolation leaves open
    (``meeting.last_rise``): 0 or infinite where enough of them have none within the measured
    range. A case with a single process has no such t; then the interval is
    the pair, widened on either side over resolutions at which the interval of the ratio
    includes 1.

    Nothing is said beyond the measured resolutions: caches, kernels and memory limits change
    there, and two laws that fit the measured range do not know of it.

    Args:
        df: as from ``load_results``; rows of one host, batch, dtype and device.
        metric: ``macs``, ``latency_s`` or ``peak_memory_bytes``.
        a_label: the one label, such as ``paca (M=49)``.
        b_label: the other.
        mode: ``forward`` or ``train``.
        level: ``host``, ``layer`` or ``model``.
        stage: of the layer; None where the frame has one.
        run: None where the frame has one.
        confidence: of the intervals.
        seed: of the redrawn ratios.

    Returns:
        None if the two have no measured resolution in common: nothing is known. If neither
        overtakes the other, a ``Crossover`` of which ``resolution`` is NaN and ``always``
        names the one that is cheaper throughout (``unclear`` counts where that is not
        beyond doubt).

    Raises:
        SpecError: there is no such metric, or the rows of a label lie on several curves.
    """
    chosen = df
    for axis, value in (("mode", mode), ("level", level), ("stage", stage), ("run", run)):
        if value is not None and not chosen.empty:
            chosen = chosen[chosen[axis] == value]
    good = measured(chosen, metric)
    if good.empty:
        return None
    a, b = (_one_curve(good, label) for label in (a_label, b_label))
    shared = sorted(a.keys() & b.keys(), key=lambda size: size[0] * size[1])
    if not shared:
        return None
    pairs = [(a[size], b[size]) for size in shared]
    return _crossover(pairs, a_label, b_label, metric, confidence, seed)


def crossover_table(
    df: pd.DataFrame,
    reference: str,
    metrics: tuple[str, ...] = METRICS,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Where every other label overtakes ``reference``, or is overtaken, in every metric.

    Returns:
        One row per place (``PLACE_AXES``), other label and metric that both were asked for:
        ``reference``, ``label``, ``metric``, and ``resolution``, ``low``, ``high``,
        ``cheaper``, ``always``, ``points``, ``unclear``, ``method`` as in ``Crossover``.
        Where the two share no measured resolution, ``points`` is 0 and ``method`` says so.

    Raises:
        SpecError: there is no such metric.
    """
    for metric in metrics:
        group_of(metric)
    fields = tuple(Crossover.__dataclass_fields__)
    rows = []
    for axes, place in groups(df[~df["mode"].isin(TRAININGS)] if len(df) else df, PLACE_AXES):
        labels = [str(label) for label in place["label"].unique()]
        others = [label for label in labels if label != reference]
        for label, metric in itertools.product(others if reference in labels else (), metrics):
            found = crossovers(
                *(place, metric, label, reference),
                **{"mode": axes["mode"], "level": axes["level"]},
                confidence=confidence,
                seed=seed,
            ) or Crossover(*(math.nan,) * 3, None, None, 0, 0, "no measured resolution in common")
            values = {name: getattr(found, name) for name in fields}
            rows.append(axes | {"reference": reference, "label": label, "metric": metric} | values)
    return pd.DataFrame(rows, columns=[*PLACE_AXES, "reference", "label", "metric", *fields])


def _one_curve(df: pd.DataFrame, label: str) -> dict[_Size, Row]:
    """Image size -> row, of the only curve of a label."""
    rows = df[df["label"] == label]
    several = [
        f"{axis} ({', '.join(str(v) for v in rows[axis].unique())})"
        for axis in CURVE_AXES
        if rows[axis].nunique(dropna=False) > 1
    ]
    if several:
        raise SpecError(f"{label!r} has several curves; choose one {' and one '.join(several)}")
    return {(row["height"], row["width"]): row for row in records(rows)}


def _crossover(
    pairs: list[tuple[Row, Row]], a: str, b: str, metric: str, confidence: float, seed: int
) -> Crossover:
    sides = [math.sqrt(row["height"] * row["width"]) for row, _ in pairs]
    logs, clear = zip(*(_log_ratio(*pair, metric, confidence) for pair in pairs), strict=True)
    how = f"sign of log({metric} of {a} / {b}) at {len(sides)} measured resolutions"
    unclear = clear.count(False)
    # Equal costs are on neither side; the flip is between those that differ.
    sided = [i for i, log in enumerate(logs) if log != 0]
    cheaper = (a if logs[sided[-1]] < 0 else b) if sided else None
    flips = [(i, j) for i, j in itertools.pairwise(sided) if logs[i] * logs[j] < 0]
    if not flips:
        nan = math.nan
        return Crossover(nan, nan, nan, cheaper, cheaper, len(sides), unclear, how)
    i, j = flips[-1]
    share = logs[i] / (logs[i] - logs[j])
    resolution = sides[i] * (sides[j] / sides[i]) ** share
    how += ", log-log interpolation; interval: "
    # Which of the two is the dearer at the end: the log of its ratio rises through zero.
    rising = pairs if cheaper == b else [(row_b, row_a) for row_a, row_b in pairs]
    drawn = _drawn(rising, metric, seed)
    if drawn is None:
        low = next((sides[k] for k in range(i, -1, -1) if clear[k]), 0.0)
        high = next((sides[k] for k in range(j, len(sides)) if clear[k]), math.inf)
        how += "the neighbouring resolutions that are distinct"
    else:
        low, high = last_rise(sides, drawn).interval(resolution, confidence)
        how += f"{confidence:.0%}, of {DRAWS} draws of every ratio by Welch's t, bend included"
    return Crossover(resolution, low, high, cheaper, None, len(sides), unclear, how)


def _log_ratio(a: Row, b: Row, metric: str, confidence: float) -> tuple[float, bool]:
    """log(a/b), and whether its sign is beyond doubt."""
    if metric == "latency_s" and a["latency_samples_s"] and b["latency_samples_s"]:
        ratio = ratio_estimate(a["latency_samples_s"], b["latency_samples_s"], confidence)
        return math.log(ratio.value), not ratio.low <= 1 <= ratio.high
    value = math.log(float(a[metric]) / float(b[metric]))
    return value, value != 0 and metric != "latency_s"


def _drawn(pairs: list[tuple[Row, Row]], metric: str, seed: int) -> NDArray[np.float64] | None:
    """Draws of log(a/b) at each resolution, [pairs, draws]; None if they cannot be drawn."""
    if metric != "latency_s":
        return None
    rng = np.random.default_rng(seed)
    rows = []
    for pair in pairs:
        a, b = (log_latency(row["latency_samples_s"]) for row in pair)
        if a is None or b is None:
            return None
        rows.append(a.minus(b).draw(DRAWS, rng))
    return np.stack(rows)
