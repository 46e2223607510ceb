"""What a sweep shows while it runs: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from paca_bench.record import Record, Status
from paca_bench.units import format_seconds

if TYPE_CHECKING:
    from paca_bench.plan import PlannedCase
    from paca_bench.workers import Outcome

PLAIN_EVERY_S = 15.0


def make_progress(console: Console) -> PlainProgress:
    """The display that fits ``console``; end it by ``close``."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)


class PlainProgress:
    """An ``Observer`` that prints a line now and then, and one for each case that failed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = self._last = time.monotonic()
        self._end = math.inf
        self._left = 0
        self._counts: Counter[str] = Counter()

    def close(self) -> None:
        """End the display."""

    def planned(self, planned: Sequence[PlannedCase], jobs: int, seconds: float) -> None:
        """See ``Observer``."""
        self._left = jobs
        self._end = time.monotonic() + seconds
        refused = sum(1 for one in planned if not one.to_run)
        expected = sum(one.wall_s for one in planned)
        note = f", {refused} of them not supported" if refused else ""
        short = "; the cheapest go first" if expected > seconds else ""
        self._print(
            f"{len(planned)} cases{note}; all of them would take about "
            f"{format_seconds(expected)}, {format_seconds(seconds)} are left of the budget{short}"
        )

    def working(self, planned: PlannedCase, group: str) -> None:
        """See ``Observer``."""

    def worked(self, planned: PlannedCase, group: str, outcome: Outcome, jobs_left: int) -> None:
        """See ``Observer``."""
        self._left = jobs_left
        # Rounds beyond the planned ones narrow intervals; the total grows with them.
        self._counts["ok" if outcome.status is Status.OK else "failed"] += 1
        if outcome.status is not Status.OK:
            self._print(f"{planned.case.id}: {group} {outcome.status.value}: {outcome.reason}")
        elif time.monotonic() - self._last >= PLAIN_EVERY_S:
            self._last = time.monotonic()
            self._print(f"{self._state()}; now {planned.case.id} ({group})")

    def recorded(self, record: Record) -> None:
        """See ``Observer``."""

    def _state(self) -> str:
        elapsed = time.monotonic() - self._start
        return (
            f"{format_seconds(elapsed)}: {self._counts['ok']} processes done, "
            f"{self._counts['failed']} failed, {self._left} left, about {self._eta(elapsed)} to go"
        )

    def _eta(self, elapsed: float) -> str:
        """What is left at the present pace, but never more than the budget leaves."""
        done = sum(self._counts.values())
        paced = elapsed / done * self._left if done else math.inf
        left = min(paced, max(self._end - time.monotonic(), 0.0))
        return "?" if math.isinf(left) else format_seconds(left)

    def _print(self, line: str) -> None:
        self._console.print(escape(line), highlight=False, soft_wrap=True)


class LiveProgress(PlainProgress):
    """The same, with a bar that shows the case in hand."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
            # Drawn when something happens: a thread that redraws would disturb the worker.
            auto_refresh=False,
        )
        self._task = self._progress.add_task("starting", total=None, state="")
        self._progress.start()

    def close(self) -> None:
        """See ``PlainProgress``."""
        self._progress.stop()

    def working(self, planned: PlannedCase, group: str) -> None:
        """See ``Observer``."""
        done = sum(self._counts.values())
        elapsed = time.monotonic() - self._start
        failed = f", {self._counts['failed']} failed" if self._counts["failed"] else ""
        self._progress.update(
            self._task,
            description=escape(f"{planned.case.id} ({group})"),
            completed=done,
            total=done + max(self._left, 1),
            state=f"{format_seconds(elapsed)}, about {self._eta(elapsed)} left{failed}",
            refresh=True,
        )

    def worked(self, planned: PlannedCase, group: str, outcome: Outcome, jobs_left: int) -> None:
        """See ``Observer``."""
        self._last = time.monotonic()
        super().worked(planned, group, outcome, jobs_left)
