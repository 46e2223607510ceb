import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.pareto import front_table, pareto_front
from paca_bench.errors import SpecError
from paca_bench.results import load_results
from tests.builders import censored, make_fit_record, make_record, make_run, whole_sweep

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
