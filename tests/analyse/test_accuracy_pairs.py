"""The paired comparison of trainings: its intervals cover, its words are few and honest."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.accuracy_pairs import (
    AccuracyVerdict,
    accuracy_pairs,
    judge_accuracies,
    trained_alike,
)
from paca_bench.analyse.trainings import Training, difference
from paca_bench.errors import SpecError
from paca_bench.results import load_results
from tests.builders import make_fit_record, make_record, make_run, make_training

quick = settings(max_examples=60, deadline=None)
SWAPPED = {"higher": "lower", "lower": "higher", "same": "same", "inconclusive": "inconclusive"}


def training(outcomes, seeds=None, losses=None):
    outcomes = np.asarray(outcomes, dtype=float)
    seeds = tuple(range(len(outcomes))) if seeds is None else seeds
    return Training(outcomes.mean(axis=1), seeds, outcomes, outcomes.shape[1], losses)


def simulated(rng, gap=0.0, *, seeds=3, images=500, seed_spread=0.3):
    """Two mechanisms on the same images with the same seeds; the first ahead by ``gap`` logits."""
    hard = rng.normal(0, 2.5, images)
    common = rng.normal(0, 0.3, seeds)
    sides = []
    for lead in (gap, 0.0):
        logit = 4 + lead + hard + rng.normal(0, 0.8, images)
        logit = logit + (common + rng.normal(0, seed_spread, seeds))[:, None]
        sides.append(training(logit + rng.logistic(0, 0.5, (seeds, images)) > 0))
    return sides[0], sides[1]


@st.composite
def outcomes(draw, fewest=1, most_images=30):
    shape = draw(st.integers(fewest, 4)), draw(st.integers(2, most_images))
    bits = st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    return tuple(np.reshape(draw(bits), shape) for _ in range(2))


@quick
@given(outcomes())
def test_swapping_the_sides_swaps_the_verdict_and_the_interval(pair):
    a, b = map(training, pair)
    (forward,), (backward,) = judge_accuracies([(a, b)]), judge_accuracies([(b, a)])
    assert backward.verdict == SWAPPED[forward.verdict]
    assert forward.low == pytest.approx(-backward.high)
    assert forward.difference == pytest.approx(-backward.difference)
    assert forward.low <= forward.difference <= forward.high
    assert forward.low >= -1
    assert forward.high <= 1
    assert forward.reason == backward.reason
    assert bool(forward.reason) == (forward.verdict == "inconclusive")


@quick
@given(outcomes(), st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_images_does_not_matter(pair, rng):
    seeds, images = pair[0].shape
    rows, columns = (rng.sample(range(n), n) for n in (seeds, images))
    whole = difference(*map(training, pair))
    mixed = [training(side[np.ix_(rows, columns)], tuple(rows)) for side in pair]
    again = difference(*mixed)
    assert again.value == pytest.approx(whole.value)
    assert again.error == pytest.approx(whole.error)


@quick
@given(outcomes(most_images=100))
def test_a_training_beside_itself_is_the_same_however_few_its_images_and_seeds(pair):
    one = training(pair[0], losses=[[0.5]] * len(pair[0]))
    again = training(pair[0], losses=[[0.5]] * len(pair[0]))
    (judged,) = judge_accuracies([(one, again)])
    assert judged.verdict is AccuracyVerdict.SAME
    assert judged.difference == 0


def test_right_in_all_of_few_images_is_no_proof_of_equality():
    few, many = np.ones((3, 40)), np.ones((3, 4000))
    assert judge_accuracies([(training(few), training(few))])[0].verdict == "inconclusive"
    assert judge_accuracies([(training(many), training(many))])[0].verdict == "same"


def test_intervals_cover_the_true_difference():
    rng = np.random.default_rng(5)
    judged = [judge_accuracies([simulated(rng)])[0] for _ in range(300)]
    covered = np.mean([one.low <= 0 <= one.high for one in judged])
    assert 0.91 <= covered <= 0.99
    assert np.mean([one.p < 0.05 for one in judged]) < 0.09


def test_families_of_equal_mechanisms_are_rarely_called_different():
    rng = np.random.default_rng(6)
    families = [judge_accuracies([simulated(rng) for _ in range(6)]) for _ in range(100)]
    wrong = sum(any(one.verdict in ("higher", "lower") for one in judged) for judged in families)
    assert wrong <= 10


def test_a_difference_as_large_as_the_detectable_one_is_found_most_times():
    rng = np.random.default_rng(7)
    judged = [judge_accuracies([simulated(rng, 1.5, seeds=8)])[0] for _ in range(200)]
    gap = np.mean([one.difference for one in judged])
    found = np.mean([one.verdict == "higher" for one in judged])
    detectable = np.median([one.detectable for one in judged])
    # Power 80% at the detectable difference: more beyond it, less before.
    assert (found > 0.8) == (gap > detectable)
    assert 0.5 < detectable / gap < 2
    assert not any(one.verdict == "lower" for one in judged)


def test_pairing_takes_out_what_both_sides_share():
    rng = np.random.default_rng(8)
    common = rng.normal(0, 1.0, 5)[:, None]
    hard = rng.normal(0, 2, 400)
    a, b = (hard + common + rng.normal(0, 0.2, (5, 400)) > -2 for _ in range(2))
    paired = difference(training(a), training(b))
    apart = difference(training(a), training(b, seeds=(5, 6, 7, 8, 9)))
    assert "5 paired seeds" in paired.method
    assert "5 and 5 seeds" in apart.method
    assert paired.value == pytest.approx(apart.value)
    assert paired.error < apart.error / 4


@quick
@given(outcomes(fewest=2))
def test_the_p_value_is_where_the_interval_ends_at_zero(pair):
    found = difference(*map(training, pair))
    assert 0 <= found.p <= 1
    if found.value and found.p > 1e-9:
        assert found.half_width(1 - found.p) == pytest.approx(abs(found.value), rel=1e-4)


def test_only_common_seeds_are_paired():
    bits = np.random.default_rng(9).random((4, 50)) > 0.3
    a, b = training(bits[:3], (0, 1, 2)), training(bits[1:], (1, 2, 3))
    found = difference(a, b)
    assert found.seeds == 2
    assert found.value == 0
    assert found.seed_variance == 0


def test_one_seed_is_mcnemar_and_never_a_verdict():
    a = training(np.ones((1, 400)))
    b = training([[0.0] * 120 + [1.0] * 280])
    (judged,) = judge_accuracies([(a, b)])
    assert judged.verdict == "inconclusive"
    assert "--seeds 3" in judged.reason
    assert math.isnan(judged.p)
    assert math.isnan(judged.detectable)
    # The Wald interval of a paired difference: 120 discordant images, all one way.
    error = math.sqrt((120 - 120**2 / 400) / 399 / 400 + 1 / 400**2)
    assert judged.high - judged.difference == pytest.approx(1.95996 * error, rel=1e-4)


def test_without_outcomes_the_images_are_taken_as_independent():
    a = Training(np.array([0.95, 0.951, 0.949]), (0, 1, 2), None, 1000)
    b = Training(np.array([0.90, 0.901, 0.899]), (0, 1, 2), None, 1000)
    found = difference(a, b)
    assert found.seed_variance == pytest.approx(0)
    assert found.error == pytest.approx(math.sqrt((0.05 * 0.95 + 0.1 * 0.9) / 1000 + 1e-6))
    assert "as if each side had its own" in found.method
    assert judge_accuracies([(a, b)])[0].verdict == "higher"
    blind = [replace(side, num_test=None) for side in (a, b)]
    assert "blind" in difference(blind[0], blind[1]).method


def test_nothing_known_is_no_verdict():
    a = Training(np.array([0.9, 0.9]), (0, 1))
    b = Training(np.array([0.5, 0.5]), (0, 1))
    (judged,) = judge_accuracies([(a, b)])
    assert judged.p == 1
    assert judged.verdict == "inconclusive"


def test_more_seeds_are_asked_for_or_more_images():
    rng = np.random.default_rng(10)
    seeds_matter = simulated(rng, seeds=3, images=20_000)
    (judged,) = judge_accuracies([seeds_matter])
    assert judged.seeds_needed > 3
    assert f"1 point would take {judged.seeds_needed:.0f} seeds" in judged.reason
    (judged,) = judge_accuracies([simulated(rng, images=60)])
    assert math.isnan(judged.seeds_needed)
    assert "more test images" in judged.reason


@pytest.mark.parametrize(("name", "value"), [("margin", -0.1), ("margin", 1.0), ("q", 0.0)])
def test_margins_and_rates_that_make_no_sense(name, value):
    with pytest.raises(SpecError, match=name):
        judge_accuracies([], **{name: value})


def frame(tmp_path, *records):
    return load_results(make_run(tmp_path / "run", list(records)).path)


def test_every_two_that_were_trained_alike_are_compared(tmp_path):
    df = frame(
        tmp_path,
        make_training("vit", logit=3),
        make_training("swin", logit=3),
        make_training("paca", 49, logit=1),
        make_training("paca", 49, resolution=64),
        make_training("vit", resolution=64),
        make_record("vit"),
    )
    table = accuracy_pairs(df)
    names = table[["label", "other", "height"]].itertuples(index=False, name=None)
    assert set(names) == {
        ("vit", "swin", 32),
        ("vit", "paca (M=49)", 32),
        ("swin", "paca (M=49)", 32),
        ("paca (M=49)", "vit", 64),
    }
    gaps = table["accuracy"] - table["other_accuracy"]
    pd.testing.assert_series_equal(gaps, table["difference"], check_names=False)
    lead = table[table["other"] == "paca (M=49)"]
    assert (lead["verdict"] == "higher").all()
    assert (table["adjusted_p"] >= table["p"]).all()
    assert set(table["seeds"]) == {3}
    assert table["method"].str.contains("3 paired seeds and normal over 400 test images").all()


def test_data_sets_are_kept_apart_and_runs_too(tmp_path):
    one, two = make_training("vit"), make_training("swin")
    other = replace(two, details={**two.details, "dataset": "another"})
    assert accuracy_pairs(frame(tmp_path, one, other)).empty
    df = frame(tmp_path / "more", one, two)
    both = pd.concat([df.assign(run="a"), df.assign(run="b")], ignore_index=True)
    assert len(trained_alike(both)) == 2
    assert len(accuracy_pairs(both)) == 2


def test_records_without_outcomes_still_have_a_table(tmp_path):
    df = frame(tmp_path, make_fit_record("vit"), make_fit_record("swin", accuracy=0.8))
    table = accuracy_pairs(df)
    assert len(table) == 1
    assert "blind" in table["method"][0]


def test_outcomes_that_are_not_the_accuracys_are_not_used(tmp_path):
    record = make_training("vit")
    wrong = replace(record, details={**record.details, "test_outcomes": ["1" * 400] * 3})
    row = frame(tmp_path, wrong).iloc[0]
    assert Training.of(row).outcomes is None
    odd = replace(record, details={**record.details, "test_outcomes": ["1", "01", "x"]})
    assert Training.of(frame(tmp_path / "odd", odd).iloc[0]).outcomes is None


def test_nothing_trained_gives_an_empty_table(tmp_path):
    table = accuracy_pairs(frame(tmp_path, make_record("vit")))
    assert table.empty
    assert "verdict" in table
