"""An evaluation as text, and its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from paca_bench.analyse.statistics import Estimate
from paca_bench.evaluate.result import Header, Row
from paca_bench.evaluate.run import Evaluation, Observer
from paca_bench.units import significant

# A pipe has no width of its own, and rich would assume less.
_WIDTH = 100
_NAMED = 3
_EVERY_S = 30.0


def print_evaluation(header: Header, rows: Sequence[Row], console: Console) -> None:
    """One table line a resolution, then how each number came about and what was left out."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    options = "".join(f", {name}={value}" for name, value in header.options.items())
    for line in (
        f"{header.model}{options}: weights of {header.checkpoint} (sha256 {header.sha256[:12]})",
        f"{header.images:,} images of {header.data}, preprocessed with {header.preprocessing}",
        f"{header.environment['device']}, {header.computing}, batch {header.batch}",
    ):
        console.print(escape(line), highlight=False)
    console.print(_table(rows))
    for note in _notes(header, rows):
        console.print(f"- {escape(note)}", highlight=False)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    headings = ("top-1 %", "top-5 %", "published", "diff", "images/s,\nmodel", "images/s,\nall")
    for heading in ("px", *headings):
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        published, difference = row.published.percent, row.difference
        table.add_row(
            str(row.side),
            _percent(row.top1),
            _percent(row.top5),
            "-" if published is None else f"{published:g}",
            "-" if difference is None else f"{difference:+.2f}",
            _rate(row.model_images_per_s),
            _rate(row.images_per_s),
        )
    return table


def _percent(share: Estimate | None) -> str:
    return "-" if share is None else _interval(share, lambda value: f"{100 * value:.2f}")


def _rate(rate: Estimate | None) -> str:
    return "-" if rate is None else _interval(rate, significant)


def _interval(estimate: Estimate, text: Callable[[float], str]) -> str:
    """On two lines, which a narrow terminal needs."""
    return f"{text(estimate.value)}\n[{text(estimate.low)}, {text(estimate.high)}]"


def _notes(header: Header, rows: Sequence[Row]) -> Iterator[str]:
    yield from header.notes
    for row in rows:
        yield f"{row.side} px: {'; '.join(_remarks(row))}"
    measured = [row for row in rows if not row.reason]
    methods = [row.top1.method for row in measured if row.top1 is not None]
    rates = [rate.method for row in measured if (rate := row.model_images_per_s) is not None]
    yield from (f"top-1 and top-5: {method}" for method in dict.fromkeys(methods))
    yield from (
        f"images/s of the forward pass alone, and of all with decoding, without the first batch: "
        f"{method}"
        for method in dict.fromkeys(rates)
    )
    if any(row.model_images_per_s is None for row in measured):
        yield "images/s needs three batches for an interval: take a smaller --batch"
    yield from _left_out(rows)


def _remarks(row: Row) -> Iterator[str]:
    if row.reason:
        yield f"not measured: {row.reason}"
    else:
        yield f"{row.images:,} images, attention kernel {row.kernel}"
    yield row.preprocessing
    if row.published.why_none:
        yield f"no published top-1 beside it: {row.published.why_none}"
    else:
        yield f"source of the published top-1: {row.published.source}"
    yield from row.notes


def _left_out(rows: Sequence[Row]) -> Iterator[str]:
    """The unreadable files, which are the same at every resolution."""
    most = max((row.bad for row in rows), key=len, default=())
    if not most:
        return
    named = "; ".join(f"{one.path} ({one.reason})" for one in most[:_NAMED])
    more = f"; and {len(most) - _NAMED} more, which --json names" if len(most) > _NAMED else ""
    yield f"skipped: {len(most)} files that cannot be read: {named}{more}"


@contextmanager
def progress(evaluation: Evaluation, console: Console) -> Iterator[Observer]:
    """An observer that shows how far each resolution is: a bar, or a line now and then."""
    total = len(evaluation.images.paths)
    if not console.is_terminal:
        yield _PlainProgress(total, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        tasks = {side: bars.add_task(f"{side} px", total=total) for side in evaluation.sides}
        yield lambda side, images: bars.advance(tasks[side], images)


class _PlainProgress:
    def __init__(self, total: int, console: Console) -> None:
        self._total = total
        self._console = console
        self._done: dict[int, int] = {}
        self._last = time.monotonic()

    def __call__(self, side: int, images: int) -> None:
        self._done[side] = self._done.get(side, 0) + images
        if time.monotonic() - self._last >= _EVERY_S:
            self._last = time.monotonic()
            text = f"{side} px: {self._done[side]:,} of {self._total:,} images"
            self._console.print(text, highlight=False)
