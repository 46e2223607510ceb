"""The comparison with the published tables as text, for ``paca-bench verify``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.complexity.conventions import CONVENTIONS
from paca_bench.complexity.published import tolerance
from paca_bench.verify import MISPRINT, OK, OUT, Comparison, Row

_COLOURS = {OK: "green", MISPRINT: "yellow", OUT: "red"}
# What the tables need; a pipe has no width of its own, and rich would assume less.
_WIDTH = 100
_NEAREST = "~"


def print_verification(rows: Sequence[Row]) -> None:
    """The published tables one by one, then what their words mean, on standard output."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    names = max(len(row.published.model) for row in rows)
    for (title, source), group in groupby(rows, lambda r: (r.published.table, r.published.source)):
        console.print(f"[bold]{escape(title)}[/bold]\n{escape(source)}", highlight=False)
        console.print(_table(list(group), names))
        console.print()
    for note in _notes(rows):
        console.print(escape(note), highlight=False)


def _table(rows: Sequence[Row], names: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("model", min_width=names)
    for heading, width in (("params", 6), ("theirs", 6), ("diff", 6)):
        table.add_column(heading, justify="right", min_width=width)
    for heading, width in (("GMACs", 6), ("theirs", 6), ("diff", 5)):
        table.add_column(heading, justify="right", min_width=width)
    table.add_column("counted as", min_width=13)
    table.add_column("verdict", min_width=8)
    for row in rows:
        macs = ("", "-", "", "") if row.macs is None else (*_cells(row.macs, 2), _counted(row.macs))
        colour = _COLOURS[row.verdict]
        verdict = f"[{colour}]{row.verdict}[/{colour}]"
        table.add_row(row.published.model, *_cells(row.params, 3), *macs, verdict)
    return table


def _cells(comparison: Comparison, places: int) -> tuple[str, str, str]:
    return (
        f"{comparison.scaled:.{places}f}",
        str(comparison.printed),
        f"{comparison.difference:+.{places}f}",
    )


def _counted(comparison: Comparison) -> str:
    return comparison.convention if comparison.reproduces else f"{_NEAREST} {comparison.convention}"


def _notes(rows: Sequence[Row]) -> list[str]:
    allowed = tolerance()
    notes = [
        f"Parameters in millions, within {allowed['params_m']}; multiply-accumulates in billions, "
        f"within {allowed['macs_g']}; or the printed digits. Counted as:"
    ]
    macs = [row.macs for row in rows if row.macs is not None]
    used = {comparison.convention for comparison in macs}
    notes += [f"  {name}: {text}" for name, text in CONVENTIONS.items() if name in used]
    if not all(comparison.reproduces for comparison in macs):
        notes.append(f"  {_NEAREST} none gives the printed digits; this one is the nearest")
    cut_off = dict.fromkeys(row.published.model for row in rows if row.published.params_cut_off)
    if cut_off:
        notes.append(f"Printed without their fraction, not rounded: {', '.join(cut_off)}")
    for row in rows:
        for comparison in row.comparisons:
            if comparison.evidence:
                notes.append(
                    f"Misprint, {row.published.model}, {comparison.printed} at "
                    f"{row.published.input}x{row.published.input}: {comparison.evidence}"
                )
    tally = Counter(row.verdict for row in rows)
    notes.append(f"{len(rows)} rows: " + ", ".join(f"{tally[v]} {v}" for v in _COLOURS))
    return notes
