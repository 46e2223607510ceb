"""Steps of made-up series: exact properties, and a few trials of the rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.steps import CUTOFF, PENALTY, find_steps
from paca_bench.errors import SpecError
from tests.history.rates import Noise, false_rate, power, single_spike

STEADY = Noise(0.01)


def series(runs: int, seed: int = 0, noise: Noise = STEADY) -> np.ndarray:
    return noise.series(np.random.default_rng(seed), runs)


def stepped(runs: int, place: int, size: float, seed: int = 0) -> np.ndarray:
    made = series(runs, seed)
    made[place:] *= 1 + size
    return made


def test_a_step_has_its_place_its_size_and_both_levels() -> None:
    course = find_steps(stepped(20, 12, 0.2))
    (step,) = course.steps
    assert step.index == step.first == step.last == 12
    assert step.ratio.low < 1.2 < step.ratio.high
    assert step.ratio.high - step.ratio.low < 0.04
    assert step.p < 1e-9
    assert [(level.start, level.stop) for level in course.levels] == [(0, 12), (12, 20)]
    ratio = math.exp(course.levels[1].log_value - course.levels[0].log_value)
    assert ratio == pytest.approx(step.ratio.value)


def test_up_and_back_are_two_steps() -> None:
    made = series(30)
    made[10:18] *= 1.2
    assert [step.index for step in find_steps(made).steps] == [10, 18]


@pytest.mark.parametrize("place", [0, 1, 7, 15])
@pytest.mark.parametrize("factor", [0.5, 1.3, 3.0])
def test_one_run_apart_is_no_step(place: int, factor: float) -> None:
    made = series(16, seed=1)
    made[place] *= factor
    course = find_steps(made)
    assert not course.steps
    assert course.outliers == (place,)
    assert (course.last is not None) == (place == 15)


def test_two_runs_apart_in_the_middle_are_no_step_and_two_at_the_end_are() -> None:
    middle, end = series(20), series(20)
    middle[9:11] *= 1.3
    end[18:] *= 1.3
    assert not find_steps(middle).steps
    assert [step.index for step in find_steps(end).steps] == [18]


def test_the_price_of_a_jump_says_how_many_runs_make_a_level() -> None:
    """At the end two runs, never one; in the middle three, never two."""
    assert CUTOFF**2 < PENALTY < 2 * CUTOFF**2
    assert 2 * CUTOFF**2 < 2 * PENALTY < 3 * CUTOFF**2


def test_the_last_run_apart_is_said_with_its_ratio() -> None:
    made = series(12)
    made[-1] *= 1.25
    last = find_steps(made).last
    assert last is not None
    assert last.low < 1.25 < last.high
    assert find_steps(made[:-1]).last is None


def test_another_such_run_makes_it_a_step() -> None:
    made = stepped(12, 10, 0.25)
    course = find_steps(made)
    assert [step.index for step in course.steps] == [10]
    assert course.last is None


def test_a_spike_beside_a_step_does_not_move_it() -> None:
    made = stepped(24, 12, 0.1)
    made[11] *= 1.5
    (step,) = find_steps(made).steps
    assert 11 <= step.first <= 12 <= step.last
    assert step.ratio.low < 1.1 < step.ratio.high


def test_a_small_step_has_an_interval_of_places() -> None:
    wide = find_steps(stepped(40, 20, 0.02, seed=2)).steps[0]
    narrow = find_steps(stepped(40, 20, 0.2, seed=2)).steps[0]
    assert wide.first <= 20 <= wide.last
    assert wide.last - wide.first > narrow.last - narrow.first == 0


def test_a_step_is_put_where_the_code_changed() -> None:
    made = stepped(40, 20, 0.02, seed=2)
    free = find_steps(made).steps[0]
    assert free.first < free.last, "several places are possible"
    changed = [i == free.last for i in range(40)]
    (step,) = find_steps(made, changed).steps
    assert step.index == step.first == step.last == free.last
    assert step.is_code


def test_a_step_where_the_code_did_not_change_says_so() -> None:
    changed = [i not in range(8, 17) for i in range(24)]
    (step,) = find_steps(stepped(24, 12, 0.2), changed).steps
    assert step.index == 12
    assert not step.is_code


def test_processes_in_two_states_by_chance_are_no_step() -> None:
    """One process a run, four fast ones and then four slow ones: one chance in 128."""
    made = [[0.010 * (1.17 if i >= 4 else 1.0) * (1 + 0.001 * (i % 3))] for i in range(8)]
    assert not find_steps(made).steps
    assert find_steps([run * 6 for run in made]).steps, "but not if all processes of runs agree"
    beyond = [[0.010 * (2.0 if i >= 4 else 1.0) * (1 + 0.001 * (i % 3))] for i in range(8)]
    assert find_steps(beyond).steps, "and no state is twice as slow"


def test_what_processes_show_is_the_least_noise() -> None:
    """Means that agree better than their processes allow agree by chance."""
    made = [[0.010 * 1.2**side for side in (-1, 1, -1, 1, 0)] for _ in range(6)]
    shifted = made + [[value * 1.05 for value in run] for run in made]
    course = find_steps(shifted)
    assert not course.steps
    assert course.noise > 0.05


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_runs_raise(count: int) -> None:
    with pytest.raises(SpecError, match="3 or more runs"):
        find_steps([[0.01]] * count)


@pytest.mark.parametrize("middle", [[], [0.0], [-1.0], [math.nan], [math.inf], [0.01, 0.0]])
def test_what_is_no_latency_raises(middle: list[float]) -> None:
    with pytest.raises(SpecError, match="given: "):
        find_steps([[0.01], middle, [0.01]])


factors = st.floats(0.5, 2.0)
some_runs = st.lists(st.lists(factors, min_size=1, max_size=3), min_size=3, max_size=14)


@settings(max_examples=60, deadline=None)
@given(some_runs, st.floats(1e-6, 1e3))
def test_the_unit_of_time_does_not_matter(runs: list[list[float]], unit: float) -> None:
    one, other = find_steps(runs), find_steps([[v * unit for v in run] for run in runs])
    assert [s.index for s in one.steps] == [s.index for s in other.steps]
    assert one.noise == pytest.approx(other.noise)
    for a, b in zip(one.steps, other.steps, strict=True):
        assert a.ratio.value == pytest.approx(b.ratio.value)


@settings(max_examples=60, deadline=None)
@given(some_runs)
def test_levels_steps_and_outliers_fit_together(runs: list[list[float]]) -> None:
    course = find_steps(runs)
    edges = [level.start for level in course.levels] + [course.levels[-1].stop]
    assert edges[0] == 0
    assert edges[-1] == len(runs)
    assert edges == sorted(set(edges))
    assert len(course.steps) == len(course.levels) - 1
    for step in course.steps:
        assert 1 <= step.first <= step.index <= step.last < len(runs)
        assert not step.ratio.low <= 1 <= step.ratio.high
    for level in course.levels if course.steps else ():
        inside = set(range(level.start, level.stop)) - set(course.outliers)
        assert len(inside) >= 2
    assert course.detectable > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.08, 0.2, -0.15]))
def test_reversed_in_time_the_ratio_is_inverted(seed: int, size: float) -> None:
    made = stepped(16, 8, size, seed)
    there, back = find_steps(made).steps, find_steps(made[::-1]).steps
    assert len(there) == len(back)
    for a, b in zip(there, reversed(back), strict=True):
        assert a.ratio.value == pytest.approx(1 / b.ratio.value)
        assert (a.first, a.last) == (16 - b.last, 16 - b.first)


def test_equal_runs_have_no_step() -> None:
    course = find_steps([[0.01]] * 20)
    assert not course.steps
    assert not course.outliers
    assert course.last is None


def test_false_steps_are_rare() -> None:
    """Of a rate of 1%, 6 or more of 150 series are less than one chance in two hundred."""
    for noise in (Noise(0.02), Noise(0.05, spikes=0.03)):
        assert false_rate(noise, 30, 150) * 150 < 6


def test_a_single_spike_is_rarely_a_step() -> None:
    assert single_spike(Noise(0.02), 30, 0.3, 150) * 150 < 6


def test_a_step_of_five_percent_is_found() -> None:
    found = power(Noise(0.02), 30, 15, 0.05, 60)
    assert found.found > 0.8
    assert found.placed > 0.85
    assert found.covered > 0.85


@pytest.mark.parametrize("runs", [12, 30])
def test_the_detectable_step_is_found_about_as_often_as_said(runs: int) -> None:
    rng = np.random.default_rng(3)
    noise = Noise(0.02)
    sizes = [find_steps(noise.series(rng, runs)).detectable for _ in range(10)]
    assert 0.6 < power(noise, runs, runs // 2, float(np.median(sizes)), 60).found < 0.95
