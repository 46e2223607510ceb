"""The table of all cases: exact values to sort by, rounded ones to read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paca_bench.analyse.curves import size_text
from paca_bench.record import Status
from paca_bench.report.places import is_number, plain
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
    "head",
    "batch",
    "dtype",
    "device",
    "status",
)
_ONLY_IF_VARYING = ("run", "host", "stage", "batch", "dtype", "device", "head")
_NESTED = ("details", "latency_samples_s", "accuracy_samples")
# Rows of one page: more than a screen, few enough to stand in the HTML for want of a script.
PAGE_ROWS = 200
_NONE = "–"

Value = float | str | None


@dataclass(frozen=True, slots=True)
class Cells:
    """A column's cells: what is shown, the exact value to sort by, and a note beside it."""

    texts: list[str]
    values: list[Value]
    notes: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell, as the template shows it."""

    text: str
    sort_value: str
    note: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``numeric`` columns sort by value, the others by text.

    ``first`` are the cells of the first page, ``packed`` all of them as JSON for ``report.js``:
    texts, and ranks in place of exact values.
    """

    title: str
    numeric: bool
    hint: str
    first: list[Cell]
    packed: str


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One row, with the values the filters look at."""

    case_id: str
    ok: bool
    axes: dict[str, str]
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class CaseTable:
    """All cases, column by column, and for each filter axis the values to choose from."""

    columns: list[Column]
    case_ids: list[str]
    bad: set[int]
    axes: dict[str, list[str]]
    choices: dict[str, list[str]]

    @property
    def first_rows(self) -> list[CaseRow]:
        """The first page, for a reader without JavaScript."""
        return [
            CaseRow(
                case_id,
                number not in self.bad,
                {axis: texts[number] for axis, texts in self.axes.items()},
                [column.first[number] for column in self.columns],
            )
            for number, case_id in enumerate(self.case_ids[:PAGE_ROWS])
        ]

    @property
    def packed(self) -> str:
        """All rows as JSON for ``report.js``."""
        parts = {
            "page": _json(PAGE_ROWS),
            "ids": _json(self.case_ids),
            "bad": _json(sorted(self.bad)),
            "axes": _json({axis: _coded(texts) for axis, texts in self.axes.items()}),
            "columns": f"[{','.join(column.packed for column in self.columns)}]",
        }
        return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _coded(texts: list[str]) -> dict[str, Any]:
    """Texts as they are, or each text once and where it stands."""
    places: dict[str, int] = {}
    index = [places.setdefault(text, len(places)) for text in texts]
    if 2 * len(places) > len(texts):
        return {"values": texts}
    return {"values": list(places), "index": index}


def _ranks(values: list[Value]) -> list[int]:
    """Place of each value among the distinct ones, from 0; -1 where there is none."""
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    _, ranks = np.unique(numbers, return_inverse=True)
    ranks[np.isnan(numbers)] = -1
    found: list[int] = ranks.tolist()
    return found


def case_table(frame: pd.DataFrame) -> CaseTable:
    """All cases of a frame; columns and filters that say nothing here are left out."""
    axes = {axis: [_axis_text(value) for value in frame[axis].tolist()] for axis in FILTER_AXES}
    distinct = {axis: set(texts) for axis, texts in axes.items()}
    choices = {
        axis: sorted(found, key=lambda text: (len(text), text))
        for axis, found in distinct.items()
        if len(found) > 1
    }
    columns = []
    for spec in _SPECS:
        if spec.source in _ONLY_IF_VARYING and spec.source not in choices:
            continue
        if spec.source == "backward_macs" and "train" not in distinct["mode"]:
            continue
        column = _column(spec, frame)
        if column:
            columns.append(column)
    return CaseTable(
        columns,
        frame["case_id"].tolist(),
        {number for number, status in enumerate(frame["status"]) if status != Status.OK},
        {axis: axes[axis] for axis in choices},
        choices,
    )


def _column(spec: _Spec, frame: pd.DataFrame) -> Column | None:
    """None where no row has a value.

    Packed at once, because the texts of all columns of a large run would fill the memory.
    """
    cells = spec.cells(frame)
    if all(value is None for value in cells.values):
        return None
    first = [
        Cell(
            cells.texts[number],
            "" if cells.values[number] is None else str(plain(cells.values[number])),
            cells.notes[number] if cells.notes else "",
        )
        for number in range(min(PAGE_ROWS, len(frame)))
    ]
    packed = _coded(cells.texts)
    if spec.numeric:
        packed["ranks"] = _ranks(cells.values)
    if cells.notes:
        packed["notes"] = _coded(cells.notes)
    return Column(spec.title, spec.numeric, spec.hint, first, _json(packed))


def case_csv(frame: pd.DataFrame) -> str:
    """The frame without its nested columns as CSV: base units, full precision."""
    flat = [frame[name].tolist() for name in frame.columns if name not in _NESTED]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(name for name in frame.columns if name not in _NESTED)
    for row in zip(*flat, strict=True):
        writer.writerow("" if plain(value) is None else plain(value) for value in row)
    return out.getvalue()


def _axis_text(value: object) -> str:
    known = plain(value)
    return _NONE if known is None else str(known)


@dataclass(frozen=True, slots=True)
class _Spec:
    """How a column is made from the frame's column ``source``."""

    source: str
    title: str
    numeric: bool
    cells: Callable[[pd.DataFrame], Cells]
    hint: str = ""


