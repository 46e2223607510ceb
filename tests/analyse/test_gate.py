"""Verdicts from two stages of launches."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.compare import Change
from paca_bench.analyse.gate import (
    CONFIRMING_LAUNCHES,
    MIN_LAUNCHES,
    Stages,
    is_fine,
    is_steady,
    is_suspect,
    judge,
    launches_to_confirm,
    typical,
)
from paca_bench.errors import SpecError

LIMIT = math.log1p(0.02)


def triples(n, ratio=1.0, *, spread=0.005, null=1.0, seed=0):
    rng = np.random.default_rng(seed)
    values = 0.01 * np.exp(rng.normal(0, spread, (n, 3))) * [1, ratio, null]
    return [tuple(map(float, row)) for row in values]


def stages(ratio=1.0, *, confirming=0, second=None, seed=0, **how):
    return Stages(
        triples(12, ratio, seed=seed, **how),
        triples(confirming, second or ratio, seed=seed + 1, **how),
    )


def one(case, threshold=0.02):
    (verdict,) = judge([case], threshold)
    return verdict.judgement


def test_only_a_second_stage_calls_a_case_slower_or_faster():
    assert one(stages(1.1)).change is Change.INCONCLUSIVE
    assert "no budget was left to confirm" in one(stages(1.1)).reason
    assert one(stages(1.1, confirming=12)).change is Change.SLOWER
    assert one(stages(0.9, confirming=12)).change is Change.FASTER


def test_the_second_stage_decides_alone():
    """However plain the first one was, in either direction."""
    back = one(stages(1.3, confirming=30, second=1.0))
    assert back.change is Change.SAME
    assert back.ratio.value == pytest.approx(1, abs=0.01)
    open_ = one(stages(1.3, confirming=12, second=1.018, spread=0.04))
    assert open_.change is Change.INCONCLUSIVE
    assert "screening gave 1.3" in open_.reason
    assert one(stages(1.0, confirming=12, second=1.1)).change is Change.SLOWER


def test_equal_code_is_same_once_the_interval_is_within_the_threshold():
    found = one(stages())
    assert found.change is Change.SAME
    assert 0.02 <= found.detectable < 0.05
    assert found.adjusted_p is None
    wide = one(stages(spread=0.1))
    assert wide.change is Change.INCONCLUSIVE
    assert "--budget" in wide.reason or "looks changed" in wide.reason


def test_few_launches_decide_nothing():
    few = Stages(triples(MIN_LAUNCHES - 1, 1.5, spread=1e-4))
    assert one(few).change is Change.INCONCLUSIVE
    assert f"{MIN_LAUNCHES} are the fewest" in one(few).reason
    # A second stage that was cut off early is none.
    short = Stages(triples(12), triples(MIN_LAUNCHES - 1, 1.5))
    assert one(short).change is Change.SAME


def test_a_null_that_differs_decides_nothing():
    (verdict,) = judge([stages(1.1, confirming=12, null=1.06)], 0.02)
    assert verdict.is_noisy
    assert verdict.judgement.change is Change.INCONCLUSIVE
    assert "BASE against itself gives 1.06" in verdict.judgement.reason
    (small,) = judge([stages(1.1, confirming=12, null=1.01)], 0.02)
    assert not small.is_noisy
    assert small.judgement.change is Change.SLOWER


@settings(deadline=None, max_examples=10)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.9, 0.97, 1.0, 1.05]), st.sampled_from([0, 12])),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 99),
)
def test_adding_a_case_never_changes_anothers_ratio(ratios, seed):
    cases = [stages(r, confirming=n, seed=seed + i) for i, (r, n) in enumerate(ratios)]
    together = [v.judgement for v in judge(cases, 0.02)]
    for case, among in zip(cases, together, strict=True):
        alone = one(case)
        assert alone.ratio == among.ratio
        assert alone.p == among.p
        assert alone.detectable <= among.detectable


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([1.0, 1.01, 1.05, 1.3]), st.sampled_from([0, 12]), st.integers(0, 99))
def test_swapping_the_sides_flips_the_verdict(ratio, confirming, seed):
    """HEAD's latencies as BASE's: exact where both BASE arms of a launch agree."""

    def swapped(rows):
        return [(head, base, head) for base, head, _ in rows]

    def single(rows):
        return [(base, head, base) for base, head, _ in rows]

    case = stages(ratio, confirming=confirming, seed=seed)
    there = one(Stages(single(case.screening), single(case.confirming)))
    back = one(Stages(swapped(case.screening), swapped(case.confirming)))
    assert back.change is there.change.swapped
    assert back.ratio.value == pytest.approx(1 / there.ratio.value, rel=0.01)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.2]), st.integers(0, 20))
def test_identical_latencies_are_never_slower(seed, spread, confirming):
    """The very same values on both sides, whatever they are."""
    rng = np.random.default_rng(seed)
    rows = [(float(v),) * 3 for v in 0.01 * np.exp(rng.normal(0, spread, 12 + confirming))]
    found = one(Stages(rows[:12], rows[12:]))
    assert found.change is Change.SAME
    assert found.p == 1.0


def test_screening_lets_go_of_the_fine_and_keeps_the_rest():
    assert is_fine(triples(12), LIMIT)
    assert not is_suspect(triples(12), LIMIT, at_end=True)
    assert is_suspect(triples(12, 1.1), LIMIT, at_end=False)
    assert is_suspect(triples(12, 0.9), LIMIT, at_end=False)
    assert not is_fine(triples(12, 1.1), LIMIT)
    doubtful = triples(12, 1.015, spread=0.02, seed=3)
    assert not is_fine(doubtful, LIMIT)
    assert not is_suspect(doubtful, LIMIT, at_end=False)
    for few in (triples(MIN_LAUNCHES - 1, 1.5), triples(MIN_LAUNCHES - 1)):
        assert not is_fine(few, LIMIT)
        assert not is_suspect(few, LIMIT, at_end=True)


def test_a_plain_change_takes_few_launches_and_a_small_one_many():
    plain = launches_to_confirm(triples(12, 1.5), LIMIT)
    small = launches_to_confirm(triples(12, 1.021, spread=0.02), LIMIT)
    assert CONFIRMING_LAUNCHES == plain < small


def test_what_cannot_be_judged():
    with pytest.raises(SpecError, match="threshold"):
        judge([stages()], -0.1)
    with pytest.raises(SpecError, match="q must lie"):
        judge([stages()], 0.02, q=0)
    assert judge([], 0.02) == []


def test_a_launch_is_the_middle_of_its_blocks_whatever_the_machine_did_between_them():
    assert typical([(1.0, 1.05, 1.01)]) == pytest.approx((1.0, 1.05, 1.01))
    # Twice as slow for a while, and one process that was slow by itself.
    blocks = [(1.0, 1.05, 1.0), (2.0, 2.1, 2.0), (1.0, 1.05, 3.0)]
    base, head, again = typical(blocks)
    assert head / base == pytest.approx(1.05)
    assert again / base == pytest.approx(1.0)


@given(st.permutations(range(3)), st.integers(0, 99))
def test_no_arm_of_a_launch_is_special(order, seed):
    blocks = triples(5, spread=0.1, seed=seed)
    there = typical(blocks)
    back = typical([tuple(block[i] for i in order) for block in blocks])
    assert back == pytest.approx(tuple(there[i] for i in order))


def test_blocks_are_steady_where_they_agree_whatever_they_agree_on():
    assert not is_steady(triples(1), LIMIT)
    assert is_steady(triples(2, 1.5, spread=1e-4), LIMIT)
    assert not is_steady(triples(4, spread=0.05), LIMIT)
    assert is_steady(triples(400, spread=0.02), LIMIT)


@given(st.permutations(range(3)), st.integers(0, 99))
def test_whether_blocks_are_steady_is_the_same_for_all_orders_of_the_arms(order, seed):
    blocks = triples(4, spread=0.003, seed=seed)
    turned = [tuple(block[i] for i in order) for block in blocks]
    assert is_steady(turned, LIMIT) == is_steady(blocks, LIMIT)
