"""Draws: each scatters as its estimate's interval, and together as what they share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.draws import accuracy_draws, latency_draws
from paca_bench.analyse.statistics import latency_estimate, log_latency, student
from paca_bench.analyse.trainings import Training, difference

quick = settings(max_examples=30, deadline=None)


def training(outcomes, seeds=None):
    outcomes = np.asarray(outcomes, dtype=float)
    seeds = tuple(range(len(outcomes))) if seeds is None else seeds
    return Training(outcomes.mean(axis=1), seeds, outcomes, outcomes.shape[1])


def several(count=4, seeds=5, images=300):
    rng = np.random.default_rng(1)
    hard, common = rng.normal(0, 2, images), rng.normal(0, 0.5, seeds)
    noise = rng.normal(0, 0.5, (count, seeds, images)) + rng.normal(0, 0.1, (count, seeds, 1))
    right = 2 + hard + common[:, None] + noise > 0
    return {f"m{number}": training(one) for number, one in enumerate(right)}


def test_latency_draws_have_the_interval_of_the_estimate():
    processes = [[1.0, 1.1], [1.2], [1.3], [1.05]]
    draws = latency_draws(processes, "case", 40_000)
    mean = log_latency(processes)
    half = student(0.95, mean.freedom) * mean.error
    low, middle, high = np.quantile(np.log(draws), [0.025, 0.5, 0.975])
    assert middle == pytest.approx(mean.value, abs=0.01)
    assert low == pytest.approx(mean.value - half, abs=0.02)
    assert high == pytest.approx(mean.value + half, abs=0.02)


def test_a_single_process_has_its_own_interval_and_a_single_sample_none():
    samples = [1 + 0.01 * i for i in range(30)]
    estimate = latency_estimate([samples])
    low, high = np.quantile(latency_draws([samples], "case", 40_000), [0.025, 0.975])
    assert high / low == pytest.approx(estimate.high / estimate.low, rel=0.01)
    assert set(latency_draws([[2.0]], "case")) == {2.0}


def test_draws_are_the_same_each_time_and_differ_between_cases():
    one, again = (latency_draws([[1.0], [1.1]], "a") for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, latency_draws([[1.0], [1.1]], "b"))


def test_contrasts_scatter_as_the_paired_difference():
    trainings = several()
    draws = accuracy_draws(trainings, 40_000)
    for a, b in ((0, 1), (1, 3)):
        found = difference(trainings[f"m{a}"], trainings[f"m{b}"])
        low, middle, high = np.quantile(draws[a] - draws[b], [0.025, 0.5, 0.975])
        assert middle == pytest.approx(found.value, abs=0.1 * found.error)
        # The root-sum-square of a t and a normal is never narrower than their sum.
        assert (high - low) / 2 == pytest.approx(found.half_width(0.95), rel=0.15)
        assert (high - low) / 2 < 1.02 * found.half_width(0.95)


def test_what_is_shared_makes_differences_smaller_than_unrelated_numbers_would():
    trainings = several()
    draws = accuracy_draws(trainings)
    together = np.std(draws[0] - draws[1])
    apart = np.hypot(np.std(draws[0]), np.std(draws[1]))
    assert together < 0.5 * apart
    own_seeds = {
        name: training(one.outcomes, tuple(range(5 * number, 5 * number + 5)))
        for number, (name, one) in enumerate(trainings.items())
    }
    loose = accuracy_draws(own_seeds)
    assert together < 0.7 * np.std(loose[0] - loose[1])


@quick
@given(st.permutations(range(4)))
def test_order_does_not_matter(order):
    trainings = several()
    draws = accuracy_draws(trainings, 50)
    names = [f"m{place}" for place in order]
    mixed = accuracy_draws({name: trainings[name] for name in names}, 50)
    np.testing.assert_allclose(mixed, draws[list(order)], atol=1e-12)


def test_without_outcomes_a_training_has_a_binomial_of_its_own():
    one = Training(np.array([0.8]), (0,), None, 400)
    draws = accuracy_draws({"a": one, "b": one}, 20_000)
    assert np.std(draws[0]) == pytest.approx(np.sqrt(0.16 / 400), rel=0.03)
    assert abs(np.corrcoef(draws)[0, 1]) < 0.03
    blind = Training(np.array([0.8]), (0,))
    assert set(accuracy_draws({"a": blind})[0]) == {0.8}


def test_right_in_all_images_still_scatters():
    draws = accuracy_draws({"a": training(np.ones((3, 50)))})
    assert 0 < np.std(draws) < 0.05
    assert accuracy_draws({}).shape == (0, 4000)
