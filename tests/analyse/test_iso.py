import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.iso import BELOW, BEYOND, WITHIN, iso_clusters_table, iso_table
from paca_bench.analyse.meeting import last_rise
from paca_bench.errors import SpecError
from paca_bench.results import load_results
from tests.builders import censored, make_fit_record, make_record, make_run

SIDES = (200, 300, 400, 600)


def frame(tmp_path, records):
    return load_results(make_run(tmp_path / "run", records).path)


def powers(noise=0.0, seed=0, sides=SIDES):
    """vit costs side^4, swin 40000 side^2: equal at 200 px."""
    records = []
    for side in sides:
        for name, cost in (("vit", side**4), ("swin", 40_000 * side**2)):
            seconds = cost * 1e-11
            record = make_record(name, resolution=side, latency_s=seconds, noise=noise, seed=seed)
            records.append(record)
    return records


def test_same_resolution_at_the_same_cost_and_more_above(tmp_path):
    table = iso_table(frame(tmp_path, powers()), "macs", "vit")
    assert table["resolution"].tolist() == list(SIDES)
    assert set(table["label"]) == {"swin"}
    at = table.set_index("resolution")
    # swin reaches side² / 200 for what vit costs at side.
    assert at.loc[200, "same_cost_resolution"] == 200
    assert (at.loc[200, "same_cost_low"], at.loc[200, "same_cost_high"]) == (200, 200)
    assert at.loc[300, "same_cost_resolution"] == pytest.approx(450, rel=1e-3)
    assert (at.loc[300, "same_cost_low"], at.loc[300, "same_cost_high"]) == (400, 600)
    assert at.loc[300, "cost"] == at.loc[300, "cost_low"] == at.loc[300, "cost_high"]
    assert at["status"].tolist() == [WITHIN, WITHIN, BEYOND, BEYOND]
    assert "measured neighbours" in at.loc[300, "method"]


def test_outside_the_measured_range_is_censored_not_extrapolated(tmp_path):
    df = frame(tmp_path, [r for r in powers() if r.case.mechanism == "vit" or r.case.height > 200])
    for metric in ("macs", "latency_s"):
        at = iso_table(df, metric, "vit").set_index("resolution")
        low, high = at.loc[200], at.loc[600]
        assert (low["status"], high["status"]) == (BELOW, BEYOND)
        assert math.isnan(low["same_cost_resolution"])
        assert math.isnan(high["same_cost_resolution"])
        assert (low["same_cost_low"], low["same_cost_high"]) == (0, 300)
        assert (high["same_cost_low"], high["same_cost_high"]) == (600, math.inf)


def test_the_interval_of_a_latency_covers_at_about_its_rate(tmp_path):
    hits = 0
    for seed in range(40):
        df = frame(tmp_path / str(seed), powers(noise=0.03, seed=seed, sides=(200, 300, 600)))
        row = iso_table(df, "latency_s", "vit").set_index("resolution").loc[300]
        assert row["same_cost_low"] <= row["same_cost_resolution"] <= row["same_cost_high"]
        assert row["cost_low"] < row["cost"] < row["cost_high"]
        hits += row["same_cost_low"] <= 450 <= row["same_cost_high"]
    assert hits >= 36


def test_a_single_process_has_an_interval_too(tmp_path):
    records = []
    for record in powers(noise=0.03):
        data = record.to_json()
        data["samples"]["latency_s"] = data["samples"]["latency_s"][:1]
        records.append(type(record).from_json(data))
    row = iso_table(frame(tmp_path, records), "latency_s", "vit").set_index("resolution").loc[300]
    assert row["same_cost_low"] < row["same_cost_resolution"] < row["same_cost_high"]


def test_what_was_not_measured_is_not_used(tmp_path):
    records = powers()
    records[3] = censored(records[3])  # swin at 300
    df = frame(tmp_path, records)
    row = iso_table(df, "latency_s", "vit").set_index("resolution").loc[300]
    assert row["points"] == 3
    table = iso_table(df, "latency_s", "swin")
    assert table["resolution"].tolist() == [200, 400, 600]


