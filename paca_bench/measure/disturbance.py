"""What happened to the machine during each sample: looked at between samples, never in one."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from paca_bench.measure.conditions import Conditions, Snapshot, difference, disturbed, usual_of

# Looking takes time in which caches cool down, so it takes no more than a twentieth of all.
LOOK_SHARE = 0.05
# A record holds so many at most for each process.
MAX_SPANS = 20


class Watching(Protocol):
    """The part of ``watch.Watch`` that is used here."""

    missing: dict[str, str]
    cost_s: float

    def snapshot(self) -> Snapshot:
        """The counters now."""

    def close(self) -> None:
        """No snapshot is taken afterwards."""


class Disturbances:
    """Looks at the machine's counters around each sample, or around several short ones.

    Use as a context manager, entered after the warm-up. ``before`` and ``after`` are called
    around each sample.

    Args:
        open_watch: opens a ``Watch``.
        seconds: that all samples may take; sets how many samples share a look.
        clock: seconds.
    """

    def __init__(
        self,
        open_watch: Callable[[], Watching],
        seconds: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._open = open_watch
        self._seconds = seconds
        self._clock = clock
        self._watch: Watching | None = None
        self._span_s = 0.0
        self._begin: Snapshot | None = None
        self._since = 0.0
        self._samples = 0
        self._missing: dict[str, str] = {}
        self.spans: list[tuple[int, Conditions]] = []

    def __enter__(self) -> Self:
        self._watch = self._open()
        self._missing = dict(self._watch.missing)
        self._span_s = max(self._watch.cost_s / LOOK_SHARE, self._seconds / MAX_SPANS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._end_span()
            self._watch.close()
            self._watch = None

    def before(self) -> None:
        """A sample is about to be taken."""
        if self._watch is not None and self._begin is None:
            self._begin = self._watch.snapshot()
            self._since = self._clock()

    def after(self) -> None:
        """A sample was taken."""
        self._samples += 1
        if self._clock() - self._since >= self._span_s:
            self._end_span()

    def report(self) -> dict[str, Any]:
        """For a record's details, each a list with one entry for this process.

        ``conditions``: for each span the number of its ``samples`` and what is not zero of
        ``Conditions``; ``disturbed``: number of the sample, from 0 -> why it is disturbed;
        and ``conditions_missing``: what this machine does not tell.
        """
        usual = usual_of([conditions for _, conditions in self.spans])
        marks: dict[str, list[str]] = {}
        first = 0
        for samples, conditions in self.spans:
            reasons = list(disturbed(conditions, usual))
            if reasons:
                marks |= {str(number): reasons for number in range(first, first + samples)}
            first += samples
        return {
            "conditions": [[{"samples": n, **_compact(c.to_json())} for n, c in self.spans]],
            "disturbed": [marks],
            "conditions_missing": self._missing,
        }

    def _end_span(self) -> None:
        if self._watch is None or self._begin is None or not self._samples:
            return
        self.spans.append((self._samples, difference(self._begin, self._watch.snapshot())))
        self._begin, self._samples = None, 0


def _compact(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is unknown or zero, and to four digits."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = _compact(value)
        if value:
            kept[name] = float(f"{value:.4g}") if isinstance(value, float) else value
    return kept
