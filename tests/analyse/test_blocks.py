"""The shift between the sides of blocks, and the chance that exchanging processes gives it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.blocks import EXCHANGES, Blocks, exchange_p, shift
from paca_bench.errors import SpecError


def blocks(n, spread=0.02, ratio=1.0, seed=0, *, base=2, tail=0.0):
    rng = np.random.default_rng(seed)
    logs = rng.normal(0, spread, (n, base + 1)) + tail * (rng.random((n, base + 1)) < 0.1)
    # The machine itself drifts by a lot from block to block.
    values = 0.01 * np.exp(logs + rng.normal(0, 0.3, (n, 1)))
    return Blocks(values[:, :base], ratio * values[:, base:])


made = st.builds(
    blocks,
    st.integers(2, 20),
    st.sampled_from([0.001, 0.03, 0.2]),
    st.sampled_from([0.9, 1.0, 1.05, 1.5]),
    st.integers(0, 1000),
    base=st.sampled_from([1, 2]),
    tail=st.sampled_from([0.0, 0.4]),
)


@settings(deadline=None, max_examples=20)
@given(made)
def test_swapping_the_sides_changes_signs_only(both):
    there, back = shift(both), shift(both.swapped)
    assert back.value == pytest.approx(-there.value, abs=1e-9)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
    assert back.error == pytest.approx(there.error, abs=1e-9)
    assert exchange_p(both.swapped) == exchange_p(both)


@settings(deadline=None, max_examples=20)
@given(made, st.floats(0.1, 10))
def test_a_slower_machine_or_a_slower_head_moves_it_by_as_much(both, factor):
    there = shift(both)
    everywhere = shift(Blocks(factor * both.base, factor * both.head))
    assert everywhere.value == pytest.approx(there.value, abs=1e-9)
    one_side = shift(Blocks(both.base, factor * both.head))
    assert one_side.value == pytest.approx(there.value + math.log(factor), abs=1e-9)
    assert there.low <= there.value <= there.high


@settings(deadline=None, max_examples=20)
@given(made)
def test_identical_sides_are_no_shift(both):
    same = Blocks(both.base[:, :1], both.base[:, :1])
    found = shift(same)
    assert found.value == pytest.approx(0, abs=1e-9)
    assert exchange_p(same) == 1.0


def test_p_is_the_share_of_exchanges():
    """Six blocks whose HEAD is always slowest: one exchange of 3^6 is as far, up to its sign."""
    apart = blocks(6, spread=0.001, ratio=1.5)
    assert exchange_p(apart) == pytest.approx(3**-6, rel=0.5)
    many = blocks(30, spread=0.001, ratio=1.5)
    assert exchange_p(many) == 1 / (1 + EXCHANGES)


@pytest.mark.parametrize("tail", [0.0, 0.4])
def test_equal_code_has_uniform_p_whatever_the_noise(tail):
    ps = [exchange_p(blocks(10, 0.02, seed=seed, tail=tail)) for seed in range(120)]
    for level in (0.05, 0.2, 0.5):
        share = np.mean([p <= level for p in ps])
        assert abs(share - level) < 4 * math.sqrt(level * (1 - level) / len(ps))


def test_intervals_cover():
    true = math.log(1.05)
    hits = [
        found.low <= true <= found.high
        for seed in range(200)
        if (found := shift(blocks(12, 0.03, 1.05, seed)))
    ]
    assert 0.91 <= np.mean(hits) <= 1.0


def test_slow_processes_hardly_move_the_estimate():
    """A tenth of the processes is half as slow again: a mean would be off by several percent."""
    errors = [shift(blocks(40, 0.01, 1.05, s, tail=0.4)).value - math.log(1.05) for s in range(50)]
    assert np.sqrt(np.mean(np.square(errors))) < 0.01


def test_latencies_without_noise():
    """As of a fake clock: the estimate is exact, and differences still count by their sign."""
    exact = Blocks(np.full((8, 2), 0.01), np.full((8, 1), 0.012))
    assert shift(exact).value == pytest.approx(math.log(1.2))
    assert exchange_p(exact) < 0.001


def test_what_is_no_block():
    with pytest.raises(SpecError, match="two blocks or more, given: 1"):
        shift(blocks(1))
    with pytest.raises(SpecError, match="positive"):
        Blocks(np.zeros((2, 2)), np.ones((2, 1)))
    with pytest.raises(SpecError, match="single process"):
        Blocks(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(SpecError, match="a row each"):
        Blocks(np.ones((2, 2)), np.ones((3, 1)))
