import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.pareto import (
    front_probabilities,
    front_table,
    front_verdict,
    pareto_front,
)
from paca_bench.errors import SpecError
from paca_bench.results import load_results
from tests.builders import (
    censored,
    make_fit_record,
    make_record,
    make_run,
    make_training,
    whole_sweep,
)

# Few distinct numbers, so that ties and dominance both happen.
numbers = st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan])
points = st.lists(st.tuples(numbers, numbers), max_size=12)
quick = settings(max_examples=100, deadline=None)


def front_of(pairs):
    return pareto_front([c for c, _ in pairs], [g for _, g in pairs])


def beats(p, q):
    return p != q and p[0] <= q[0] and p[1] >= q[1]


@quick
@given(points)
def test_on_the_front_is_exactly_what_nothing_beats(pairs):
    front = front_of(pairs)
    for point, on in zip(pairs, front, strict=True):
        usable = not any(map(math.isnan, point))
        assert on == (usable and not any(beats(other, point) for other in pairs))


@quick
@given(points)
def test_every_usable_point_is_on_the_front_or_beaten_by_it(pairs):
    best = [p for p, on in zip(pairs, front_of(pairs), strict=True) if on]
    for point in pairs:
        if not any(map(math.isnan, point)) and point not in best:
            assert any(beats(p, point) for p in best)


@quick
@given(points, st.randoms(use_true_random=False))
def test_order_does_not_matter(pairs, rng):
    order = rng.sample(range(len(pairs)), len(pairs))
    front = front_of(pairs)
    assert front_of([pairs[i] for i in order]) == [front[i] for i in order]


def test_equal_points_share_the_front():
    assert pareto_front([1, 1, 2], [5, 5, 5]) == [True, True, False]


def test_lengths_must_agree():
    with pytest.raises(SpecError):
        pareto_front([1], [])


draws = st.lists(points.filter(len), min_size=1, max_size=4).map(
    lambda some: [one[: min(map(len, some))] for one in some]
)


@quick
@given(draws)
def test_the_probability_is_the_share_of_draws_on_the_front(some):
    fronts = np.array([front_of(pairs) for pairs in some])
    costs, gains = np.moveaxis(np.array(some, dtype=float), -1, 0)
    found = front_probabilities(costs.T, gains.T)
    assert found == pytest.approx(fronts.mean(axis=0))


