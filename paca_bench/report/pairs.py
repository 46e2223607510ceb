"""Every two mechanisms that were trained alike, as a table to read."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from paca_bench.analyse.accuracy_pairs import ALIKE, MARGIN, Q, accuracy_pairs
from paca_bench.analyse.curves import Row, groups, records, resolution_text
from paca_bench.analyse.wording import points
from paca_bench.report.places import is_number
from paca_bench.units import significant

if TYPE_CHECKING:
    import pandas as pd


# Of one table: more are not read to the end.
MOST_LINES = 300


def verdict_css(verdict: str) -> str:
    """The class that colours the verdict on an accuracy."""
    return {"higher": "faster", "lower": "slower"}.get(verdict, "")


def turned(verdict: str) -> str:
    """The verdict on a pair whose sides are exchanged."""
    return {"higher": "lower", "lower": "higher"}.get(verdict, verdict)


@dataclass(frozen=True, slots=True)
class PairLine:
    """One pair; texts as they are shown, and the numbers to sort by."""

    label: str
    other: str
    difference: float
    gap: str
    interval: str
    verdict: str
    detectable: float
    adjusted_p: str
    p_sort: str
    reason: str

    @property
    def css(self) -> str:
        """The class that colours the verdict."""
        return verdict_css(self.verdict)


@dataclass(frozen=True, slots=True)
class PairTable:
    """The pairs of one host and training, and what to keep in mind."""

    id: str
    title: str
    lines: list[PairLine]
    note: str


def pair_tables(frame: pd.DataFrame, labels: list[str]) -> list[PairTable]:
    """A table per run, host and training; pairs stand in the order of ``labels``."""
    table = accuracy_pairs(frame)
    several = frame["run"].nunique() > 1
    found: list[PairTable] = []
    for axes, rows in groups(table, ALIKE):
        pairs = records(rows)
        kept = sorted(pairs, key=_known_p)[:MOST_LINES]
        lines = sorted(
            (_line(row, labels) for row in kept),
            key=lambda line: (labels.index(line.label), labels.index(line.other)),
        )
        title = training_title(axes, several)
        note = pairs_note(pairs)
        if len(kept) < len(pairs):
            note = f"The {len(kept)} of {len(pairs)} pairs with the lowest p are shown. {note}"
        found.append(PairTable(f"pairs-{len(found)}", title, lines, note))
    return found


def training_title(axes: Row, several_runs: bool) -> str:
    """``Host nano, trained at 32 px on mnist5k``."""
    where = f"Host {axes['host']}" if axes["host"] else "Models"
    data = f" on {axes['dataset']}" if axes["dataset"] else ""
    run = f", run {axes['run']}" if several_runs else ""
    return f"{where}, trained at {resolution_text(axes)} px{data}{run}"


def pairs_note(rows: list[Row]) -> str:
    """What so many seeds can tell, and how it was found."""
    seen = [float(row["detectable"]) for row in rows if is_number(row["detectable"])]
    counts = Counter(str(row["verdict"]) for row in rows)
    tally = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
    text = f"{tally[:1].upper()}{tally[1:]} of {len(rows)}."
    if seen:
        seeds = min(int(row["seeds"]) for row in rows if row["seeds"] > 1)
        text += (
            f" With {seeds} seeds a difference had to be {significant(100 * median(seen), 2)} "
            "points (the median over pairs) to be found in four of five such runs."
        )
    methods = "; ".join(dict.fromkeys(str(row["method"]) for row in rows))
    return (
        f"{text} Interval: {methods}; same is an interval within {100 * MARGIN:g} point either "
        f"way; of all that is called higher or lower at most {Q:.0%} is expected to be wrong "
        "(Benjamini and Hochberg, over this table)."
    )


def _known_p(row: Row) -> float:
    """Infinite for a pair without one, of a single seed."""
    return float(row["adjusted_p"]) if is_number(row["adjusted_p"]) else math.inf


def _line(row: Row, labels: list[str]) -> PairLine:
    sign, label, other = 1.0, str(row["label"]), str(row["other"])
    verdict = str(row["verdict"])
    if labels.index(label) > labels.index(other):
        sign, label, other = -1.0, other, label
        verdict = turned(verdict)
    low, high = sorted(sign * float(row[f"difference_{end}"]) for end in ("low", "high"))
    return PairLine(
        label,
        other,
        100 * sign * float(row["difference"]),
        points(sign * float(row["difference"])),
        f"[{points(low)}, {points(high)}]",
        verdict,
        100 * float(row["detectable"]),
        _p_text(row["adjusted_p"]),
        str(row["adjusted_p"]) if is_number(row["adjusted_p"]) else "",
        str(row["reason"]),
    )


def _p_text(p: Any) -> str:
    if not is_number(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
