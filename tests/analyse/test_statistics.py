import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paca_bench.analyse.statistics import (
    Estimate,
    latency_estimate,
    ratio_estimate,
    seed_estimate,
)
from paca_bench.errors import SpecError

seconds = st.floats(1e-6, 1e3)
processes = st.lists(st.lists(seconds, min_size=1, max_size=12), min_size=1, max_size=6)
accuracies = st.lists(st.floats(0, 1), min_size=1, max_size=6)
quick = settings(max_examples=60, deadline=None)


def draw(rng: random.Random, true: float, count: int, between: float) -> list[list[float]]:
    """Processes whose log medians scatter by ``between`` around ``true``."""
    centres = [true * math.exp(rng.gauss(0, between)) for _ in range(count)]
    return [[centre * f for f in (0.999, 1.0, 1.002)] for centre in centres]


@quick
@given(processes)
def test_interval_contains_value(samples):
    estimate = latency_estimate(samples)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.units == len(samples)
    assert estimate.samples == sum(map(len, samples))


@quick
@given(processes, st.floats(1e-3, 1e3))
def test_scaling_samples_scales_the_estimate(samples, factor):
    before = latency_estimate(samples)
    after = latency_estimate([[factor * s for s in process] for process in samples])
    for name in ("value", "low", "high"):
        assert getattr(after, name) == pytest.approx(factor * getattr(before, name), rel=1e-6)


@quick
@given(processes, st.randoms(use_true_random=False))
def test_order_of_samples_and_processes_does_not_matter(samples, rng):
    shuffled = [rng.sample(process, len(process)) for process in samples]
    rng.shuffle(shuffled)
    before, after = latency_estimate(samples), latency_estimate(shuffled)
    assert (after.value, after.low, after.high) == pytest.approx(
        (before.value, before.low, before.high), rel=1e-9
    )


@quick
@given(processes, processes)
def test_swapping_the_sides_inverts_the_ratio(a, b):
    forward, backward = ratio_estimate(a, b), ratio_estimate(b, a)
    assert forward.low <= forward.value <= forward.high
    assert forward.value == pytest.approx(1 / backward.value, rel=1e-9)
    assert forward.low == pytest.approx(1 / backward.high, rel=1e-9)
    if forward.is_bounded:
        assert forward.high == pytest.approx(1 / backward.low, rel=1e-9)
    else:
        assert backward.low == 0


@quick
@given(processes)
def test_ratio_of_a_case_to_itself_is_not_a_difference(samples):
    ratio = ratio_estimate(samples, samples)
    assert ratio.value == 1
    assert ratio.low <= 1 <= ratio.high


@quick
@given(st.lists(seconds, min_size=1, max_size=9), st.integers(2, 6))
def test_identical_processes_have_a_point_interval(process, count):
    estimate = latency_estimate([process] * count)
    assert estimate.low == pytest.approx(estimate.value)
    assert estimate.high == pytest.approx(estimate.value)


