from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from paca_bench.analyse.proportion import proportion_estimate
from paca_bench.errors import SpecError


@given(trials=st.integers(1, 60_000), data=st.data(), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_it_is_the_wilson_interval_of_another_implementation(
    trials: int, data: st.DataObject, confidence: float
) -> None:
    successes = data.draw(st.integers(0, trials))
    ours = proportion_estimate(successes, trials, confidence)
    theirs = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert ours.value == successes / trials
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_printed_values(successes: int, trials: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    estimate = proportion_estimate(successes, trials)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
    assert estimate.method == f"95% Wilson interval over {trials} images"


def test_the_ends_are_exact() -> None:
    assert proportion_estimate(0, 7).low == 0.0
    assert proportion_estimate(7, 7).high == 1.0


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(SpecError, match=f"{successes} of {trials}"):
        proportion_estimate(successes, trials)
