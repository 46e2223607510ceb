import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paca_bench.analyse.scaling import exponent_table, fit_exponent, local_exponents, scaling_table
from paca_bench.errors import SpecError
from paca_bench.record import Status
from paca_bench.results import load_results
from tests.builders import RESOLUTIONS, make_record, make_run, whole_sweep

TOKENS = [(side // 4) ** 2 for side in RESOLUTIONS]


def frame(tmp_path, records):
    return load_results(make_run(tmp_path / "run", records).path)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return frame(tmp_path_factory.mktemp("sweep"), whole_sweep())


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 3), st.floats(1e-9, 1e9), st.booleans())
def test_a_power_law_is_recovered(power, factor, tail):
    fit = fit_exponent(TOKENS, [factor * n**power for n in TOKENS], tail=tail)
    assert fit.value == pytest.approx(power, abs=1e-6)
    assert fit.low <= fit.value <= fit.high


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_interval_covers_the_true_exponent_at_about_its_rate(power):
    rng = random.Random(11)
    hits = 0
    for _ in range(300):
        fit = fit_exponent(TOKENS, [n**power * math.exp(rng.gauss(0, 0.05)) for n in TOKENS])
        hits += fit.low <= power <= fit.high
    assert 0.90 <= hits / 300 <= 0.99


def test_least_squares_agree_with_scipy():
    rng = random.Random(3)
    values = [n * math.exp(rng.gauss(0, 0.1)) for n in TOKENS]
    line = stats.linregress([math.log(n) for n in TOKENS], [math.log(v) for v in values])
    fit = fit_exponent(TOKENS, values)
    assert fit.value == pytest.approx(line.slope)
    assert fit.high - fit.value == pytest.approx(line.stderr * stats.t.ppf(0.975, 4))


def test_a_constant_has_exponent_zero():
    fit = fit_exponent(TOKENS, [7.0] * len(TOKENS))
    assert (fit.value, fit.low, fit.high) == (0, 0, 0)


def test_fixed_cost_pulls_the_exponent_down_and_the_tail_less():
    values = [1.0 + 1e-9 * n**2 for n in TOKENS]
    whole, tail = fit_exponent(TOKENS, values), fit_exponent(TOKENS, values, tail=True)
    assert whole.value < tail.value < 2
    assert tail.tokens_min >= math.sqrt(TOKENS[0] * TOKENS[-1])
    assert tail.tokens_max == TOKENS[-1]
    assert "upper half" in tail.method


def test_tail_keeps_three_points():
    fit = fit_exponent([1, 10, 100, 1000, 1e7], [1, 10, 100, 1000, 1e7], tail=True)
    assert (fit.points, fit.tokens_min) == (3, 100)


def test_missing_values_are_censored_points():
    fit = fit_exponent([1, 2, 4, 8], [1, 2, 4, math.nan])
    assert (fit.points, fit.censored, fit.tokens_max) == (3, 1, 4)


def test_fewer_than_three_token_counts_have_no_exponent():
    assert fit_exponent([], []) is None
    assert fit_exponent([1, 2, 2, 4], [1, 2, 3, math.nan]) is None
    assert fit_exponent([1, 2], [1, 2], tail=True) is None


@pytest.mark.parametrize(("tokens", "values"), [([1, 2], [1]), ([1], [0]), ([0], [1])])
def test_unusable_points_are_refused(tokens, values):
    with pytest.raises(SpecError):
        fit_exponent(tokens, values)


def test_local_exponents_show_where_the_law_changes():
    slopes = local_exponents([16, 1, 4, 4, math.nan], [64, 1, 2, 8, 5])
    assert [place for place, _ in slopes] == pytest.approx([2, 8])
    assert [slope for _, slope in slopes] == pytest.approx([1, 2])


def test_scaling_table_has_one_row_per_curve(sweep):
    table = scaling_table(sweep, "latency_s")
    assert len(table) == 7 * 3  # host forward, host train, layer; fit has no latency
    assert not table.duplicated(["level", "label", "mode"]).any()
    rows = table.set_index(["level", "mode", "label"]).sort_index()
    forward = rows.loc[("host", "forward")]
    assert forward.loc["vit", "exponent_low"] > forward.loc["paca (M=49)", "exponent_high"]
    assert forward["points"].eq(len(RESOLUTIONS)).all()
    assert (table["exponent_low"] < table["exponent"]).all()
    assert rows.loc[("host", "train", "vit"), "censored"] == 1
    assert rows.loc[("host", "train", "vit"), "tokens_max"] == TOKENS[-2]
    assert forward.loc["vit", "tail_exponent"] > forward.loc["vit", "exponent"]


def test_scaling_table_counts_wrong_results_as_censored(tmp_path):
    records = [make_record("vit", resolution=side) for side in RESOLUTIONS[:3]]
    data = records[0].to_json()
    data["statuses"]["latency"] = Status.WRONG.value
    wrong = type(records[0]).from_json(data)
    table = scaling_table(frame(tmp_path, [wrong, *records[1:]]), "latency_s")
    row = table.iloc[0]
    assert (row["points"], row["censored"]) == (2, 1)
    assert math.isnan(row["exponent"])
    assert "fewer than 3" in row["method"]


def test_scaling_table_of_nothing_is_empty_with_columns(tmp_path):
    table = scaling_table(frame(tmp_path, []), "macs")
    assert table.empty
    assert "exponent" in table
    with pytest.raises(SpecError, match="speed"):
        scaling_table(table, "speed")


def test_the_local_exponent_is_a_curve_over_the_measured_range(sweep):
    table = exponent_table(sweep, "latency_s", steps=5)
    assert len(table) == 7 * 3 * 5
    vit = table[(table["label"] == "vit") & (table["level"] == "host")]
    forward = vit[vit["mode"] == "forward"]
    assert forward["tokens"].tolist() == pytest.approx(
        [TOKENS[0] * (TOKENS[-1] / TOKENS[0]) ** (i / 4) for i in range(5)]
    )
    assert forward["resolution"].tolist() == pytest.approx(
        [4 * math.sqrt(n) for n in forward["tokens"]]
    )
    assert forward["local_exponent"].is_monotonic_increasing
    assert (forward["local_exponent_low"] <= forward["local_exponent"]).all()
    assert (forward["local_exponent"] <= forward["local_exponent_high"]).all()
    # Law of the MACs: 2e-3 + 1e-6 N + 2e-10 N².
    for row in forward.to_dict("records"):
        n = row["tokens"]
        linear, quadratic = 1e-6 * n, 2e-10 * n**2
        true = (linear + 2 * quadratic) / (2e-3 + linear + quadratic)
        assert row["macs_local_exponent"] == pytest.approx(true, rel=0.02)
    # What was not measured ends the curve.
    assert vit[vit["mode"] == "train"]["tokens"].max() == pytest.approx(TOKENS[-2])


def test_a_curve_without_a_law_has_no_local_exponents(tmp_path):
    df = frame(tmp_path, [make_record("vit", resolution=side) for side in RESOLUTIONS[:4]])
    table = exponent_table(df, "latency_s")
    assert table.empty
    assert "local_exponent_high" in table
    with pytest.raises(SpecError, match="speed"):
        exponent_table(df, "speed")