def test_clusters_for_the_same_cost(tmp_path):
    records = [
        make_record("vit", latency_s=1.0),
        make_fit_record("vit"),
        make_fit_record("paca", 9),
    ]
    for count in (4, 9, 36):
        records.append(make_record("paca", count, latency_s=count / 18))
        records.append(make_record("paca", count, latency_s=count, resolution=320))
    table = iso_clusters_table(frame(tmp_path, records), "macs", "vit")
    assert len(table) == 1  # nothing of vit at 320
    row = table.iloc[0]
    assert row["same_cost_clusters"] == pytest.approx(18)
    assert (row["same_cost_low"], row["same_cost_high"]) == (9, 36)
    assert (row["clusters_at_most"], row["mechanism"], row["status"]) == (9, "paca", WITHIN)
    assert row["cost_at_most"] == pytest.approx(row["cost"] / 2)


def test_no_cluster_count_is_cheap_enough(tmp_path):
    records = [make_record("vit", latency_s=1.0)]
    records += [make_record("paca", count, latency_s=count) for count in (4, 9)]
    row = iso_clusters_table(frame(tmp_path, records), "macs", "vit").iloc[0]
    assert row["status"] == BELOW
    assert math.isnan(row["clusters_at_most"])
    assert (row["same_cost_low"], row["same_cost_high"]) == (0, 4)


def test_nothing_gives_empty_tables_with_columns(tmp_path):
    df = frame(tmp_path, [])
    assert iso_table(df, "macs", "vit").empty
    assert "clusters_at_most" in iso_clusters_table(df, "macs", "vit")
    assert iso_table(frame(tmp_path / "other", powers()), "macs", "unknown").empty
    with pytest.raises(SpecError, match="speed"):
        iso_table(df, "speed", "vit")


@settings(max_examples=60, deadline=None)
@given(st.floats(-2.9, 2.9), st.floats(0.2, 4))
def test_a_power_law_meets_its_level_exactly(log_level, power):
    places = np.exp(np.linspace(-3, 3, 5))
    found = last_rise(places.tolist(), (power * (np.log(places) - log_level))[:, None])
    for place in (found.place, found.low, found.high):
        assert place[0] == pytest.approx(math.exp(log_level))


@settings(max_examples=60, deadline=None)
@given(st.floats(0.3, 0.9), st.floats(0.1, 3), st.booleans())
def test_a_smooth_bend_lies_within_the_ends(level, bend, convex):
    log = np.linspace(0, 1, 6)

    def curve(x):
        y = np.expm1(bend * x) / np.expm1(bend)
        return y if convex else 1 - (np.expm1(bend * (1 - x)) / np.expm1(bend))

    inverse = np.interp(level, curve(np.linspace(0, 1, 20_001)), np.linspace(0, 1, 20_001))
    found = last_rise(np.exp(log).tolist(), (curve(log) - level)[:, None])
    assert found.low[0] <= math.exp(inverse) * (1 + 1e-6)
    assert found.high[0] >= math.exp(inverse) * (1 - 1e-6)
    assert found.low[0] <= found.place[0] <= found.high[0]


def test_curves_that_do_not_rise_between_the_places():
    gaps = np.array([[1, -1, -1, 0, -1], [2, -1, 0, 1, 1], [3, -1, 0, 2, -1]], dtype=float)
    found = last_rise([1, 2, 4], gaps)
    assert found.place.tolist() == [0, math.inf, 4, 1, math.inf]
    one = last_rise([5], np.array([[1.0, -1.0, 0.0]]))
    assert one.place.tolist() == [0, math.inf, 5]


def test_two_places_leave_the_whole_segment_open():
    found = last_rise([1, 4], np.array([[-1.0], [1.0]]))
    assert (found.place[0], found.low[0], found.high[0]) == pytest.approx((2, 1, 4))


def test_the_quantiles_of_an_interval_may_be_infinite():
    rng = random.Random(0)
    gaps = np.array([[-1.0] * 200, [rng.gauss(0, 1) for _ in range(200)]])
    low, high = last_rise([1, 2], gaps).interval(1.5, 0.9)
    assert low == 1
    assert high == math.inf