def _text(name: str, title: str) -> _Spec:
    def cells(frame: pd.DataFrame) -> Cells:
        known = [plain(value) for value in frame[name].tolist()]
        texts = [_NONE if value is None else str(value) for value in known]
        return Cells(texts, [None if value is None else str(value) for value in known])

    return _Spec(name, title, False, cells)


def _integer(name: str, title: str) -> _Spec:
    @cache
    def text(value: float) -> str:
        return f"{value:,.0f}"

    def cells(frame: pd.DataFrame) -> Cells:
        known = _where(frame[name], np.isfinite(frame[name].to_numpy(dtype=float)))
        return Cells([_NONE if value is None else text(value) for value in known], known)

    return _Spec(name, title, True, cells)


def _metric(
    name: str,
    title: str,
    group: str,
    text: Callable[[float], str],
    hint: str = "",
    interval: Sequence[str] = (),
) -> _Spec:
    """A metric of a group, shown where the group ended well; of no group, wherever it is known."""

    def cells(frame: pd.DataFrame) -> Cells:
        # Counts repeat over batches and modes; so does their text.
        shown = cache(text)
        good = np.isfinite(frame[name].to_numpy(dtype=float))
        if group:
            good &= (frame[f"{group}_status"] == Status.OK.value).to_numpy(dtype=bool)
        known = _where(frame[name], good)
        texts = [_NONE if value is None else shown(value) for value in known]
        notes = None
        if interval:
            ends = [frame[end].tolist() for end in interval]
            notes = [
                f"[{text(low)}, {text(high)}]"
                if value is not None and is_number(low) and is_number(high)
                else ""
                for value, low, high in zip(known, *ends, strict=True)
            ]
        return Cells(texts, known, notes)

    return _Spec(name, title, True, cells, hint)


def _where(column: pd.Series[Any], good: NDArray[np.bool_]) -> list[Value]:
    """The column's values, None where they are not good."""
    return [v if known else None for v, known in zip(column.tolist(), good.tolist(), strict=True)]


def _resolution(frame: pd.DataFrame) -> Cells:
    sizes = zip(frame["height"], frame["width"], strict=True)
    return Cells([size_text(*size) for size in sizes], frame["resolution"].tolist())


def _status(frame: pd.DataFrame) -> Cells:
    texts = [str(status).replace("_", " ") for status in frame["status"]]
    return Cells(texts, list(texts), [str(reason or "") for reason in frame["reason"]])


def _milliseconds(seconds: float) -> str:
    return significant(1e3 * seconds)


def _mebibytes(count: float) -> str:
    return significant(count / 2**20)


def _percent(fraction: float) -> str:
    return format_percent(fraction).rstrip("%")


_SPECS = (
    _text("run", "Run"),
    _text("label", "Mechanism"),
    _text("level", "Level"),
    _text("host", "Host"),
    _integer("stage", "Stage"),
    _text("mode", "Mode"),
    _Spec("resolution", "Resolution (px)", True, _resolution),
    _metric(
        "latency_s",
        "Latency (ms)",
        "latency",
        _milliseconds,
        "one pass of one batch, with its interval",
        ("latency_low_s", "latency_high_s"),
    ),
    _metric(
        "peak_memory_bytes", "Peak memory (MiB)", "memory", _mebibytes, "over weights and input"
    ),
    _metric(
        "macs", "MACs", "complexity", format_count, "multiply-accumulates of one image, forward"
    ),
    _metric(
        "accuracy",
        "Accuracy (%)",
        "accuracy",
        _percent,
        "test top-1, with its interval",
        ("accuracy_low", "accuracy_high"),
    ),
    _metric(
        "miou",
        "mIoU (%)",
        "accuracy",
        _percent,
        "mean over classes of the intersection over the union, of the dense task's test pixels",
        ("miou_low", "miou_high"),
    ),
    _text("head", "Head"),
    _metric("images_per_s", "Throughput (images/s)", "latency", significant),
    _integer("tokens", "N (tokens)"),
    _integer("num_clusters", "M (clusters)"),
    _metric("params", "Parameters", "complexity", format_count),
    _metric(
        "bound_s",
        "Bound (ms)",
        "complexity",
        _milliseconds,
        "the least time of the pass on this device, by its measured ceilings",
    ),
    _metric(
        "roof_share",
        "Roof (%)",
        "latency",
        _percent,
        "the bound over the latency: 100 is as fast as the device allows",
    ),
    _metric(
        "predicted_peak_memory_bytes",
        "Predicted memory (MiB)",
        "",
        _mebibytes,
        "peak over weights and input, predicted before anything ran",
    ),
    _metric(
        "moved_bytes",
        "Moved (MiB)",
        "complexity",
        _mebibytes,
        "bytes that the matrix-like operators of the pass must read and write",
    ),
    _metric(
        "backward_macs",
        "MACs backward",
        "complexity",
        format_count,
        "multiply-accumulates of one image's backward pass",
    ),
    _integer("batch", "Batch (images)"),
    _text("dtype", "Dtype"),
    _text("device", "Device"),
    _text("kernel_path", "Kernel"),
    _Spec("status", "Status", False, _status),
)
