"""Searching the largest side that fits, on laws that are known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.axes import MAX_RESOLUTION, RESOLUTION_STEP
from paca_bench.errors import SpecError, UnsupportedError
from paca_bench.frontier.limits import Limit, make_limits
from paca_bench.frontier.search import (
    MAX_MEASURED,
    bracket,
    largest_side,
    next_side,
    smallest_side,
)

SIDES = range(RESOLUTION_STEP, MAX_RESOLUTION + 1, RESOLUTION_STEP)


@dataclass
class Value:
    value: float
    spread: float = 0.0

    @property
    def low(self) -> float:
        return self.value * (1 - self.spread)

    @property
    def high(self) -> float:
        return self.value * (1 + self.spread)


@given(st.integers(1, 20000))
@settings(max_examples=100, deadline=None)
def test_bisection_finds_the_largest_side(limit: int) -> None:
    expected = max((side for side in SIDES if side <= limit), default=None)
    assert largest_side(lambda side: side <= limit) == expected


def test_bisection_looks_at_few_sides() -> None:
    seen: list[int] = []
    largest_side(lambda side: bool(seen.append(side)) or side <= 777)
    assert len(seen) <= 12


def test_sizes_that_cannot_be_are_passed_over() -> None:
    def works(side: int) -> None:
        if side < 100:
            raise UnsupportedError("too small")

    assert smallest_side(works) == 128
    assert smallest_side(lambda side: works(0)) is None


@given(
    limit=st.floats(1e-3, 1e3),
    exponent=st.floats(1.5, 4.2),
    overhead=st.floats(0, 0.5),
    first=st.sampled_from([32, 224, 1024]),
)
@settings(max_examples=200, deadline=None)
def test_the_frontier_of_a_measured_law_is_closed_in(
    limit: float, exponent: float, overhead: float, first: int
) -> None:
    """Though the prediction has another exponent, and knows of no overhead."""

    def law(side: int) -> float:
        return overhead * limit + 1e-6 * side**exponent

    measured = {}
    side: int | None = first
    while side is not None:
        assert side not in measured
        measured[side] = Value(law(side))
        side = next_side(limit, measured, lambda s: float(s) ** 3)
    assert len(measured) <= MAX_MEASURED
    expected = max((s for s in SIDES if law(s) <= limit), default=None)
    found = bracket(limit, measured)
    if len(measured) < MAX_MEASURED:
        assert found.fits == expected
    elif found.fits is not None:
        assert law(found.fits) <= limit


def test_good_predictions_take_few_measurements() -> None:
    measured = {224: Value(2e-6 * 224**2)}
    while side := next_side(0.9, measured, lambda s: float(s) ** 2):
        measured[side] = Value(2e-6 * side**2)
    assert len(measured) == 3
    assert bracket(0.9, measured).fits == 640


def test_an_interval_that_holds_the_limit_is_unclear() -> None:
    measured = {64: Value(0.5, 0.1), 96: Value(0.98, 0.05), 128: Value(2.0, 0.1)}
    found = bracket(1.0, measured)
    assert (found.fits, found.exceeds, found.unclear) == (64, 128, (96,))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("memory", "16GB", 16e9),
        ("memory", "15GiB", 15 * 2**30),
        ("memory", "1.5 mib", 1.5 * 2**20),
        ("latency", "50ms", 0.05),
        ("latency", "0.2s", 0.2),
        ("latency", "800us", 800e-6),
        ("macs", "5G", 5e9),
        ("macs", "4096", 4096),
    ],
)
def test_limits_with_units(kind: str, text: str, value: float) -> None:
    assert make_limits({kind: text}) == [Limit(kind, pytest.approx(value), text)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("memory", "16"),
        ("memory", "-1GB"),
        ("memory", "GB"),
        ("latency", "50"),
        ("latency", "0ms"),
        ("latency", "nan"),
        ("macs", "5X"),
        ("macs", "9" * 400),
    ],
)
def test_what_is_no_limit_is_refused(kind: str, text: str) -> None:
    with pytest.raises(SpecError, match=f"--{kind}.*is not a limit; write it with its unit"):
        make_limits({kind: text})


def test_a_limit_must_be_given() -> None:
    with pytest.raises(SpecError, match="add --memory 16GB"):
        make_limits({"memory": None, "latency": None})