def test_interval_is_the_t_interval_of_log_medians():
    estimate = latency_estimate([[1.0, 2.0, 9.0], [4.0], [8.0, 8.0]])
    logs = [math.log(v) for v in (2, 4, 8)]
    low, high = stats.t.interval(0.95, 2, loc=logs[1], scale=stats.sem(logs))
    assert estimate.value == 4
    assert (estimate.low, estimate.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert "t over 3 processes" in estimate.method
    assert "3 processes" in estimate.method


def test_ratio_interval_is_welch():
    a, b = [1.0, 1.1, 1.3], [2.0, 2.1, 2.2, 2.6]
    ratio = ratio_estimate([[v] for v in a], [[v] for v in b])
    welch = stats.ttest_ind([math.log(v) for v in a], [math.log(v) for v in b], equal_var=False)
    expected = welch.confidence_interval(0.95)
    assert ratio.low == pytest.approx(math.exp(expected.low))
    assert ratio.high == pytest.approx(math.exp(expected.high))
    assert ratio.units == 7


def test_one_process_uses_binomial_ranks():
    estimate = latency_estimate([[float(i) for i in range(1, 21)]])
    # n = 20: the tabulated 95% ranks for the median are the 6th and the 15th.
    assert (estimate.low, estimate.high) == (6.0, 15.0)
    assert "within one process, a lower bound on the uncertainty" in estimate.method


@pytest.mark.parametrize(("count", "enough"), [(2, False), (5, False), (6, True)])
def test_too_few_samples_give_their_range_and_say_so(count, enough):
    estimate = latency_estimate([[float(i) for i in range(1, count + 1)]])
    assert (estimate.low, estimate.high) == (1.0, float(count))
    assert ("too few" in estimate.method) is not enough
    assert "lower bound" in estimate.method


def test_a_single_sample_bounds_nothing():
    estimate = latency_estimate([[2.0]])
    assert (estimate.value, estimate.low, estimate.high) == (2.0, 0.0, math.inf)
    assert estimate.relative_half_width == math.inf
    assert not estimate.is_bounded
    assert "no interval" in estimate.method
    ratio = ratio_estimate([[2.0]], [[1.0], [1.1]])
    assert (ratio.low, ratio.high) == (0.0, math.inf)


def test_more_confidence_is_wider():
    samples = [[1.0], [1.1], [1.3]]
    assert latency_estimate(samples, 0.99).high > latency_estimate(samples, 0.9).high


def test_single_process_ratio_says_how():
    ratio = ratio_estimate([[2.0, 2.2]], [[1.0], [1.01], [1.02]])
    assert "root-sum-square" in ratio.method
    assert "single process" in ratio.method
    assert ratio.low < ratio.value < ratio.high


def test_a_noisy_side_dominates_the_single_process_ratio():
    ratio = ratio_estimate([[1.0, 2.0, 4.0]], [[1.0, 1.0, 1.0]])
    assert (ratio.low, ratio.high) == pytest.approx((1.0, 4.0))


def test_latency_and_ratio_intervals_cover_at_about_their_rate():
    rng = random.Random(7)
    hits = ratio_hits = 0
    for _ in range(300):
        a, b = draw(rng, 2.0, 5, 0.05), draw(rng, 1.0, 4, 0.02)
        estimate, ratio = latency_estimate(a), ratio_estimate(a, b)
        hits += estimate.low <= 2.0 <= estimate.high
        ratio_hits += ratio.low <= 2.0 <= ratio.high
    assert 0.90 <= hits / 300 <= 0.99
    assert 0.90 <= ratio_hits / 300 <= 0.99


@pytest.mark.parametrize(
    "bad", [[], [[]], [[1.0], []], [[0.0]], [[-1.0]], [[math.nan]], [[1.0, math.inf]]]
)
def test_unusable_samples_are_refused(bad):
    with pytest.raises(SpecError, match="process"):
        latency_estimate(bad)
    with pytest.raises(SpecError):
        ratio_estimate([[1.0]], bad)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_confidence_must_be_a_fraction(confidence):
    with pytest.raises(SpecError, match="confidence"):
        latency_estimate([[1.0], [2.0]], confidence)
    with pytest.raises(SpecError, match="confidence"):
        seed_estimate([0.9], 10, confidence)


@quick
@given(accuracies, st.integers(1, 5000))
def test_accuracy_stays_a_proportion(values, trials):
    estimate = seed_estimate(values, trials)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low  # finitely many test images never settle it
    assert estimate.units == len(values)


@quick
@given(accuracies, st.integers(1, 5000))
def test_accuracy_and_error_rate_mirror_each_other(values, trials):
    estimate = seed_estimate(values, trials)
    mirror = seed_estimate([1 - v for v in values], trials)
    # round() of a half goes to the even neighbour, so the two counts can be an image apart;
    # that moves Wilson's ends by a little more than 1 / trials.
    assert mirror.low == pytest.approx(1 - estimate.high, abs=1.5 / trials)
    assert mirror.high == pytest.approx(1 - estimate.low, abs=1.5 / trials)


def test_a_half_image_is_rounded_and_mirrors_within_one_image():
    estimate, mirror = seed_estimate([0.18], 3375), seed_estimate([0.82], 3375)
    assert mirror.low == pytest.approx(1 - estimate.high, abs=1.5 / 3375)


def test_one_seed_has_the_wilson_interval():
    estimate = seed_estimate([0.9], trials=100)
    # Wilson (1927), z = 1.959964: centre (p + z²/2n) / (1 + z²/n).
    assert (estimate.low, estimate.high) == pytest.approx((0.825634, 0.944771), abs=1e-5)
    assert "Wilson" in estimate.method
    assert "one seed" in estimate.method


def test_seeds_that_agree_still_have_width():
    estimate = seed_estimate([0.98, 0.98, 0.98], trials=1000)
    assert estimate.low < 0.975
    assert estimate.high > 0.985
    assert "seeds" in estimate.method
    assert "Wilson" in estimate.method


def test_seeds_without_trials_have_the_t_interval_clipped():
    estimate = seed_estimate([0.8, 1.0])
    assert estimate.value == pytest.approx(0.9)
    assert (estimate.low, estimate.high) == (0.0, 1.0)
    assert "Wilson" not in estimate.method


@pytest.mark.parametrize(
    ("values", "trials"), [([], 10), ([1.2], 10), ([math.nan], 10), ([0.5], 0), ([0.5], None)]
)
def test_unusable_accuracies_are_refused(values, trials):
    with pytest.raises(SpecError):
        seed_estimate(values, trials)


def test_overlap_and_relative_width():
    a = Estimate(10.0, 9.0, 12.0, "m", 3, 3)
    assert a.relative_half_width == pytest.approx(0.15)
    assert a.overlaps(Estimate(13.0, 12.0, 14.0, "m", 3, 3))
    assert not a.overlaps(Estimate(13.0, 12.5, 14.0, "m", 3, 3))
    assert Estimate(0.0, 0.0, 0.1, "m", 1, 1).relative_half_width == math.inf
