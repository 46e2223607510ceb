"""How a metric grows with the number of tokens: exponents and crossovers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paca_bench.analyse.curves import CURVE_AXES, Row, asked, curves, group_of, measured, records
from paca_bench.analyse.statistics import ratio_estimate, student
from paca_bench.errors import SpecError

# Below this many token counts a line through the logs has no residual to judge it by.
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Exponent:
    """``p`` in ``value ∝ tokens^p``.

    Attributes:
        value: the slope of the line through the logarithms.
        low: lower end of its confidence interval.
        high: upper end.
        method: how it was made, in words.
        points: points the line was fitted to.
        tokens_min: fewest tokens among them.
        tokens_max: most tokens among them.
        censored: points that were given without a value, and could not be used.
    """

    value: float
    low: float
    high: float
    method: str
    points: int
    tokens_min: float
    tokens_max: float
    censored: int


@dataclass(frozen=True, slots=True)
class Crossover:
    """From which resolution on one label is cheaper than another.

    Attributes:
        resolution: where the two cost the same, in pixels (side; geometric mean of the sides
            for other shapes), interpolated between measured ones; NaN if neither overtakes.
        low: lower end of the interval it lies in; 0 if it may lie below all measured ones.
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


def fit_exponent(
    tokens: Sequence[float],
    values: Sequence[float],
    confidence: float = 0.95,
    *,
    tail: bool = False,
) -> Exponent | None:
    """The exponent of a power law, by least squares on logarithms.

    The interval is Student's t from the residuals (n - 2 degrees of freedom), so it covers
    both noise and the curve's bend: for exact counts it is the bend alone. A fixed cost
    that does not grow with tokens bends the curve at its lower end and pulls the exponent
    down; ``tail`` fits only the upper half of the range (on the logarithmic scale), or the
    three largest token counts where that half has fewer, and is the better guess at what
    happens beyond.

    Args:
        tokens: N of each point.
        values: the metric; NaN for a point that was not measured.
        confidence: of the interval.
        tail: fit the upper half of the range only.

    Returns:
        None with fewer than three different token counts.

    Raises:
        SpecError: a value is zero, negative or infinite, or the lengths differ.
    """
    n, y, censored = _points(tokens, values)
    if tail and len(n):
        n, y = _upper_half(n, y)
    if len(np.unique(n)) < _FEWEST:
        return None
    slope, error = _slope(np.log(n), np.log(y))
    half = student(confidence, len(n) - 2) * error
    part = " in the upper half of the range" if tail else ""
    how = f"least squares on logs of {len(n)} points{part}, {confidence:.0%} t interval"
    return Exponent(
        slope, slope - half, slope + half, how, len(n), float(n.min()), float(n.max()), censored
    )


