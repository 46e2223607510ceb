"""How a metric grows with the number of tokens: exponents, and a row per curve with its law."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paca_bench.analyse.bounds import LOWER_BOUNDS, lower_bound
from paca_bench.analyse.claims import linear_claim
from paca_bench.analyse.curves import CURVE_AXES, asked, curves, group_of, measured, records, usable
from paca_bench.analyse.laws import Law, fit_law
from paca_bench.analyse.statistics import Estimate, student
from paca_bench.errors import SpecError
from paca_bench.record import GROUPS

# More would only make the fit of a law slower.
MOST_COUNTS = 48
Numbers = Sequence[float] | NDArray[np.float64]

# Columns of a frame of many curves: whether the metric, and the MACs with it, may be used.
_USABLE, _COUNTED = "_usable", "_counted"

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


def fit_exponent(
    tokens: Numbers,
    values: Numbers,
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


def scaling_table(df: pd.DataFrame, metric: str, *, laws: bool = True) -> pd.DataFrame:
    """The growth of every curve that was asked for a metric: exponents, law, claim.

    Args:
        df: as from ``load_results``.
        metric: ``macs``, ``latency_s``, ``peak_memory_bytes`` or another one with a unit.
        laws: also fit laws, which takes a hundred times as long as exponents; False leaves
            their columns as with too few token counts.

    Returns:
        One row per curve with the columns of ``CURVE_AXES`` and

        * ``exponent``, ``exponent_low``, ``exponent_high``, ``method``, ``points``,
          ``censored`` (cases of the curve whose metric group did not end ``ok``),
          ``tokens_min``, ``tokens_max``; and ``tail_exponent``, ``tail_exponent_low``,
          ``tail_exponent_high``, ``tail_tokens_min`` for the upper half of the range: see
          ``fit_exponent``. NaN where fewer than three token counts were measured;
          ``method`` says so.
        * ``law`` (its kind), ``law_terms`` (such as ``constant + linear``), ``law_formula``,
          ``law_residual`` (relative), ``law_exponent`` over the range with ``_low`` and
          ``_high``, ``law_method``, ``bounded`` (censored cases whose lower bound the law
          respects) and ``tokens_asked`` (the largest count of the curve): see ``fit_law``.
          Empty text and NaN with fewer than five token counts.
        * ``local_exponent_max`` and ``growth_exponent_max``, each with ``_low`` and
          ``_high``: at ``tokens_max``, of the cost and of the cost without its constant.
        * ``linear_claim`` (``holds``, ``does not hold``, ``not shown``) and
          ``linear_reason``: see ``linear_claim``.
        * the analytic growth, from the exact MACs at the same token counts: ``macs_exponent``
          over the range (needs three), ``macs_local_exponent_max``,
          ``macs_growth_exponent_max``, ``macs_law`` and ``macs_linear_claim``.

    Raises:
        SpecError: there is no such metric.
    """
    group_of(metric)
    found = asked(df, metric)
    # Lists and details in a frame make each of its many parts slow.
    found = found[[name for name in found if name in CURVE_AXES or name in _read(metric)]]
    if len(found):
        # Once for all curves: of a thousand curves, asking each would take most of the time.
        good = usable(found, metric)
        found = found.assign(**{_USABLE: good, _COUNTED: good & usable(found, "macs")})
    rows = [{**axes, **_curve_fit(curve, metric, laws)} for axes, curve in curves(found)]
    return pd.DataFrame(rows, columns=[*CURVE_AXES, *_FIT_COLUMNS])


def _read(metric: str) -> tuple[str, ...]:
    """The columns that the growth of a metric follows from, besides those of a curve."""
    _, bound = LOWER_BOUNDS.get(metric, (None, ""))
    statuses = (f"{group}_status" for group in GROUPS)
    return "resolution", "tokens", "macs", metric, bound, *statuses


def curve_law(curve: pd.DataFrame, metric: str) -> Law | None:
    """The law of one curve's cases, those not measured entering by what is known of them.

    Of a curve with more token counts than ``MOST_COUNTS``, as many of them, spread evenly on a
    logarithmic scale: more tell nothing more of a law of four terms.
    """
    rows = asked(curve, metric)
    # What has no token count has no place on the curve: it failed before it was counted.
    rows = rows[rows["tokens"] >= 1]
    rows = rows[rows["tokens"].isin(spread(rows["tokens"].unique().tolist(), MOST_COUNTS))]
    usable = rows.index.isin(measured(rows, metric).index)
    bounds = np.full(len(rows), math.nan)
    bounds[~usable] = [lower_bound(row, metric) for row in records(rows[~usable])]
    values = rows[metric].astype(float).where(usable)
    return fit_law(rows["tokens"].tolist(), values.tolist(), bounds=bounds.tolist())


def spread(values: Iterable[float], most: int) -> list[float]:
    """At most ``most`` of some positive values, the first and last among them, evenly in logs."""
    ordered = sorted(set(values))
    if len(ordered) <= most:
        return ordered
    wanted = np.linspace(math.log(ordered[0]), math.log(ordered[-1]), most)
    nearest = np.abs(np.log(ordered)[None, :] - wanted[:, None]).argmin(axis=1)
    return [ordered[i] for i in sorted(set(nearest.tolist()))]


def exponent_table(df: pd.DataFrame, metric: str, steps: int = 17) -> pd.DataFrame:
    """The local exponent of every curve over its measured range, to be drawn as a curve.

    Args:
        df: as from ``load_results``.
        metric: ``macs``, ``latency_s`` or ``peak_memory_bytes``.
        steps: token counts per curve, evenly spaced on a logarithmic scale.

    Returns:
        ``steps`` rows per curve that has a law (see ``fit_law``), with the columns of
        ``CURVE_AXES``, ``tokens``, ``resolution`` (pixels, interpolated), ``local_exponent``
        with ``_low`` and ``_high``, and ``macs_local_exponent``, the analytic one from the law
        of the exact MACs of the same cases (NaN where too few were counted).

    Raises:
        SpecError: there is no such metric.
    """
    group_of(metric)
    rows: list[dict[str, object]] = []
    for axes, curve in curves(asked(df, metric)):
        good = measured(curve, metric)
        law, analytic = curve_law(curve, metric), curve_law(measured(good, "macs"), "macs")
        if law is None:
            continue
        known = np.log(good[["tokens", "resolution"]].to_numpy(dtype=float))
        for n in np.geomspace(law.tokens_min, law.tokens_max, steps):
            at = {"tokens": n, "resolution": math.exp(np.interp(math.log(n), *known.T))}
            at["macs_local_exponent"] = analytic.exponent_at(n).value if analytic else math.nan
            rows.append(axes | at | _interval("local_exponent", law.exponent_at(n)))
    columns = ("tokens", "resolution", *_ends("local_exponent"), "macs_local_exponent")
    return pd.DataFrame(rows, columns=[*CURVE_AXES, *columns])


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


_FIT_COLUMNS = (
    *(*_ends("exponent"), "method", "points", "censored"),
    *("tokens_min", "tokens_max"),
    *(*_ends("tail_exponent"), "tail_tokens_min"),
    *("law", "law_terms", "law_formula", "law_residual", *_ends("law_exponent"), "law_method"),
    *("bounded", "tokens_asked"),
    *(*_ends("local_exponent_max"), *_ends("growth_exponent_max")),
    *("linear_claim", "linear_reason"),
    *("macs_exponent", "macs_local_exponent_max", "macs_growth_exponent_max"),
    *("macs_law", "macs_linear_claim"),
)


def _curve_fit(curve: pd.DataFrame, metric: str, laws: bool) -> dict[str, object]:
    good = curve[_USABLE].to_numpy()
    all_tokens = curve["tokens"].to_numpy(dtype=float)
    tokens, values = all_tokens[good], curve[metric].to_numpy(dtype=float)[good]
    whole, tail = fit_exponent(tokens, values), fit_exponent(tokens, values, tail=True)
    row: dict[str, object] = {
        "method": f"fewer than {_FEWEST} token counts measured",
        "points": len(tokens),
        "censored": len(curve) - len(tokens),
        "tokens_min": tokens.min() if len(tokens) else math.nan,
        "tokens_max": tokens.max() if len(tokens) else math.nan,
        "tokens_asked": np.fmax.reduce(all_tokens),
        "tail_tokens_min": tail.tokens_min if tail else math.nan,
    }
    row |= _interval("exponent", whole) | _interval("tail_exponent", tail)
    if whole:
        row["method"] = whole.method
    law = curve_law(curve, metric) if laws else None
    counted = curve[curve[_COUNTED]]
    analytic = law if metric == "macs" or not laws else curve_law(counted, "macs")
    return row | _law_columns(law) | _macs_columns(counted, analytic)


def _law_columns(law: Law | None) -> dict[str, object]:
    claim = linear_claim(law)
    row: dict[str, object] = {
        "law": law.kind if law else "",
        "law_terms": " + ".join(law.terms) if law else "",
        "law_formula": law.formula if law else "",
        "law_residual": law.relative_residual if law else math.nan,
        "law_method": law.method if law else "",
        "bounded": law.bounded if law else 0,
        "linear_claim": claim.verdict.value,
        "linear_reason": claim.reason,
    }
    row |= _interval("law_exponent", law.exponent if law else None)
    local = law.exponent_at(law.tokens_max) if law else None
    row |= _interval("local_exponent_max", local)
    return row | _interval("growth_exponent_max", claim.exponent)


def _macs_columns(counted: pd.DataFrame, law: Law | None) -> dict[str, object]:
    """The growth of the MACs of measured cases: exact, so without an interval."""
    tokens, macs = (counted[name].to_numpy(dtype=float) for name in ("tokens", "macs"))
    whole = fit_exponent(tokens, macs)
    claim = linear_claim(law)
    return {
        "macs_exponent": whole.value if whole else math.nan,
        "macs_local_exponent_max": law.exponent_at(law.tokens_max).value if law else math.nan,
        "macs_growth_exponent_max": claim.exponent.value if claim.exponent else math.nan,
        "macs_law": law.kind if law else "",
        "macs_linear_claim": claim.verdict.value,
    }


def _interval(name: str, made: Exponent | Estimate | None) -> dict[str, object]:
    ends = (made.value, made.low, made.high) if made else (math.nan,) * 3
    return dict(zip(_ends(name), ends, strict=True))


def _points(
    tokens: Numbers, values: Numbers
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
