"""The quantities a figure can show: where they live in the frame, and their units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.analyse.curves import Row
from paca_bench.report.places import is_measured, is_number
from paca_bench.units import format_bytes, format_count, format_percent, format_seconds

if TYPE_CHECKING:
    import pandas as pd

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_PERCENT = ((0.01, "%"),)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One metric of one mode.

    Attributes:
        metric: the column; ``low`` and ``high`` name its interval's, or are empty for a
            deterministic metric.
        axis: the short name.
        group: the metric group whose status decides whether a value may be shown; empty for
            what may always be.
        mode: of the case, or empty where the mode does not matter.
        units: ``(size, name)`` of the display units, largest first.
        text: the exact display text of one value, with unit.
    """

    metric: str
    title: str
    axis: str
    group: str
    mode: str
    units: tuple[tuple[float, str], ...]
    text: Callable[[float], str]
    low: str = ""
    high: str = ""

    @property
    def id(self) -> str:
        """Distinct per quantity, safe in an HTML id."""
        return f"{self.metric}-{self.mode}" if self.mode else self.metric

    @property
    def short(self) -> str:
        """``latency train``: for a narrow column header."""
        return f"{self.axis} {self.mode}".rstrip()

    @property
    def in_sentence(self) -> str:
        """The title as it stands within a sentence: ``latency, forward``, but ``MACs``."""
        first, rest = self.title[:1], self.title[1:]
        return self.title if rest[:1].isupper() else first.lower() + rest

    def is_measured(self, row: Row) -> bool:
        """True if the row has a value to show."""
        return is_measured(row, self.metric, self.group)

    def interval(self, row: Row) -> tuple[float, float] | None:
        """The row's interval in base units, if it has one."""
        return pair_of(row, self.low, self.high)

    def describe(self, row: Row) -> str:
        """``1.23 ms [1.20 ms, 1.26 ms]``."""
        return with_interval(self.text, float(row[self.metric]), self.interval(row))

    def unit(self, values: Iterable[float]) -> tuple[float, str]:
        """The ``(size, name)`` in which the middle of ``values`` (base units) is at least 1."""
        ordered = sorted(values)
        middle = ordered[len(ordered) // 2] if ordered else math.nan
        return next((unit for unit in self.units if middle >= unit[0]), self.units[-1])


def _latency(mode: str, title: str) -> Quantity:
    return Quantity(
        "latency_s",
        title,
        "latency",
        "latency",
        mode,
        _SECONDS,
        format_seconds,
        "latency_low_s",
        "latency_high_s",
    )


def _bytes(metric: str, group: str, mode: str, title: str, axis: str = "memory") -> Quantity:
    return Quantity(metric, f"{title}, {mode}", axis, group, mode, _BYTES, format_bytes)


MACS = Quantity("macs", "MACs, one image forward", "MACs", "complexity", "", _COUNTS, format_count)
ACCURACY = Quantity(
    "accuracy",
    "Accuracy (test top-1)",
    "accuracy",
    "accuracy",
    "fit",
    _PERCENT,
    format_percent,
    "accuracy_low",
    "accuracy_high",
)

TRAIN_MEMORY = Quantity(
    "train_peak_memory_bytes",
    "Peak memory of a training step",
    "memory",
    "accuracy",
    "fit",
    _BYTES,
    format_bytes,
)

# Mode of one call -> what it is called in a title.
_CALLS = {
    "forward": "forward",
    "train": "train (forward + backward)",
    "checkpointed": "train with checkpointing",
}
LATENCIES = {mode: _latency(mode, f"Latency, {name}") for mode, name in _CALLS.items()}
MEMORIES = {mode: _bytes("peak_memory_bytes", "memory", mode, "Peak memory") for mode in _CALLS}
# What a run that measured nothing knows all the same.
MOVED = {
    mode: _bytes("moved_bytes", "complexity", mode, "Bytes that must move", "moved")
    for mode in _CALLS
}
PREDICTED = {
    mode: _bytes("predicted_peak_memory_bytes", "", mode, "Predicted peak memory")
    for mode in _CALLS
}


def scaling_quantities(frame: pd.DataFrame) -> list[Quantity]:
    """What grows with resolution in a frame: what was measured, else what is known without."""
    timed, weighed = (frame[f"{group}_status"].notna().any() for group in ("latency", "memory"))
    costs = LATENCIES if timed else MOVED
    peaks = MEMORIES if weighed else PREDICTED
    return [MACS, *costs.values(), *peaks.values()]


def pair_of(row: Row, low: str, high: str) -> tuple[float, float] | None:
    """Two columns of a row as an interval, or None unless both are numbers."""
    if not (is_number(row.get(low)) and is_number(row.get(high))):
        return None
    return float(row[low]), float(row[high])


def with_interval(
    text: Callable[[float], str], value: float, interval: tuple[float, float] | None
) -> str:
    """``1.23 ms [1.20 ms, 1.26 ms]``, or the value alone."""
    if interval is None:
        return text(value)
    return f"{text(value)} [{text(interval[0])}, {text(interval[1])}]"


def rows_of(rows: list[Row], quantity: Quantity) -> list[Row]:
    """The rows that bear on a quantity; one per curve point where the mode does not matter."""
    if quantity.mode:
        return [row for row in rows if row["mode"] == quantity.mode]
    points: dict[tuple[object, ...], Row] = {}
    for row in rows:
        point = (row["run"], row["label"], row["height"], row["width"])
        if point not in points or not quantity.is_measured(points[point]):
            points[point] = row
    return list(points.values())
