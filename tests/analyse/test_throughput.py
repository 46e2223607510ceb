from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from paca_bench.analyse.throughput import throughput_estimate
from paca_bench.errors import SpecError


def test_the_interval_is_that_of_batch_means() -> None:
    seconds = [0.5, 0.6, 0.4, 0.5]
    estimate = throughput_estimate(seconds, [8, 8, 8, 8])
    assert estimate is not None
    logs = np.log(np.array(seconds) / 8)
    low, high = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    assert estimate.value == pytest.approx(32 / 2.0)
    assert (estimate.low, estimate.high) == pytest.approx((np.exp(-high), np.exp(-low)))
    assert "4 groups of consecutive batches of one process" in estimate.method


def test_neighbours_are_put_together() -> None:
    """Twenty batches in ten groups: slow and fast neighbours cancel, and all groups agree."""
    estimate = throughput_estimate([1.0, 3.0] * 10, [4] * 20)
    assert estimate is not None
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((2.0, 2.0, 2.0))
    assert (estimate.units, estimate.samples) == (10, 20)


@given(
    st.lists(st.tuples(st.floats(1e-4, 10), st.integers(1, 64)), min_size=2, max_size=40),
    st.floats(0.01, 100),
)
def test_it_contains_its_value_and_follows_the_unit_of_time(
    batches: list[tuple[float, int]], unit: float
) -> None:
    seconds, images = zip(*batches, strict=True)
    one = throughput_estimate(seconds, images)
    other = throughput_estimate([s * unit for s in seconds], images)
    assert one is not None
    assert other is not None
    assert one.low <= one.value <= one.high
    scaled = (other.low * unit, other.value * unit, other.high * unit)
    assert scaled == pytest.approx((one.low, one.value, one.high), rel=1e-6)


def test_one_batch_has_no_interval() -> None:
    assert throughput_estimate([1.0], [4]) is None
    assert throughput_estimate([], []) is None


@pytest.mark.parametrize(
    ("seconds", "images"), [([0.0, 1.0], [1, 1]), ([1.0, 1.0], [1, 0]), ([1.0, 1.0], [1])]
)
def test_what_is_no_batch_is_refused(seconds: list[float], images: list[int]) -> None:
    with pytest.raises(SpecError, match="positive duration"):
        throughput_estimate(seconds, images)
