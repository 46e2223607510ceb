"""Clocks made of numbers: what they resolve, what they cost, and when it matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from paca_bench.measure.clock import ClockQuality, calibrate_clock, calibrate_events
from paca_bench.measure.latency import CpuTimer, CudaTimer


def coarse_clock(step_ns: int, reads_per_step: int) -> Iterator[int]:
    now = 5_000
    while True:
        for _ in range(reads_per_step):
            yield now
        now += step_ns


def test_the_resolution_is_the_smallest_step_and_not_zero() -> None:
    clock = coarse_clock(step_ns=1000, reads_per_step=7)
    quality = calibrate_clock(lambda call: 0.0, lambda: next(clock))
    assert quality.resolution_s == pytest.approx(1e-6)


def test_a_clock_that_stands_still_has_no_step() -> None:
    assert calibrate_clock(lambda call: 1e-6, lambda: 0).resolution_s == 0.0


def test_the_overhead_is_the_median_of_empty_calls_after_a_warm_up() -> None:
    durations = iter([1.0] * 20 + [2e-6, 4e-6, 3e-6, 9.0] * 50)
    calls: list[object] = []

    def time_call(call: Callable[[], object]) -> float:
        calls.append(call())
        return next(durations)

    quality = calibrate_clock(time_call)
    assert quality.overhead_s == pytest.approx(3.5e-6)
    assert len(calls) == 220


def test_events_are_judged_by_the_durations_they_give() -> None:
    ticks = cycle([2, 3, 3, 5])

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            pass

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, end: Event) -> float:
            return next(ticks) * 0.0005  # milliseconds, in ticks of half a microsecond

    quality = calibrate_events(CudaTimer(lambda: None, Event).time)
    assert quality.resolution_s == pytest.approx(0.5e-6)
    assert quality.overhead_s == pytest.approx(1.5e-6)


@pytest.mark.parametrize(
    ("sample_s", "matters", "too_short"),
    [(1.0, False, False), (1.01e-3, False, False), (0.99e-3, True, False), (9e-6, True, True)],
)
def test_the_clock_matters_in_short_samples(
    sample_s: float, matters: bool, too_short: bool
) -> None:
    quality = ClockQuality(resolution_s=0.1e-6, overhead_s=0.9e-6)
    assert quality.matters(sample_s) is matters
    assert quality.too_short(sample_s) is too_short
    expected = sample_s - 0.9e-6 if matters else sample_s
    assert quality.corrected(sample_s) == pytest.approx(expected, rel=1e-12)


def test_a_corrected_sample_stays_positive() -> None:
    assert ClockQuality(1e-7, 1e-6).corrected(0.5e-6) == 1e-7
    assert ClockQuality(0.0, 1e-6).corrected(0.5e-6) > 0
    assert ClockQuality(1e-7, 1e-6).share(0.0) == 1.0


def test_this_machine_has_a_clock() -> None:
    quality = calibrate_clock(CpuTimer().time)
    assert quality.resolution_s > 0
    assert quality.overhead_s > 0
