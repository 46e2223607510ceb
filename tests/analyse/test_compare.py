"""Verdicts on two sides: properties, false alarms and power, all without a clock."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from paca_bench.analyse.compare import (
    Change,
    adjusted_p_values,
    judge,
    processes_needed,
    state_chance,
)
from paca_bench.errors import SpecError
from tests.compare.rates import Noise, rates, side

times = st.floats(1e-6, 1e3)
processes = st.lists(st.lists(times, min_size=1, max_size=4), min_size=1, max_size=5)
families = st.lists(st.tuples(processes, processes), min_size=1, max_size=4)
thresholds = st.sampled_from([0.0, 0.01, 0.05, 0.3])


def steady(*values):
    return [[value, value, value] for value in values]


@given(families, thresholds)
@settings(max_examples=60)
def test_swapping_the_sides_flips_the_verdicts(pairs, threshold):
    there = judge(pairs, threshold)
    back = judge([(new, base) for base, new in pairs], threshold)
    for a, b in zip(there, back, strict=True):
        assert b.change is a.change.swapped
        assert b.ratio.value == pytest.approx(1 / a.ratio.value)
        assert b.p == pytest.approx(a.p)


@given(st.lists(processes, min_size=1, max_size=4), thresholds)
@settings(max_examples=60)
def test_identical_runs_are_never_slower(sides, threshold):
    for judgement in judge([(one, one) for one in sides], threshold):
        assert judgement.change in (Change.SAME, Change.INCONCLUSIVE)
        assert judgement.ratio.value == 1.0


@given(families, st.tuples(processes, processes))
@settings(max_examples=60)
def test_adding_a_case_never_changes_anothers_ratio(pairs, another):
    alone = judge(pairs, 0.05)
    together = judge([*pairs, another], 0.05)
    assert [j.ratio for j in alone] == [j.ratio for j in together[:-1]]
    assert [j.p for j in alone] == [j.p for j in together[:-1]]


@given(families)
@settings(max_examples=60)
def test_slower_means_an_interval_above_one_and_an_estimate_beyond_the_threshold(pairs):
    for judgement in judge(pairs, 0.05):
        if judgement.change is Change.SLOWER:
            assert judgement.ratio.low > 1
            assert judgement.ratio.value > 1.05
            assert judgement.adjusted_p <= 0.02
        if judgement.change is Change.SAME:
            assert judgement.ratio.low >= 1 / 1.05 * (1 - 1e-12)
            assert judgement.ratio.high <= 1.05 * (1 + 1e-12)
        assert bool(judgement.reason) is (judgement.change is Change.INCONCLUSIVE)


def test_a_clear_slowdown_is_found_and_a_steady_case_is_the_same():
    base = steady(1.0, 1.001, 0.999, 1.002, 0.998, 1.0)
    slow = steady(*(1.1 * p[0] for p in base))
    one, other = judge([(base, slow), (base, base)], 0.05)
    assert one.change is Change.SLOWER
    assert one.ratio.value == pytest.approx(1.1)
    assert other.change is Change.SAME
    assert 0.05 < one.detectable < 0.06


def test_a_real_change_within_the_threshold_is_the_same():
    base = steady(1.0, 1.001, 0.999, 1.002, 0.998, 1.0)
    (judgement,) = judge([(base, steady(*(1.02 * p[0] for p in base)))], 0.05)
    assert judgement.p < 0.01
    assert judgement.change is Change.SAME


@pytest.mark.parametrize(
    ("base", "new", "says"),
    [
        (1, 1, "each side is a single process"),
        (1, 5, "BASE is a single process"),
        (5, 1, "NEW is a single process"),
    ],
)
def test_a_single_process_decides_nothing(base, new, says):
    (judgement,) = judge([(steady(*[1.0] * base), steady(*[2.0] * new))], 0.05)
    assert judgement.change is Change.INCONCLUSIVE
    assert judgement.p is judgement.detectable is None
    assert says in judgement.reason
    assert "at least 4 a side" in judgement.reason


def test_few_processes_in_two_states_are_no_slowdown_but_a_doubling_is():
    fast, slow = (1.0, 1.001, 0.999), (1.37, 1.371, 1.369)
    (states,) = judge([(steady(*fast), steady(*slow))], 0.05)
    assert states.change is Change.INCONCLUSIVE
    assert "a fast and a slow state" in states.reason
    (doubled,) = judge([(steady(*fast), steady(*(2 * t for t in fast)))], 0.05)
    assert doubled.change is Change.SLOWER


def test_the_chance_of_states_is_barnards():
    separated = state_chance([1, 2, 3], [4, 5, 6])
    assert separated == pytest.approx(2 / 4**3, rel=1e-3)
    assert state_chance([1, 1], [1, 1]) == 1.0
    # 4 of 5 against 1 of 5 above 2: the sum over all tables at least as far apart.
    x = np.arange(6)
    far = np.abs(x[:, None] - x) >= 3
    tables = [np.outer(binom.pmf(x, 5, p), binom.pmf(x, 5, p)) for p in np.linspace(0.01, 0.5, 50)]
    expected = max(float(table[far].sum()) for table in tables)
    assert state_chance([1, 3, 3, 3, 3], [1, 1, 1, 1, 3]) == pytest.approx(expected, rel=1e-6)
    assert state_chance([1, 2], [3, 4, 5, 6]) == state_chance([1, 2, 3, 4], [5, 6])


def test_more_cases_need_more_processes():
    assert [processes_needed(n) for n in (1, 8, 100)] == [4, 6, 8]


def test_benjamini_hochberg_against_the_definition():
    # Benjamini and Hochberg (1995), section 4.1: at 0.05 the first four are rejected.
    ps = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
          0.4262, 0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    adjusted = adjusted_p_values(ps)
    assert [p <= 0.05 for p in adjusted] == [True] * 4 + [False] * 11
    assert adjusted == sorted(adjusted)
    assert adjusted_p_values(ps[::-1]) == adjusted[::-1]
    assert adjusted_p_values([]) == []


@pytest.mark.parametrize("threshold", [-0.1, math.inf, math.nan])
def test_a_senseless_threshold(threshold):
    with pytest.raises(SpecError, match="threshold"):
        judge([], threshold)


@pytest.mark.parametrize("q", [0, 1, math.nan])
def test_a_senseless_q(q):
    with pytest.raises(SpecError, match="q must lie"):
        judge([], 0.05, q)


# ---- how often it is wrong; full rates: python -m tests.compare.rates


@pytest.mark.parametrize("processes", [5, 10])
@pytest.mark.parametrize(
    "noise", [Noise(0.16), Noise(0.03, gap=0.17, slow_share=0.5)], ids=["16%", "states"]
)
def test_at_most_one_false_alarm_in_a_hundred(processes, noise):
    alarms, _ = rates(100, processes, noise)
    assert alarms <= 0.01


def test_a_slowdown_beyond_the_threshold_is_found():
    _, found = rates(40, 5, Noise(0.01), slowdown=0.10)
    assert found >= 0.95
    _, found = rates(40, 10, Noise(0.01), threshold=0.02, slowdown=0.05)
    assert found >= 0.95


@pytest.mark.parametrize(("count", "noise"), [(6, Noise(0.01)), (10, Noise(0.03))])
def test_the_smallest_detectable_change_is_detected_about_as_often_as_it_says(count, noise):
    rng = np.random.default_rng(0)
    nothing = [(side(rng, count, noise), side(rng, count, noise)) for _ in range(40)]
    seen = float(np.median([judge([pair], 0.05)[0].detectable for pair in nothing]))
    _, found = rates(150, count, noise, cases=1, slowdown=seen)
    assert 0.65 <= found <= 0.95
