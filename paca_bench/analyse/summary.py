"""The run in one table: a row per curve."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from paca_bench.analyse.curves import CURVE_AXES, curves, measured, records
from paca_bench.analyse.scaling import scaling_table
from paca_bench.analyse.unmeasured import unmeasured
from paca_bench.analyse.verdict import Verdict, verdict
from paca_bench.record import GROUPS, TRAININGS, Status

__all__ = ["Verdict", "summary_table", "unmeasured", "verdict"]

_ENDS = ("min", "max")
_AT_ENDS = (
    ("macs", "complexity"),
    ("latency_s", "latency"),
    ("latency_low_s", "latency"),
    ("latency_high_s", "latency"),
    ("peak_memory_bytes", "memory"),
)
_LAW_PARTS = ("law", "linear_claim")
_EXPONENTS = {"latency": "latency_s", "macs": "macs"}
_FIT_PARTS = ("exponent", "exponent_low", "exponent_high", "tail_exponent", *_LAW_PARTS)
_ACCURACY = ("accuracy", "accuracy_low", "accuracy_high")
_COLUMNS = (
    *CURVE_AXES,
    *("cases", "unmeasured", "params", "resolution_min", "resolution_max"),
    *(f"{name}_at_{end}" for end in _ENDS for name, _ in _AT_ENDS),
    *(f"{prefix}_{part}" for prefix in _EXPONENTS for part in _FIT_PARTS),
    *(*_ACCURACY, "accuracy_resolution"),
    *("latency_method", "exponent_method", "accuracy_method"),
)


def summary_table(df: pd.DataFrame) -> pd.DataFrame:
    """One row per curve: what it costs at both ends of the range, how it grows, how accurate.

    A training (``fit``) is shown as the accuracy of the curves of the same run, host and
    label; it has a row of its own only where nothing else of that label was asked for.

    Columns:
        * the axes of a curve: ``run``, ``level``, ``host``, ``stage``, ``label``,
          ``mechanism``, ``num_clusters``, ``mode``, ``batch``, ``dtype``, ``device``.
        * ``cases`` of the curve, and how many of them are ``unmeasured`` in a metric group.
        * ``params``; ``resolution_min``, ``resolution_max``: the range asked for, in pixels.
        * ``macs_at_min``, ``latency_s_at_min`` with ``latency_low_s_at_min`` and
          ``latency_high_s_at_min``, ``peak_memory_bytes_at_min``, and the same ``_at_max``:
          at the ends of that range, NaN where not measured there.
        * ``latency_exponent`` with ``_low`` and ``_high``, ``macs_exponent`` with the same,
          and ``latency_tail_exponent``, ``macs_tail_exponent`` of the upper half of the
          range; ``latency_law``, ``macs_law`` (the kind) and ``latency_linear_claim``,
          ``macs_linear_claim``: see ``scaling_table``. Empty text where never asked for.
        * ``accuracy``, ``accuracy_low``, ``accuracy_high`` and the ``accuracy_resolution``
          it was trained and tested at (the largest one).
        * ``latency_method``, ``exponent_method``, ``accuracy_method``: how the intervals
          were made.
    """
    fits = {prefix: _by_curve(scaling_table(df, m)) for prefix, m in _EXPONENTS.items()}
    trained = _trainings(df)
    hosts = {_subject(axes) for axes, _ in curves(df) if axes["mode"] not in TRAININGS}
    rows = []
    for axes, curve in curves(df):
        if axes["mode"] == "fit" and _subject(axes) in hosts:
            continue
        row = {**axes, **_ends(curve)}
        for prefix, found in fits.items():
            fit = found.get(_key(axes), {})
            row |= {
                f"{prefix}_{part}": fit.get(part, "" if part in _LAW_PARTS else math.nan)
                for part in _FIT_PARTS
            }
        row["exponent_method"] = fits["latency"].get(_key(axes), {}).get("method", "")
        row |= trained.get(_subject(axes), {}) if axes["level"] == "host" else {}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _ends(curve: pd.DataFrame) -> dict[str, Any]:
    rows = records(curve)
    statuses = [[row.get(f"{group}_status") for group in GROUPS] for row in rows]
    values: dict[str, Any] = {
        "cases": len(rows),
        "unmeasured": sum(any(isinstance(s, str) and s != Status.OK for s in c) for c in statuses),
        "params": curve["params"].max(),
        "resolution_min": rows[0]["resolution"],
        "resolution_max": rows[-1]["resolution"],
    }
    for end, row in zip(_ENDS, (rows[0], rows[-1]), strict=True):
        for name, group in _AT_ENDS:
            good = row.get(f"{group}_status") == Status.OK
            values[f"{name}_at_{end}"] = row[name] if good else math.nan
    methods = [row["details"].get("latency_method") for row in rows]
    values["latency_method"] = "; ".join(dict.fromkeys(m for m in methods if m))
    return values


def _trainings(df: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Run, host and label -> accuracy at the largest training resolution."""
    rows = measured(df, "accuracy")
    found = {}
    for row in records(rows.sort_values("resolution", kind="stable") if len(rows) else rows):
        found[_subject(row)] = {
            **{name: row[name] for name in _ACCURACY},
            "accuracy_resolution": row["resolution"],
            "accuracy_method": row["details"].get("accuracy_method", ""),
        }
    return found


def _subject(row: Any) -> tuple[Any, ...]:
    return row["run"], row["level"], row["host"], row["label"]


def _key(row: Any) -> tuple[Any, ...]:
    # NaN is not equal to itself, so it cannot be looked up.
    return tuple(None if pd.isna(row[axis]) else row[axis] for axis in CURVE_AXES)


def _by_curve(table: pd.DataFrame) -> dict[tuple[Any, ...], Any]:
    return {_key(row): row for row in records(table)}
