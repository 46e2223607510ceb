"""A history in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from paca_bench.compare.comparison import REGRESSION
from paca_bench.history.history import History
from paca_bench.history.wording import (
    SERIES_HEADERS,
    STEP_HEADERS,
    STEP_NAMES,
    headline,
    sentences,
    series_row,
    span,
    step_row,
)
from paca_bench.report.grid import Grid, print_grid

_MOST_ROWS = 60


def print_history(history: History, console: Console, *, all_cases: bool = False) -> None:
    """The steps, the latencies of cases with one (or of all), doubts, and the headline last."""
    console.print(Text(span(history.runs)))
    console.print()
    if history.steps:
        rows = [step_row(step) for step in history.steps[:_MOST_ROWS]]
        print_grid(
            Grid(_title("Steps", len(history.steps)), STEP_HEADERS, STEP_NAMES, rows), console
        )
        console.print()
    shown = [one for one in history.latencies if all_cases or (one.course and one.course.steps)]
    if shown:
        rows = [series_row(one) for one in (shown if all_cases else shown[:_MOST_ROWS])]
        title = "Latency" if all_cases else _title("Latency with a step", len(shown))
        print_grid(Grid(title, SERIES_HEADERS, 2, rows), console)
        console.print()
    for sentence in sentences(history):
        console.print(Text(sentence))
    console.print(Text(headline(history), _style(history)))


def _style(history: History) -> str:
    if history.exit_code == REGRESSION:
        return "bold red"
    return "bold" if history.steps else "bold green"


def _title(what: str, count: int) -> str:
    return what if count <= _MOST_ROWS else f"{what} (the first {_MOST_ROWS} of {count})"
