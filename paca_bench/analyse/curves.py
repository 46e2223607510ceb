"""Curves: the cases of one run that differ in resolution only, and what of them was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from paca_bench.errors import SpecError
from paca_bench.record import GROUPS, Status

PLACE_AXES = ("run", "level", "host", "stage", "mode", "batch", "dtype", "device", "execution")
CURVE_AXES = (
    *("run", "level", "host", "stage", "label", "mechanism", "num_clusters"),
    *("mode", "batch", "dtype", "device", "execution", "head"),
)

# metric -> the metric group whose status says whether a value may be used
METRIC_GROUPS = {
    "macs": "complexity",
    "flops": "complexity",
    "params": "complexity",
    "elementwise_ops": "complexity",
    "backward_macs": "complexity",
    "moved_bytes": "complexity",
    "predicted_peak_memory_bytes": "complexity",
    "latency_s": "latency",
    "images_per_s": "latency",
    "peak_memory_bytes": "memory",
    "accuracy": "accuracy",
    "miou": "accuracy",
    "train_images_per_s": "accuracy",
    "train_peak_memory_bytes": "accuracy",
    "joules_per_image": "energy",
}

Row = Mapping[str, Any]
_REASON = r"(?:^|; ){group}: (.*?)(?=; (?:" + "|".join(GROUPS) + r"): |$)"


def group_of(metric: str) -> str:
    """The metric group that a metric belongs to.

    Raises:
        SpecError: there is no such metric.
    """
    if metric not in METRIC_GROUPS:
        raise SpecError(f"no metric {metric!r}; choose one of {', '.join(METRIC_GROUPS)}")
    return METRIC_GROUPS[metric]


def asked(df: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows whose case was asked for the metric's group, however that ended."""
    column = f"{group_of(metric)}_status"
    return df[df[column].notna()] if column in df else df.iloc[:0]


def measured(df: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows with a usable value: group ended ``ok``, value finite and positive.

    A case whose output was wrong has no speed, whatever its columns hold.
    """
    rows = asked(df, metric)
    return rows if rows.empty else rows[usable(rows, metric)]


def usable(df: pd.DataFrame, metric: str) -> pd.Series[bool]:
    """Row by row, whether ``measured`` takes it."""
    values = df[metric].astype(float)
    good = (df[f"{group_of(metric)}_status"] == Status.OK.value) & (values < math.inf)
    # A share of zero is a result; a time, a count or a peak of zero is none.
    return good & (values >= 0 if metric in ("accuracy", "miou") else values > 0)


def groups(
    df: pd.DataFrame, axes: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows that agree on ``axes``, in order of appearance; missing values agree too."""
    if df.empty:
        return
    for key, rows in df.groupby(list(axes), dropna=False, sort=False):
        yield dict(zip(axes, key, strict=True)), rows


def curves(df: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Every curve: its values on ``CURVE_AXES``, and its rows by rising resolution."""
    for axes, rows in groups(df, CURVE_AXES):
        yield axes, rows.sort_values("resolution", kind="stable")


def records(df: pd.DataFrame) -> list[Row]:
    """The rows as mappings from column name to value, as plain Python values."""
    # As ``df.to_dict("records")``, which takes ten times as long where columns hold objects.
    names = [str(name) for name in df.columns]
    columns = (df[name].tolist() for name in df.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def group_reason(row: Row, group: str) -> str:
    """Why a metric group of a case was not measured; empty where no reason was recorded."""
    found = re.search(_REASON.format(group=group), str(row["reason"] or ""), re.DOTALL)
    return found[1] if found else ""


def resolution_text(row: Row) -> str:
    """``224`` for a square image, ``256x192`` (height x width) otherwise."""
    return size_text(int(row["height"]), int(row["width"]))


def size_text(height: int, width: int) -> str:
    """``224``, or ``256x192`` (height x width)."""
    return str(height) if height == width else f"{height}x{width}"
