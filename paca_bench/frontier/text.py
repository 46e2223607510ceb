"""Frontiers as text on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.frontier.find import Entry
from paca_bench.record import Case


def print_frontiers(entries: Sequence[Entry], console: Console) -> None:
    """One table a limit, and under it what could not be confirmed and why."""
    axes = [_axes(entry.case) for entry in entries]
    varying = [len({values[i] for values in axes}) > 1 for i in range(len(axes[0]))]
    # The curve's own name always stands in its row.
    varying[0] = True
    common = ", ".join(text for text, varies in zip(axes[0], varying, strict=True) if not varies)
    by_limit: dict[str, list[tuple[str, Entry]]] = {}
    for entry, values in zip(entries, axes, strict=True):
        name = " ".join(text for text, varies in zip(values, varying, strict=True) if varies)
        title = f"{entry.limit.kind} up to {entry.limit.given} ({common})"
        by_limit.setdefault(title, []).append((name, entry))
    for title, rows in by_limit.items():
        console.print(_table(title, rows))
        for name, entry in rows:
            if entry.note:
                console.print(f"- {escape(name)}: {escape(entry.note)}", highlight=False)
        console.print()


def _axes(case: Case) -> tuple[str, ...]:
    place = {
        "layer": f"layer of stage {case.stage} of {case.host}",
        "host": f"host {case.host}",
        "model": "published model",
    }
    return case.label, place[case.level], case.mode, f"batch {case.batch}", case.dtype


def _table(title: str, rows: Iterable[tuple[str, Entry]]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("curve", overflow="fold")
    for heading in ("largest", "predicted", "measured", "32 px further"):
        table.add_column(heading, justify="right")
    table.add_column("confirmed")
    for name, row in rows:
        text = row.limit.text
        # A bound on a latency is no prediction of it.
        guessed = row.resolution is not None and row.limit.kind != "latency"
        table.add_row(
            escape(name),
            "-" if row.resolution is None else f"{row.resolution} px",
            text(row.predicted) if guessed else "-",
            _measured(row),
            "-" if row.next_measured is None else text(row.next_measured),
            _confirmed(row),
        )
    return table


def _measured(row: Entry) -> str:
    if row.measured is None:
        return "-"
    text = row.limit.text
    if row.low is None or row.high is None:
        return text(row.measured)
    return f"{text(row.measured)} [{text(row.low)}, {text(row.high)}]"


def _confirmed(row: Entry) -> str:
    if row.limit.kind == "macs" and row.confirmed:
        return "exact"
    return "yes" if row.confirmed else "no"
