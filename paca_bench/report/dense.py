"""The dense task: mIoU of each head on each backbone, to read in a page or a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.analyse.curves import Row, groups, records, resolution_text
from paca_bench.analyse.dense import dense_trainings, head_pairs, mask_classes
from paca_bench.analyse.wording import points
from paca_bench.report.grid import Grid
from paca_bench.report.pairs import pairs_note, turned, verdict_css
from paca_bench.report.places import is_censored, is_measured, is_number
from paca_bench.units import format_count, format_percent, significant

if TYPE_CHECKING:
    import pandas as pd

_NONE = "–"
_TABLE = ("run", "host", "height", "width", "batch", "dtype", "device", "execution", "dataset")


@dataclass(frozen=True, slots=True)
class DenseCell:
    """A number as it is shown, its interval, and the value to sort by; empty where unknown."""

    text: str
    sort_value: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class DenseLine:
    """One head on one backbone; ``against`` is its difference to the backbone's other head."""

    label: str
    head: str
    miou: DenseCell
    ious: list[DenseCell]
    macs: DenseCell
    speed: DenseCell
    against: DenseCell
    verdict: str
    reason: str

    @property
    def css(self) -> str:
        """The class that colours the verdict."""
        return verdict_css(self.verdict)


@dataclass(frozen=True, slots=True)
class DenseTable:
    """What was trained alike, but for mechanism and head."""

    id: str
    title: str
    classes: list[str]
    lines: list[DenseLine]
    note: str


def apart(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows without the dense task, and those of it."""
    dense = frame["mode"] == "segment"
    return (frame[~dense], frame[dense]) if dense.any() else (frame, frame.iloc[:0])


def dense_tables(frame: pd.DataFrame, labels: Sequence[str]) -> list[DenseTable]:
    """A table per run, host and training; lines in the order of ``labels``, then by head."""
    trained = dense_trainings(frame)
    if trained.empty:
        return []
    pairs = records(head_pairs(trained))
    named = trained.assign(dataset=[str(d.get("dataset", "")) for d in trained["details"]])
    several = named["run"].nunique() > 1
    found: list[DenseTable] = []
    for axes, alike in groups(named, _TABLE):
        rows = sorted(records(alike), key=lambda row: (labels.index(row["label"]), row["head"]))
        classes = mask_classes(rows[0])
        own = [pair for pair in pairs if all(pair[axis] == rows[0][axis] for axis in _TABLE)]
        lines = [_line(row, own) for row in rows]
        methods = "; ".join(dict.fromkeys(str(row["details"]["miou_method"]) for row in rows))
        note = (
            f"mIoU is the mean over {len(classes)} classes of the intersection over the union of "
            f"all test pixels ({methods}); IoU of a class is the mean over seeds."
        )
        if own:
            note += f" Against the other head of the same backbone: {pairs_note(own)}"
        found.append(DenseTable(f"dense-{len(found)}", _title(axes, several), classes, lines, note))
    return found


def dense_grids(frame: pd.DataFrame, labels: Sequence[str]) -> list[Grid]:
    """The same for a terminal, with how those ended that were not measured."""
    found = []
    for table in dense_tables(frame, labels):
        headers = [
            *("mechanism", "head", "mIoU", "IoU of each\nclass, %", "MACs"),
            *("trained\nimages/s", "points beside\nthe other head", "verdict"),
        ]
        rows = [
            [
                *(line.label, line.head, f"{line.miou.text} {line.miou.note}"),
                ", ".join(cell.text.rstrip("%") for cell in line.ious),
                *(line.macs.text, line.speed.text),
                *(f"{line.against.text} {line.against.note}".strip(), line.verdict),
            ]
            for line in table.lines
        ]
        title = f"{table.title}; classes: {', '.join(table.classes)}"
        found.append(Grid(title, headers, 2, rows))
    failed = [row for row in records(frame) if is_censored(row, "accuracy")]
    if failed:
        rows = [
            [row["label"], row["head"], str(row["accuracy_status"]).replace("_", " ")]
            for row in failed
        ]
        found.append(Grid("Dense task, not measured", ["mechanism", "head", "ended"], 2, rows))
    return found


def _title(axes: Row, several_runs: bool) -> str:
    data = f" on {axes['dataset']}" if axes["dataset"] else ""
    run = f", run {axes['run']}" if several_runs else ""
    return f"Dense task: host {axes['host']}, trained at {resolution_text(axes)} px{data}{run}"


def _line(row: Row, pairs: list[Row]) -> DenseLine:
    sign, pair = _own_pair(row, pairs)
    against, verdict, reason = DenseCell(_NONE), "", ""
    if pair is not None:
        value = sign * float(pair["difference"])
        low, high = sorted(sign * float(pair[f"difference_{end}"]) for end in ("low", "high"))
        text = f"[{points(low)}, {points(high)}]"
        against = DenseCell(points(value), str(100 * value), text)
        verdict, reason = str(pair["verdict"]), str(pair["reason"])
        if sign < 0:
            verdict = turned(verdict)
    miou = float(row["miou"])
    ends = [format_percent(float(row[f"miou_{end}"])) for end in ("low", "high")]
    macs = float(row["macs"]) if is_measured(row, "macs", "complexity") else math.nan
    speed = float(row.get("train_images_per_s", math.nan))
    return DenseLine(
        str(row["label"]),
        str(row["head"]),
        DenseCell(format_percent(miou), str(miou), f"[{', '.join(ends)}]"),
        [_iou(values) for values in zip(*row["details"]["class_iou"], strict=True)],
        DenseCell(format_count(macs), str(macs)) if is_number(macs) else DenseCell(_NONE),
        DenseCell(significant(speed, 3), str(speed)) if is_number(speed) else DenseCell(_NONE),
        against,
        verdict,
        reason,
    )


def _own_pair(row: Row, pairs: list[Row]) -> tuple[float, Row | None]:
    """The pair that a row is in, and 1 if it is its first, else -1."""
    for pair in pairs:
        if pair["label"] == row["label"] and row["head"] in (pair["head"], pair["other"]):
            return (1.0 if row["head"] == pair["head"] else -1.0), pair
    return 1.0, None


def _iou(seeds: Sequence[float | None]) -> DenseCell:
    """Of one class, the mean over the seeds that know it."""
    known = [value for value in seeds if value is not None]
    if not known:
        return DenseCell(_NONE)
    value = math.fsum(known) / len(known)
    return DenseCell(format_percent(value), str(value))