def test_probabilities_of_other_shapes_are_refused():
    with pytest.raises(SpecError, match="shape"):
        front_probabilities(np.zeros((2, 3)), np.zeros((2, 4)))
    assert front_probabilities(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


def test_words_for_probabilities():
    assert [front_verdict(p) for p in (0.0, 0.05, 0.06, 0.94, 0.95, 1.0)] == [
        *("off", "off", "undecided", "undecided", "on", "on")
    ]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return load_results(make_run(tmp_path_factory.mktemp("sweep") / "run", whole_sweep()).path)


def test_table_joins_accuracy_with_every_resolution(sweep):
    table = front_table(sweep[sweep["mode"] != "train"])
    assert len(table) == 7 * 6
    assert set(table["resolution"]) == {224, 320, 448, 576, 768, 1024}
    assert table["accuracy_resolution"].eq(32).all()
    assert (table["cost_low"] <= table["cost"]).all()
    assert (table["cost"] <= table["cost_high"]).all()
    assert table["accuracy_low"].notna().all()


def test_equal_accuracies_leave_the_fastest_on_the_front(sweep):
    table = front_table(sweep)
    large = table[(table["resolution"] == 1024) & (table["mode"] == "forward")]
    fastest = large.loc[large["cost"].idxmin(), "label"]
    assert large[large["on_front"]]["label"].tolist() == [fastest]
    assert fastest == "paca (M=25)"


def test_accuracy_can_put_a_slow_one_on_the_front(tmp_path):
    records = [make_record("vit"), make_record("swin"), make_record("paca", 49)]
    records += [make_fit_record("vit", accuracy=0.9), make_fit_record("swin", accuracy=0.8)]
    df = load_results(make_run(tmp_path / "run", records).path)
    table = front_table(df, cost="macs").set_index("label")
    assert sorted(table.index) == ["swin", "vit"]  # paca was not trained
    assert table["on_front"].to_dict() == {"vit": True, "swin": False}
    assert table["cost_low"].isna().all()


def test_runs_have_fronts_of_their_own(sweep):
    runs = pd.concat([sweep.assign(run="a"), sweep.assign(run="b")], ignore_index=True)
    one, both = front_table(sweep), front_table(runs)
    assert both["on_front"].sum() == 2 * one["on_front"].sum()


def test_nothing_to_join_gives_an_empty_table(tmp_path):
    records = [censored(make_record("vit")), make_fit_record("vit")]
    for number, some in enumerate(([], records, records[1:], [make_record("vit")])):
        df = load_results(make_run(tmp_path / str(number), some).path)
        table = front_table(df)
        assert table.empty
        assert "on_front" in table
    with pytest.raises(SpecError, match="beauty"):
        front_table(df, cost="beauty")


def trained(tmp_path, *records):
    return load_results(make_run(tmp_path / "run", list(records)).path)


def probabilities(table):
    return table.set_index("label")["front_probability"].to_dict()


def test_clear_differences_are_sure_and_equal_ones_are_not(tmp_path):
    df = trained(
        tmp_path,
        make_record("vit", latency_s=0.1),
        make_record("swin", latency_s=0.2),
        make_record("paca", 49, latency_s=0.4),
        make_record("pvt", latency_s=0.8),
        make_training("vit", logit=1),
        make_training("swin", logit=3),
        make_training("paca", 49, logit=3),
        make_training("pvt", logit=-1),
    )
    table = front_table(df)
    found = probabilities(table)
    assert found["vit"] > 0.99
    assert found["swin"] > 0.95
    assert found["pvt"] < 0.01
    # As accurate as swin and slower: only luck of the estimates can put it on the front.
    assert 0.05 < found["paca (M=49)"] < 0.95
    verdicts = table.set_index("label")["front_verdict"].to_dict()
    assert verdicts == {"vit": "on", "swin": "on", "paca (M=49)": "undecided", "pvt": "off"}
    assert table["front_method"].str.contains("log-t over processes").all()
    assert not table["front_method"].str.contains("approximate").any()


def test_the_same_table_each_time_and_in_any_order(tmp_path):
    records = [make_record(name) for name in ("vit", "swin", "pvt")]
    records += [make_training(name) for name in ("vit", "swin", "pvt")]
    df = trained(tmp_path, *records)
    first, again = front_table(df), front_table(df)
    pd.testing.assert_frame_equal(first, again)
    assert probabilities(front_table(df.iloc[::-1])) == probabilities(first)


def test_points_that_share_a_latency_are_ranked_by_accuracy_alone(tmp_path):
    # The same latency for all: on the front is who is most accurate, in every draw one of them.
    records = [make_record(name) for name in ("vit", "swin", "pvt")]
    records += [make_training(name) for name in ("vit", "swin", "pvt")]
    df = trained(tmp_path, *records)
    df.loc[df["mode"] == "forward", "macs"] = 7
    table = front_table(df, "macs")
    assert table["front_probability"].sum() == pytest.approx(1)
    assert table["front_method"].str.startswith("4000 draws of accuracies").all()


def test_equal_costs_and_accuracies_share_the_front():
    costs, gains = np.ones((3, 5)), np.array([[1.0] * 5, [1.0] * 5, [0.5] * 5])
    assert front_probabilities(costs, gains).tolist() == [1, 1, 0]


def test_one_seed_or_one_process_is_said_to_be_approximate(tmp_path):
    one = make_record("vit")
    single = type(one)(
        **{
            **{name: getattr(one, name) for name in one.__slots__},
            "samples": {"latency_s": one.samples["latency_s"][:1]},
        }
    )
    df = trained(tmp_path, single, make_training("vit", seeds=1))
    (method,) = front_table(df)["front_method"]
    assert method.count("approximate") == 2
    assert "single process" in method
    assert "single seed" in method


def test_trainings_that_counted_their_own_macs_have_a_front_without_other_cases(tmp_path):
    df = trained(
        tmp_path,
        make_training("vit", macs=10, logit=1),
        make_training("swin", macs=20, logit=4),
        make_training("swin", macs=80, resolution=64),
    )
    table = front_table(df, "macs")
    assert sorted(zip(table["label"], table["resolution"], strict=True)) == [
        *(("swin", 32), ("swin", 64), ("vit", 32))
    ]
    assert (table["resolution"] == table["accuracy_resolution"]).all()
    assert (table["front_probability"] > 0.95).all()


def test_models_have_fronts_too(tmp_path):
    df = trained(
        tmp_path,
        make_training("deit_tiny", macs=10, level="model"),
        make_training("swin_tiny", macs=20, level="model", logit=-2),
    )
    table = front_table(df, "macs").set_index("label")
    assert set(table["level"]) == {"model"}
    assert table["front_verdict"].to_dict() == {"deit_tiny": "on", "swin_tiny": "off"}


def test_fronts_hold_their_probability_under_simulation():
    """Two points whose truth is known: sure statements are rarely wrong."""
    from paca_bench.analyse.draws import accuracy_draws
    from paca_bench.analyse.trainings import Training

    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(200):
        hard = rng.normal(0, 2, 200)
        sides = {}
        for name in ("cheap", "dear"):
            logit = 3 + hard + rng.normal(0, 0.7, 200) + rng.normal(0, 0.3, 3)[:, None]
            right = (logit + rng.logistic(0, 0.4, (3, 200)) > 0).astype(float)
            sides[name] = Training(right.mean(axis=1), (0, 1, 2), right, 200)
        gains = accuracy_draws(sides, 500)
        costs = np.repeat([[1.0], [2.0]], 500, axis=1)
        # Equal in truth, so to be sure of the dear one either way is a mistake.
        wrong += front_verdict(front_probabilities(costs, gains)[1]) != "undecided"
    assert wrong <= 20
