"""How fine a clock is and what reading it costs, and when either matters.

Imports no torch: a clock is a function, and so is what times a call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

# A tenth of the change that ``conditions.DISTURBED_SHARE`` would mark: below it, a correction
# could not be told from the noise.
MATTERS_SHARE = 0.001
# From here on the sample says more about the clock than about the call.
TOO_SHORT_SHARE = 0.1
READS = 2000
EMPTY_CALLS = 200

TimeCall = Callable[[Callable[[], object]], float]
"""Seconds of one call, as ``measure.latency.Timer.time``."""


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """What a timer adds to a sample, and how finely it tells two apart.

    Attributes:
        resolution_s: the smallest non-zero step that was seen; 0.0 where none was.
        overhead_s: the median of what an empty call is said to take.
    """

    resolution_s: float
    overhead_s: float

    def share(self, sample_s: float) -> float:
        """The part of a sample of ``sample_s`` seconds that the clock may have made."""
        return (self.resolution_s + self.overhead_s) / sample_s if sample_s > 0 else 1.0

    def matters(self, sample_s: float) -> bool:
        """True if the clock made more than ``MATTERS_SHARE`` of the sample."""
        return self.share(sample_s) > MATTERS_SHARE

    def too_short(self, sample_s: float) -> bool:
        """True if the sample is the clock's rather than the call's: time several calls as one."""
        return self.share(sample_s) > TOO_SHORT_SHARE

    def corrected(self, sample_s: float) -> float:
        """The sample without the overhead, where that matters; as it is elsewhere.

        Never below the resolution: a duration must stay positive to have a logarithm.
        """
        if not self.matters(sample_s):
            return sample_s
        return max(sample_s - self.overhead_s, self.resolution_s, 1e-9)


def calibrate_clock(
    time_call: TimeCall, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> ClockQuality:
    """The quality of a wall clock, ``clock_ns``, and of the timer that reads it.

    The step is that between two readings that differ, so it is no finer than a reading takes.
    """
    readings = [clock_ns() for _ in range(READS)]
    return ClockQuality(
        resolution_s=_smallest_step(readings) * 1e-9,
        overhead_s=statistics.median(_empty(time_call)),
    )


def calibrate_events(time_call: TimeCall) -> ClockQuality:
    """The quality of a timer that cannot be read, only give durations, such as CUDA events.

    The step is the smallest difference between durations of empty calls that differ: the
    device's clock moves in ticks, about half a microsecond by CUDA's documentation of
    ``cudaEventElapsedTime``.
    """
    durations = _empty(time_call)
    return ClockQuality(
        resolution_s=_smallest_step(sorted(durations)), overhead_s=statistics.median(durations)
    )


def _empty(time_call: TimeCall) -> list[float]:
    """Durations of calls that do nothing; the first ones warm up and do not count."""
    durations = [time_call(_nothing) for _ in range(EMPTY_CALLS + EMPTY_CALLS // 10)]
    return durations[EMPTY_CALLS // 10 :]


def _nothing() -> None:
    pass


def _smallest_step(ascending: list[int] | list[float]) -> float:
    steps = (after - before for before, after in pairwise(ascending))
    return min((step for step in steps if step > 0), default=0.0)
