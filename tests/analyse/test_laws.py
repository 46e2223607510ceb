import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from paca_bench.analyse import law_fit
from paca_bench.analyse.bounds import lower_bound
from paca_bench.analyse.claims import Claim, linear_claim
from paca_bench.analyse.laws import TERMS, fit_law
from paca_bench.analyse.scaling import curve_law, scaling_table
from paca_bench.errors import SpecError
from paca_bench.record import Status
from paca_bench.results import load_results
from tests.analyse.law_bars import KINDS, draw_law, exponents, study, sweep_tokens, terms_at
from tests.builders import RESOLUTIONS, censored, make_record, make_run

TOKENS = np.array([(side // 4) ** 2 for side in (224, 320, 448, 576, 768, 1024)], dtype=float)
LAWS = {
    "constant": (7.0, 0, 0, 0),
    "linear": (2e-3, 1e-6, 0, 0),
    "linearithmic": (0, 0, 3e-7, 0),
    "quadratic": (1e-3, 1e-6, 0, 2e-10),
}


def noisy(law, tokens=TOKENS, noise=0.03, seed=0):
    rng = random.Random(seed)
    return [v * math.exp(rng.gauss(0, noise)) for v in terms_at(tokens) @ np.array(law)]


# The bars, on a part of the cases of tests/analyse/law_bars.py.


def test_the_true_exponent_lies_in_its_interval():
    found = study(KINDS, 350)
    assert found.range_hits / found.cases >= 0.93
    assert found.local_hits / found.cases >= 0.93
    assert found.growth_hits / found.cases >= 0.93
    assert found.wrong_claims / found.cases <= 0.01


@pytest.mark.parametrize(
    ("kinds", "never"),
    [(("linear", "c+linear"), "quadratic"), (("quadratic", "c+quadratic"), "linear")],
)
def test_linear_is_not_called_quadratic_nor_the_reverse(kinds, never):
    found = study(kinds, 200, seed=2)
    assert found.called[never] / found.cases <= 0.01


# The fit itself.


@pytest.mark.parametrize("kind", TERMS)
def test_an_exact_law_is_recovered(kind):
    law = np.array(LAWS[kind])
    fit = fit_law(TOKENS, terms_at(TOKENS) @ law)
    assert fit.kind == kind
    assert fit.terms == tuple(t for t, c in zip(TERMS, law, strict=True) if c)
    assert list(fit.coefficients.values()) == pytest.approx(law[law > 0].tolist())
    assert fit.relative_residual < 1e-6
    assert sum(fit.shares.values()) == pytest.approx(1)
    over_range, local, growth = exponents(law, TOKENS) if law[1:].any() else (0, 0, math.nan)
    assert fit.exponent.value == pytest.approx(over_range, abs=1e-6)
    assert fit.exponent_at(TOKENS[-1]).value == pytest.approx(local, abs=1e-6)
    assert fit.growth_exponent_at(TOKENS[-1]).value == pytest.approx(growth, nan_ok=True)
    for n in (3136, 10_000, 65_536):
        assert fit.predict(n) == pytest.approx(terms_at(n) @ law)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.floats(1e-6, 1e6), st.integers(0, 10**6), st.integers(5, 9))
def test_the_unit_does_not_matter(kind, factor, seed, points):
    tokens = sweep_tokens(points)
    rng = np.random.default_rng(seed)
    values = terms_at(tokens) @ draw_law(kind, tokens, rng)
    values *= np.exp(0.05 * rng.standard_normal(points))
    one, other = fit_law(tokens, values), fit_law(tokens, factor * values)
    assert one.terms == other.terms
    assert factor * one.predict(5000) == pytest.approx(other.predict(5000), rel=1e-4)
    for a, b in ((one.exponent, other.exponent), (one.exponent_at(4e3), other.exponent_at(4e3))):
        assert a.low <= a.value <= a.high
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-3)
        assert -1e-9 <= a.low <= a.high <= 2 + 1e-9


def test_the_fit_is_the_least_squares_of_logs():
    values = np.array(noisy(LAWS["quadratic"]))
    points = law_fit.Points(
        law_fit.basis(TOKENS, TOKENS[-1]), np.log(values), np.ones(len(values), dtype=bool)
    )
    fit = law_fit.fit_terms(points, (1, 3))
    rng = np.random.default_rng(0)
    for _ in range(200):
        other = fit.costs * np.exp(0.02 * rng.standard_normal(4))
        residuals = np.log(values) - np.log(points.design @ other)
        assert residuals @ residuals >= fit.squares
    residuals = np.log(values) - np.log(points.design @ fit.costs)
    assert residuals @ residuals == pytest.approx(fit.squares)


def test_refits_are_non_negative_least_squares():
    rng = np.random.default_rng(4)
    design = law_fit.basis(TOKENS, TOKENS[-1]) * rng.uniform(0.5, 2, (6, 1))
    targets = rng.uniform(-0.5, 2, (6, 40))
    supports = law_fit.subsets(4)
    found = law_fit.nonnegative(design, targets, supports)
    assert (found >= 0).all()
    for column, target in zip(found.T, targets.T, strict=True):
        expected = lsq_linear(design, target, (0, np.inf), tol=1e-12)
        assert ((design @ column - target) ** 2).sum() == pytest.approx(2 * expected.cost, rel=1e-6)


def test_slopes_are_the_derivatives_of_the_basis():
    n, step = np.array([3e3, 2e4]), 1e-4
    up, down = (law_fit.basis(n * math.exp(s), 5e4) for s in (step, -step))
    assert law_fit.slopes(n, 5e4) == pytest.approx((up - down) / 2 / step, rel=1e-6)


def test_the_seed_makes_the_intervals():
    values = noisy(LAWS["quadratic"])
    one, same, other = (fit_law(TOKENS, values, seed=seed) for seed in (3, 3, 4))
    assert one.exponent == same.exponent
    assert one.exponent_at(5000) == same.exponent_at(5000)
    assert one.exponent != other.exponent
    assert one.coefficients == other.coefficients


def test_noise_and_confidence_widen_the_interval():
    def width(noise, confidence=0.95):
        made = fit_law(TOKENS, noisy(LAWS["linear"], noise=noise), confidence=confidence).exponent
        return made.high - made.low

    assert width(0.01) < width(0.05)
    assert width(0.05, 0.5) < width(0.05) < width(0.05, 0.99)


def test_a_fixed_cost_does_not_hide_quadratic_growth():
    law = fit_law(TOKENS, noisy((1.0, 0, 0, 1e-10), noise=0.01))
    assert law.exponent_at(TOKENS[-1]).high < 1
    assert law.growth_exponent_at(TOKENS[-1]).low > 1.5
    assert linear_claim(law).verdict is Claim.FAILS


def test_the_formula_has_the_chosen_terms_in_the_metrics_unit():
    law = fit_law(TOKENS, terms_at(TOKENS) @ LAWS["quadratic"])
    assert law.formula == "0.00100 + 1.00e-06·N + 2.00e-10·N²"
    assert fit_law(TOKENS, [7.0] * len(TOKENS)).formula == "7.00"


def test_four_token_counts_are_too_few():
    assert fit_law(TOKENS[:4], TOKENS[:4]) is None
    assert fit_law([*TOKENS[:4], TOKENS[3]], [*TOKENS[:4], TOKENS[3]]) is None
    assert fit_law([], []) is None
    claim = linear_claim(None)
    assert (claim.verdict, claim.exponent) == (Claim.NOT_SHOWN, None)
    assert "fewer than 5" in claim.reason


@pytest.mark.parametrize(
    ("tokens", "values", "options"),
    [
        ([1, 2], [1], {}),
        ([1, 2], [1, 2], {"bounds": [1]}),
        ([0], [1], {}),
        ([math.nan], [1], {}),
        ([1], [0], {}),
        ([1], [math.inf], {}),
        ([1], [math.nan], {"bounds": [-1]}),
        ([1], [1], {"confidence": 95}),
    ],
)
def test_unusable_points_are_refused(tokens, values, options):
    with pytest.raises(SpecError):
        fit_law(tokens, values, **options)


@pytest.mark.parametrize("n", [0, -1, math.inf, math.nan])
def test_a_law_holds_for_token_counts_only(n):
    law = fit_law(TOKENS, TOKENS)
    for ask in (law.predict, law.exponent_at, law.growth_exponent_at):
        with pytest.raises(SpecError, match="token counts"):
            ask(n)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.floats(1e-9, 1e12), st.sampled_from((0.0, 0.5, 2.0))),
        min_size=5,
        max_size=9,
        unique_by=lambda point: point[0],
    )
)
def test_any_points_have_a_law_or_too_few_counts(points):
    # A factor of 0 stands for a measured point, any other for a bound.
    known = [value if factor == 0 else math.nan for _, value, factor in points]
    low = [factor * value or math.nan for _, value, factor in points]
    law = fit_law([n for n, _, _ in points], known, bounds=low, resamples=50)
    count = sum(not math.isnan(value) for value in known)
    if count < 5:
        assert law is None
        return
    assert (law.points, law.bounded) == (count, len(points) - count)
    for made in (law.exponent, law.exponent_at(law.tokens_max)):
        assert made.low <= made.value <= made.high
    growth = law.growth_exponent_at(law.tokens_max)
    assert 1 - 1e-9 <= growth.low <= growth.high
    assert law.predict(law.tokens_max) > 0
    assert sum(law.shares.values()) == pytest.approx(1)
    assert linear_claim(law).verdict in Claim


