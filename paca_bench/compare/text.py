"""A comparison in the terminal."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from paca_bench.analyse.compare import Change
from paca_bench.compare.comparison import CLEAN, REGRESSION, CasePair, Comparison
from paca_bench.compare.wording import (
    detectable_text,
    headline,
    latency_text,
    note,
    sentences,
    static_row,
)
from paca_bench.report.grid import Grid, print_grid
from paca_bench.units import significant

_MOST_ROWS = 60
_STYLES = {CLEAN: "bold green", REGRESSION: "bold red"}


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Changed counts, the latency of every case, why cases stay open, and the verdict last."""
    for name, side in (("BASE", comparison.base), ("NEW", comparison.new)):
        console.print(Text(f"{name}  {side.path}" + (f"  ({m})" if (m := side.machine) else "")))
    console.print()
    if comparison.static_changes:
        print_grid(_static_grid(comparison), console)
        console.print()
    if comparison.judged or comparison.refused:
        print_grid(_latency_grid(comparison), console)
        console.print()
    for case in _with_notes(comparison):
        console.print(Text(textwrap.shorten(f"{case.id}: {note(case)}", 400)))
    for sentence in sentences(comparison):
        console.print(Text(sentence))
    console.print(Text(headline(comparison), _STYLES.get(comparison.exit_code, "bold yellow")))


def _static_grid(comparison: Comparison) -> Grid:
    rows = [
        static_row(case, static, "regression")
        for case, static in comparison.static_changes[:_MOST_ROWS]
    ]
    title = _title("Deterministic metrics that changed", len(comparison.static_changes))
    return Grid(title, ["case", "metric", "BASE", "NEW", "change", "verdict"], 2, rows)


def _latency_grid(comparison: Comparison) -> Grid:
    """Those with news first: slower, faster, inconclusive, same."""
    timed = [case for case in comparison.cases if case.judgement or case.is_refused]
    order = [Change.SLOWER, Change.FASTER, Change.INCONCLUSIVE, Change.SAME]
    timed.sort(key=lambda case: order.index(case.judgement.change) if case.judgement else -1)
    rows = [
        [case.id, latency_text(case), _adjusted(case), detectable_text(case.judgement), _word(case)]
        for case in timed[:_MOST_ROWS]
    ]
    headers = ["case", "latency\nNEW / BASE", "p\nadjusted", "detectable", "verdict"]
    return Grid(_title("Latency", len(timed)), headers, 1, rows)


def _title(what: str, count: int) -> str:
    return what if count <= _MOST_ROWS else f"{what} (the first {_MOST_ROWS} of {count})"


def _adjusted(case: CasePair) -> str:
    p = case.judgement.adjusted_p if case.judgement else None
    return "-" if p is None else significant(p, 2)


def _word(case: CasePair) -> str:
    return case.judgement.change.value if case.judgement else "refused"


def _with_notes(comparison: Comparison) -> list[CasePair]:
    """Inconclusive and broken cases, once for each reason."""
    found: dict[str, CasePair] = {}
    for case in comparison.cases:
        if case.broken or (case.judgement and case.judgement.reason):
            found.setdefault(note(case), case)
    return list(found.values())[:_MOST_ROWS]
