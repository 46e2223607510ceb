"""The table of all cases: exact values to sort by, rounded ones to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.analyse.curves import Row, records, resolution_text
from paca_bench.record import Status
from paca_bench.report.places import is_measured, is_number, plain
from paca_bench.report.quantities import ACCURACY, LATENCY_FORWARD, Quantity
from paca_bench.units import format_count, format_percent, significant

if TYPE_CHECKING:
    import pandas as pd

FILTER_AXES = (
    "run",
    "level",
    "host",
    "stage",
    "mechanism",
    "mode",
    "batch",
    "dtype",
    "device",
    "status",
)
_ONLY_IF_VARYING = ("run", "host", "stage", "batch", "dtype", "device")
_NESTED = ("details", "latency_samples_s", "accuracy_samples")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what is shown, the interval beside it, and the exact value to sort by."""

    text: str
    value: float | str | None
    note: str = ""

    @property
    def sort_value(self) -> str:
        """The value in base units, exact; empty where there is none."""
        return "" if self.value is None else str(self.value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``numeric`` columns sort by value, the others by text."""

    title: str
    numeric: bool
    cell: Callable[[Row], Cell]
    hint: str = ""


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One row, with the values the filters look at."""

    case_id: str
    ok: bool
    axes: dict[str, str]
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class CaseTable:
    """The table: columns, rows, and for each filter axis the values to choose from."""

    columns: list[Column]
    rows: list[CaseRow]
    choices: dict[str, list[str]]


def case_table(frame: pd.DataFrame) -> CaseTable:
    """All cases of a frame; columns and filters that say nothing here are left out."""
    found = records(frame)
    rows_axes = [{axis: _axis_text(row[axis]) for axis in FILTER_AXES} for row in found]
    choices = {}
    for axis in FILTER_AXES:
        values = {axes[axis] for axes in rows_axes}
        if len(values) > 1:
            choices[axis] = sorted(values, key=lambda text: (len(text), text))
    columns = [
        column
        for key, column in _COLUMNS
        if (key in choices or key not in _ONLY_IF_VARYING)
        and any(column.cell(row).value is not None for row in found)
    ]
    rows = [
        CaseRow(
            str(row["case_id"]),
            row["status"] == Status.OK,
            axes,
            [column.cell(row) for column in columns],
        )
        for row, axes in zip(found, rows_axes, strict=True)
    ]
    return CaseTable(columns, rows, choices)


def case_csv(frame: pd.DataFrame) -> str:
    """The frame without its nested columns as CSV: base units, full precision."""
    flat = frame.drop(columns=[name for name in _NESTED if name in frame])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(flat.columns)
    for row in flat.itertuples(index=False):
        writer.writerow("" if plain(value) is None else plain(value) for value in row)
    return out.getvalue()


def _axis_text(value: object) -> str:
    known = plain(value)
    return "–" if known is None else str(known)


def _text(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = plain(row.get(name))
        return Cell("–", None) if value is None else Cell(str(value), str(value))

    return cell


def _integer(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = row.get(name)
        if not is_number(value):
            return Cell("–", None)
        return Cell(f"{value:,.0f}", plain(value))

    return cell


def _resolution(row: Row) -> Cell:
    return Cell(resolution_text(row), plain(row["resolution"]))


def _metric(
    name: str, group: str, text: Callable[[float], str], quantity: Quantity | None = None
) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        if not is_measured(row, name, group):
            return Cell("–", None)
        interval = quantity.interval(row) if quantity else None
        note = f"[{text(interval[0])}, {text(interval[1])}]" if interval else ""
        return Cell(text(float(row[name])), plain(row[name]), note)

    return cell


def _status(row: Row) -> Cell:
    text = str(row["status"]).replace("_", " ")
    return Cell(text, text, str(row["reason"] or ""))


def _milliseconds(seconds: float) -> str:
    return significant(1e3 * seconds)


def _mebibytes(count: float) -> str:
    return significant(count / 2**20)


def _percent(fraction: float) -> str:
    return format_percent(fraction).rstrip("%")


_COLUMNS: tuple[tuple[str, Column], ...] = (
    ("run", Column("Run", False, _text("run"))),
    ("label", Column("Mechanism", False, _text("label"))),
    ("level", Column("Level", False, _text("level"))),
    ("host", Column("Host", False, _text("host"))),
    ("stage", Column("Stage", True, _integer("stage"))),
    ("mode", Column("Mode", False, _text("mode"))),
    ("resolution", Column("Resolution (px)", True, _resolution)),
    (
        "latency_s",
        Column(
            "Latency (ms)",
            True,
            _metric("latency_s", "latency", _milliseconds, LATENCY_FORWARD),
            "one pass of one batch, with its interval",
        ),
    ),
    (
        "peak_memory_bytes",
        Column(
            "Peak memory (MiB)",
            True,
            _metric("peak_memory_bytes", "memory", _mebibytes),
            "over weights and input",
        ),
    ),
    (
        "macs",
        Column(
            "MACs",
            True,
            _metric("macs", "complexity", format_count),
            "multiply-accumulates of one image, forward",
        ),
    ),
    (
        "accuracy",
        Column(
            "Accuracy (%)",
            True,
            _metric("accuracy", "accuracy", _percent, ACCURACY),
            "test top-1, with its interval",
        ),
    ),
    (
        "images_per_s",
        Column("Throughput (images/s)", True, _metric("images_per_s", "latency", significant)),
    ),
    ("tokens", Column("N (tokens)", True, _integer("tokens"))),
    ("num_clusters", Column("M (clusters)", True, _integer("num_clusters"))),
    ("params", Column("Parameters", True, _metric("params", "complexity", format_count))),
    ("batch", Column("Batch (images)", True, _integer("batch"))),
    ("dtype", Column("Dtype", False, _text("dtype"))),
    ("device", Column("Device", False, _text("device"))),
    ("kernel_path", Column("Kernel", False, _text("kernel_path"))),
    ("status", Column("Status", False, _status)),
)