# Censored points.


def test_censored_points_are_counted_and_do_not_move_the_fit():
    values = noisy(LAWS["linear"])
    law = fit_law([*TOKENS, 2e5, 3e5], [*values, math.nan, math.nan])
    assert (law.points, law.censored, law.bounded) == (6, 2, 0)
    assert (law.tokens_max, law.tokens_asked) == (TOKENS[-1], 3e5)
    assert law.coefficients == fit_law(TOKENS, values).coefficients


def test_a_bound_below_the_law_leaves_it_as_it_is():
    values = noisy(LAWS["linear"])
    free = fit_law(TOKENS, values)
    law = fit_law([*TOKENS, 2e5], [*values, math.nan], bounds=[*values, 0.01])
    assert (law.censored, law.bounded) == (1, 1)
    assert law.coefficients == pytest.approx(free.coefficients, rel=1e-6)


def test_a_bound_above_the_law_raises_it():
    # Five points cannot tell the quadratic term that a timeout at the sixth gives away.
    truth = terms_at(TOKENS) @ np.array((1e-3, 1e-6, 0, 1e-11))
    tokens, bound = [*TOKENS, 1e6], 8.0
    values = [*truth * (1, 1.02, 0.98, 1.01, 0.99, 0.97), math.nan]
    free = fit_law(tokens, values)
    law = fit_law(tokens, values, bounds=[*[math.nan] * 6, bound])
    assert free.kind == "linear"
    assert free.predict(1e6) < 2
    assert law.kind == "quadratic"
    assert law.predict(1e6) > 0.8 * bound
    assert law.growth_exponent_at(TOKENS[-1]).high > free.growth_exponent_at(TOKENS[-1]).low


