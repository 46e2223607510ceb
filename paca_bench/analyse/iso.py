"""Equal cost: which resolution, or which number of clusters, one gets for what another costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from paca_bench.analyse.curves import (
    CURVE_AXES,
    PLACE_AXES,
    Row,
    group_of,
    groups,
    measured,
    records,
)
from paca_bench.analyse.meeting import DRAWS, Floats, last_rise
from paca_bench.analyse.statistics import log_latency
from paca_bench.record import TRAININGS

WITHIN = "within the measured range"
BEYOND = "beyond the measured range"
BELOW = "below the measured range"

_REFERENCE = ("reference", "resolution", "cost", "cost_low", "cost_high")
_FOUND = ("status", "measured_min", "measured_max", "points", "method")
_ISO_COLUMNS = (
    *(*PLACE_AXES, "metric", *_REFERENCE, "label", "mechanism", "num_clusters"),
    *("same_cost_resolution", "same_cost_low", "same_cost_high", *_FOUND),
)
_CLUSTER_COLUMNS = (
    *(*PLACE_AXES, "metric", *_REFERENCE, "mechanism", "options"),
    *("same_cost_clusters", "same_cost_low", "same_cost_high"),
    *("clusters_at_most", "cost_at_most", *_FOUND),
)


def iso_table(
    df: pd.DataFrame, metric: str, reference: str, *, confidence: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """The resolution that each label reaches for what a reference costs.

    Interpolated on logarithms of resolution and cost between the resolutions measured for the
    label, and never beyond them. The interval of a deterministic metric is the two measured
    neighbours; that of ``latency_s`` is the percentile interval over redrawn latencies of both
    sides (Student's t of process medians; with a single process the recorded interval taken as
    normal), with what interpolation leaves open (``meeting.last_rise``).

    Args:
        df: as from ``load_results``.
        metric: ``macs``, ``latency_s`` or ``peak_memory_bytes``.
        reference: the label whose cost is given, such as ``vit``.
        confidence: of the intervals.
        seed: of the redrawn latencies.

    Returns:
        One row per place, resolution measured for the reference and other label measured:

        * ``PLACE_AXES``, ``metric``, ``reference``, ``resolution`` (pixels, of the reference),
          ``cost`` there with ``cost_low`` and ``cost_high`` (equal where exact);
        * ``label``, ``mechanism``, ``num_clusters`` of the other;
        * ``same_cost_resolution`` (pixels; NaN outside), ``same_cost_low``,
          ``same_cost_high``: 0 or infinite where it may lie outside the measured range, and
          outside what is known of it: above the largest measured, or below the smallest;
        * ``status``: within, beyond or below the measured range;
        * ``measured_min``, ``measured_max`` (pixels), ``points`` of the label; ``method``.

    Raises:
        SpecError: there is no such metric.
    """
    rows = []
    for axes, given, place in _references(df, metric, reference):
        for _, curve in groups(place[place["label"] != reference], CURVE_AXES):
            others = records(curve.sort_values("resolution", kind="stable"))
            sides = [float(row["resolution"]) for row in others]
            found = _meet(sides, others, given, metric, confidence, seed)
            rows.append(
                axes
                | _reference_columns(given, metric)
                | {name: others[0][name] for name in ("label", "mechanism", "num_clusters")}
                | found.columns("same_cost_resolution")
            )
    return pd.DataFrame(rows, columns=list(_ISO_COLUMNS))


def iso_clusters_table(
    df: pd.DataFrame, metric: str, reference: str, *, confidence: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """The number of clusters M with which a mechanism costs what a reference does, at its size.

    As ``iso_table``, but along M at the reference's own resolution: only variants that differ
    in M alone are put on one line.

    Returns:
        One row per place, resolution measured for the reference, and mechanism and options
        with some M measured there: the columns of ``iso_table`` (without label), with

        * ``same_cost_clusters`` (not rounded; NaN outside), ``same_cost_low``,
          ``same_cost_high``;
        * ``clusters_at_most``: the largest measured M that costs no more by point estimate,
          with its cost ``cost_at_most``; NaN where every one costs more;
        * ``measured_min``, ``measured_max``: in clusters.

    Raises:
        SpecError: there is no such metric.
    """
    rows = []
    for axes, given, place in _references(df, metric, reference):
        same = (place["height"] == given["height"]) & (place["width"] == given["width"])
        variants = place[same & place["num_clusters"].notna() & (place["label"] != reference)]
        for family, line in groups(variants, ("mechanism", "options")):
            others = records(line.sort_values("num_clusters", kind="stable"))
            counts = [float(row["num_clusters"]) for row in others]
            found = _meet(counts, others, given, metric, confidence, seed)
            cheap = [row for row in others if row[metric] <= given[metric]]
            rows.append(
                axes
                | _reference_columns(given, metric)
                | family
                | found.columns("same_cost_clusters")
                | {
                    "clusters_at_most": cheap[-1]["num_clusters"] if cheap else math.nan,
                    "cost_at_most": cheap[-1][metric] if cheap else math.nan,
                }
            )
    return pd.DataFrame(rows, columns=list(_CLUSTER_COLUMNS))


@dataclass(frozen=True, slots=True)
class _Found:
    value: float
    low: float
    high: float
    status: str
    places: Sequence[float]
    method: str

    def columns(self, name: str) -> dict[str, Any]:
        return {
            name: self.value,
            "same_cost_low": self.low,
            "same_cost_high": self.high,
            "status": self.status,
            "measured_min": self.places[0],
            "measured_max": self.places[-1],
            "points": len(self.places),
            "method": self.method,
        }


def _references(
    df: pd.DataFrame, metric: str, reference: str
) -> Iterator[tuple[dict[str, Any], Row, pd.DataFrame]]:
    """Place, a measured case of the reference, and all that was measured at the place."""
    group_of(metric)
    good = measured(df, metric)
    good = good[~good["mode"].isin(TRAININGS)] if len(good) else good
    for axes, place in groups(good, PLACE_AXES):
        own = place[place["label"] == reference].sort_values("resolution", kind="stable")
        for given in records(own):
            yield axes, given, place


def _reference_columns(given: Row, metric: str) -> dict[str, Any]:
    timed = metric == "latency_s"
    return {
        "metric": metric,
        "reference": given["label"],
        "resolution": given["resolution"],
        "cost": given[metric],
        "cost_low": given["latency_low_s"] if timed else given[metric],
        "cost_high": given["latency_high_s"] if timed else given[metric],
    }


def _meet(
    places: list[float], others: list[Row], given: Row, metric: str, confidence: float, seed: int
) -> _Found:
    """Where along ``places`` the cost of ``others`` rises through that of ``given``."""
    gaps = np.log([float(row[metric]) for row in others]) - np.log(float(given[metric]))
    value = float(last_rise(places, gaps[:, None]).place[0])
    status = WITHIN if 0 < value < math.inf else BEYOND if value > 0 else BELOW
    how = f"log-log interpolation of {len(places)} points; interval: "
    if metric == "latency_s":
        rng = np.random.default_rng(seed)
        drawn = np.stack([_draws(row, rng) for row in others]) - _draws(given, rng)
        low, high = last_rise(places, drawn).interval(value, confidence)
        # Outside, what is known is the side of the measured range.
        low, high = min(low, places[-1]), max(high, places[0])
        how += f"{confidence:.0%}, of {DRAWS} draws of every latency, bend included"
    else:
        low = max((p for p in places if p <= value), default=0.0)
        high = min((p for p in places if p >= value), default=math.inf)
        how += "the measured neighbours"
    return _Found(value if status == WITHIN else math.nan, low, high, status, places, how)


def _draws(row: Row, rng: np.random.Generator) -> Floats:
    """Log latencies that a case may truly have: [draws]."""
    mean = log_latency(row["latency_samples_s"])
    if mean is not None:
        return mean.draw(DRAWS, rng)
    low, high = math.log(row["latency_low_s"]), math.log(row["latency_high_s"])
    # Recorded at 95%: 1.96 standard errors on either side.
    return rng.normal((low + high) / 2, (high - low) / 2 / 1.96, DRAWS)