def local_exponents(tokens: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """The slope between neighbouring token counts: where on the curve which law holds.

    Returns:
        ``(geometric mean of the two token counts, exponent)`` by rising tokens. Points at
        the same count are averaged geometrically; points without a value are left out.

    Raises:
        SpecError: as ``fit_exponent``.
    """
    n, y, _ = _points(tokens, values)
    distinct = np.unique(n)
    logs = [float(np.log(y[n == count]).mean()) for count in distinct]
    pairs = itertools.pairwise(zip(np.log(distinct), logs, strict=True))
    return [
        (math.exp((a + b) / 2), float((log_b - log_a) / (b - a)))
        for (a, log_a), (b, log_b) in pairs
    ]


def scaling_table(df: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The exponent of every curve that was asked for a metric.

    Args:
        df: as from ``load_results``.
        metric: ``macs``, ``latency_s`` or ``peak_memory_bytes``.

    Returns:
        One row per curve with the columns of ``CURVE_AXES`` and ``exponent``,
        ``exponent_low``, ``exponent_high``, ``method``, ``points``, ``censored`` (cases of
        the curve whose metric group did not end ``ok``), ``tokens_min``, ``tokens_max``,
        and ``tail_exponent``, ``tail_exponent_low``, ``tail_exponent_high``,
        ``tail_tokens_min`` for the upper half of the range. Exponents are NaN where fewer
        than three token counts were measured; ``method`` says so.

    Raises:
        SpecError: there is no such metric.
    """
    group_of(metric)
    rows = [{**axes, **_curve_fit(curve, metric)} for axes, curve in curves(asked(df, metric))]
    return pd.DataFrame(rows, columns=[*CURVE_AXES, *_FIT_COLUMNS])


_FIT_COLUMNS = (
    *("exponent", "exponent_low", "exponent_high", "method", "points", "censored"),
    *("tokens_min", "tokens_max"),
    *("tail_exponent", "tail_exponent_low", "tail_exponent_high", "tail_tokens_min"),
)


def _curve_fit(curve: pd.DataFrame, metric: str) -> dict[str, object]:
    good = measured(curve, metric)
    tokens, values = good["tokens"].tolist(), good[metric].tolist()
    whole, tail = fit_exponent(tokens, values), fit_exponent(tokens, values, tail=True)
    row: dict[str, object] = {
        "method": f"fewer than {_FEWEST} token counts measured",
        "points": len(good),
        "censored": len(curve) - len(good),
        "tokens_min": good["tokens"].min(),
        "tokens_max": good["tokens"].max(),
    }
    for name, fit in (("exponent", whole), ("tail_exponent", tail)):
        row[name] = fit.value if fit else math.nan
        row[f"{name}_low"] = fit.low if fit else math.nan
        row[f"{name}_high"] = fit.high if fit else math.nan
    row["tail_tokens_min"] = tail.tokens_min if tail else math.nan
    if whole:
        row["method"] = whole.method
    return row


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
) -> Crossover | None:
    """The resolution from which one of two labels is cheaper than the other.

    Both must be measured at the same resolutions; the sign of log(a/b) is taken at each, and
    the crossover lies between the last two neighbours whose signs differ, interpolated on
    logarithms of both resolution and ratio. Its interval is that pair; for ``latency_s``
    it is widened on either side over resolutions at which the interval of the ratio
    includes 1, to 0 or infinity where none is left. Deterministic metrics need no widening.

    Args:
        df: as from ``load_results``; rows of one host, batch, dtype and device.
        metric: ``macs``, ``latency_s`` or ``peak_memory_bytes``.
        a_label: the one label, such as ``paca (M=49)``.
        b_label: the other.
        mode: ``forward`` or ``train``.
        level: ``host`` or ``layer``.
        stage: of the layer; None where the frame has one.
        run: None where the frame has one.
        confidence: of the ratio's intervals.

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
    sides = [math.sqrt(height * width) for height, width in shared]
    ratios = [_log_ratio(a[size], b[size], metric, confidence) for size in shared]
    return _crossover(sides, ratios, a_label, b_label, metric)


def _points(
    tokens: Sequence[float], values: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Tokens and values of the points that have both, and how many have not."""
    n, y = np.asarray(tokens, dtype=float), np.asarray(values, dtype=float)
    if n.shape != y.shape:
        raise SpecError(f"{n.size} token counts but {y.size} values; give one value per count")
    known = ~(np.isnan(n) | np.isnan(y))
    n, y = n[known], y[known]
    wrong = [float(v) for v in (*n, *y) if not 0 < v < math.inf]
    if wrong:
        raise SpecError(
            f"a power law has positive finite points only, given: {wrong[0]}; "
            "use NaN for a point that was not measured"
        )
    return n, y, int((~known).sum())


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Least-squares slope and its standard error (zero, not undefined, for a constant y)."""
    x, y = x - x.mean(), y - y.mean()
    spread = float(x @ x)
    slope = float(x @ y) / spread
    residuals = y - slope * x
    return slope, math.sqrt(float(residuals @ residuals) / (len(x) - 2) / spread)


def _upper_half(
    n: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle = math.sqrt(float(n.min()) * float(n.max()))
    third_largest = np.unique(n)[-_FEWEST:][0]
    upper = n >= min(middle, third_largest)
    return n[upper], y[upper]


_Size = tuple[int, int]


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


def _log_ratio(a: Row, b: Row, metric: str, confidence: float) -> tuple[float, bool]:
    """log(a/b), and whether its sign is beyond doubt."""
    if metric == "latency_s" and a["latency_samples_s"] and b["latency_samples_s"]:
        ratio = ratio_estimate(a["latency_samples_s"], b["latency_samples_s"], confidence)
        return math.log(ratio.value), not ratio.low <= 1 <= ratio.high
    value = math.log(float(a[metric]) / float(b[metric]))
    return value, value != 0 and metric != "latency_s"


def _crossover(
    sides: list[float], ratios: list[tuple[float, bool]], a: str, b: str, metric: str
) -> Crossover:
    logs = [log for log, _ in ratios]
    clear = [sure for _, sure in ratios]
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
    low = next((sides[k] for k in range(i, -1, -1) if clear[k]), 0.0)
    high = next((sides[k] for k in range(j, len(sides)) if clear[k]), math.inf)
    how += ", log-log interpolation; interval: the neighbouring resolutions that are distinct"
    return Crossover(resolution, low, high, cheaper, None, len(sides), unclear, how)