def test_a_bound_at_a_measured_point_is_not_used():
    values = noisy(LAWS["linear"])
    assert fit_law(TOKENS, values, bounds=[100.0] * 6) == fit_law(TOKENS, values)


def frame(tmp_path, records):
    return load_results(make_run(tmp_path / "run", records).path)


def with_metrics(record, **metrics):
    data = record.to_json()
    data["metrics"] |= metrics
    return type(record).from_json(data)


@pytest.mark.parametrize(
    ("status", "expected"), [(Status.TIMEOUT, 3.0), (Status.OVER_BUDGET, math.nan)]
)
def test_a_bound_is_read_where_the_status_tells_of_one(tmp_path, status, expected):
    late = censored(make_record("vit"), status=status, reason="cut off")
    late = with_metrics(late, latency_lower_bound_s=3.0)
    (row,) = frame(tmp_path, [late]).to_dict("records")
    assert lower_bound(row, "latency_s") == pytest.approx(expected, nan_ok=True)
    assert math.isnan(lower_bound(row, "peak_memory_bytes"))
    assert math.isnan(lower_bound(row, "macs"))
    with pytest.raises(SpecError, match="speed"):
        lower_bound(row, "speed")


def test_a_bound_on_memory_enters_the_curves_law(tmp_path):
    sides = (*RESOLUTIONS, 2048)
    records = [make_record("swin", resolution=side) for side in sides]
    failed = censored(records[-1], "memory", Status.OUT_OF_MEMORY, "the allocator refused")
    df = frame(tmp_path, [*records[:-1], with_metrics(failed, peak_memory_lower_bound_bytes=2e8)])
    law = curve_law(df, "peak_memory_bytes")
    assert (law.points, law.censored, law.bounded) == (6, 1, 1)
    row = scaling_table(df, "peak_memory_bytes").iloc[0]
    assert (row["censored"], row["bounded"]) == (1, 1)
    assert row["tokens_asked"] == (2048 // 4) ** 2


# The claim.


@pytest.mark.parametrize(
    ("law", "noise", "verdict"),
    [
        ("linear", 0.005, Claim.HOLDS),
        ("linear", 0.1, Claim.NOT_SHOWN),
        ("quadratic", 0.03, Claim.FAILS),
        ("constant", 0.01, Claim.NOT_SHOWN),
    ],
)
def test_the_claim_linear(law, noise, verdict):
    claim = linear_claim(fit_law(TOKENS, noisy(LAWS[law], noise=noise)))
    assert claim.verdict is verdict
    assert claim.tokens == TOKENS[-1]
    assert claim.exponent.low <= claim.exponent.high


def test_a_constant_says_nothing_about_growth():
    law = fit_law(TOKENS, noisy(LAWS["constant"]))
    growth = law.growth_exponent_at(TOKENS[-1])
    assert math.isnan(growth.value)
    assert (growth.low, growth.high) == pytest.approx((1, 2))
    assert "no growth" in linear_claim(law).reason


def test_the_tolerance_decides():
    law = fit_law(TOKENS, terms_at(TOKENS) @ np.array((0, 0, 1.0, 0)))
    assert law.growth_exponent_at(TOKENS[-1]).value == pytest.approx(1 + 1 / math.log(TOKENS[-1]))
    assert linear_claim(law).verdict is Claim.HOLDS
    assert linear_claim(law, tolerance=0.05).verdict is Claim.FAILS


def test_the_table_puts_the_analytic_growth_beside_the_measured(tmp_path):
    records = []
    for side in RESOLUTIONS:
        # Measured linear, counted quadratic: the kernel is not bound by its MACs.
        record = make_record("swin", resolution=side)
        records.append(with_metrics(record, macs=(side // 4) ** 4))
    row = scaling_table(frame(tmp_path, records), "latency_s").iloc[0]
    assert row["law"] == "linear"
    assert row["linear_claim"] in ("holds", "not shown")
    assert (row["macs_law"], row["macs_linear_claim"]) == ("quadratic", "does not hold")
    assert row["macs_exponent"] == pytest.approx(2)
    assert row["macs_local_exponent_max"] == pytest.approx(2)
    assert row["local_exponent_max_low"] <= row["local_exponent_max"] <= 1
    assert row["growth_exponent_max_high"] < 1.5
    assert row["law_terms"] == "constant + linear"


def test_the_table_without_a_law_says_not_shown(tmp_path):
    records = [make_record("swin", resolution=side) for side in RESOLUTIONS[:4]]
    row = scaling_table(frame(tmp_path, records), "latency_s").iloc[0]
    assert (row["law"], row["linear_claim"]) == ("", "not shown")
    assert math.isnan(row["local_exponent_max"])
    assert row["exponent"] > 0.5


def test_exact_counts_have_their_own_law_however_small_a_term() -> None:
    """4NC² + 2N²C at C = 32: the linear term is just under 2% at the smallest N."""
    tokens = [float(side**2) for side in (56, 80, 112, 160, 216, 256)]
    law = fit_law(tokens, [4 * n * 32**2 + 2 * n**2 * 32 for n in tokens])
    assert law is not None
    assert law.terms == ("linear", "quadratic")
    assert law.coefficients == {
        "linear": pytest.approx(4 * 32**2, rel=1e-6),
        "quadratic": pytest.approx(64, rel=1e-6),
    }
