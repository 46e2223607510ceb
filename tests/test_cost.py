"""A cost in symbols and in numbers, and sums of them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.complexity.expr import symbols
from paca_bench.complexity.term import (
    C,
    M,
    N,
    N_w,
    attention,
    convolution,
    depthwise,
    linear,
    norm,
    product,
    w,
    window_attention,
)
from paca_bench.errors import SpecError
from paca_bench.models.registry import model_cost, model_names


def attention_by_macs(n: int = 6, c: int = 4) -> Cost:
    return Cost(
        {"projections": 4 * N * C**2, "products": 2 * N**2 * C},
        {"N": n, "C": c},
        {"projections": 4 * C**2 + 4 * C},
    )


def test_terms_add_up() -> None:
    cost = attention_by_macs()
    assert cost.terms == {"projections": 4 * 6 * 16, "products": 2 * 36 * 4}
    assert cost.macs == 384 + 288
    assert cost.flops == 2 * cost.macs
    assert cost.params == 4 * 16 + 16
    assert cost.param_terms == {"projections": 80}


def test_the_formula_is_the_sum_of_all_terms() -> None:
    assert attention_by_macs().formula == "4NC² + 2N²C"
    assert attention_by_macs().latex == "4 N C^{2} + 2 N^{2} C"
    assert Cost({}, {}).formula == "0"


def test_like_terms_of_the_formula_are_joined() -> None:
    assert Cost({"a": N * C, "b": 2 * N * C}, {"N": 1, "C": 1}).formula == "3NC"


def test_nothing_costs_nothing() -> None:
    nothing = Cost({}, {})
    assert (nothing.macs, nothing.flops, nothing.params, nothing.terms) == (0, 0, 0, {})
    assert CostSum.of([]).macs == 0


def test_a_symbol_without_a_value_is_an_error_where_it_is_asked_for() -> None:
    cost = Cost({"a": N * C}, {"N": 1})
    with pytest.raises(SpecError, match="no value for C"):
        _ = cost.macs


def test_a_sum_keeps_its_parts_apart_and_joins_what_is_called_alike() -> None:
    total = CostSum.of((label, attention_by_macs()) for label in ("stage1", "stage1", "stage2"))
    assert total.macs == 3 * attention_by_macs().macs
    assert total.flops == 2 * total.macs
    assert total.params == 3 * attention_by_macs().params
    assert total.terms["stage1.products"] == 2 * 288
    assert total.terms["stage2.products"] == 288
    assert total.macs == sum(total.terms.values())
    assert total.params == sum(total.param_terms.values())


def test_all_numbers_are_integers() -> None:
    cost = attention_by_macs(10**9, 10**6)
    assert cost.macs == 4 * 10**21 + 2 * 10**24
    for value in (cost.macs, cost.flops, cost.params, *cost.terms.values()):
        assert type(value) is int


# ---- what follows from operators


def operators() -> Cost:
    terms = {
        "projections": 2 * linear(N, C, C),
        "products": attention(N, N, C),
        "blur": depthwise(N, 9, C, learned=False),
        "norm": norm(C),
    }
    return Cost(terms, {"N": 6, "C": 4})


def test_terms_give_macs_and_parameters_alike() -> None:
    cost = operators()
    assert cost.terms == {"projections": 2 * 96, "products": 288, "blur": 9 * 24}
    assert cost.param_terms == {"projections": 2 * 20, "norm": 8}
    assert cost.formula == "2NC² + 2N²C + 9NC"


def test_a_gradient_for_each_operand_that_wants_one() -> None:
    assert operators().backward_macs == 2 * (192 + 288) + 216
    image = Cost({"stem": convolution(N, N, 9, 3, C, of_image=True)}, {"N": 6, "C": 4})
    assert image.backward_macs == image.macs == 9 * 3 * 4 * 6
    assert CostSum.of([("a", operators()), ("b", image)]).backward_macs == 1176 + 648


def test_each_operand_and_result_moves_once_whatever_the_batch_of_weights() -> None:
    product_of_three = Cost({"aggregation": product(M, N, C)}, {"M": 2, "N": 6, "C": 4})
    assert product_of_three.moved_elements(5) == 5 * (12 + 24 + 8)
    assert operators().moved_elements(1) == 2 * (48 + 16) + 4 * 24 + (48 + 36)
    assert operators().moved_elements(3) == 3 * (2 * 48 + 4 * 24 + 48) + 2 * 16 + 36
    trained = 3 * (2 * 64 + 4 * 24) + 2 * (48 + 36)
    assert operators().moved_elements(1, train=True) == trained


def test_what_moves_is_unknown_of_a_term_that_gives_its_macs_alone() -> None:
    assert attention_by_macs().moved_elements() is None
    both = CostSum.of([("a", operators()), ("b", attention_by_macs())])
    assert both.moved_elements() is None
    assert both.backward_macs == 1176 + 2 * attention_by_macs().macs


def test_the_exponent_is_the_slope_on_logarithms() -> None:
    cost = attention_by_macs()
    assert cost.macs_by_degree == {1: 384, 2: 288}
    assert cost.exponent == pytest.approx((384 + 2 * 288) / (384 + 288))
    low, high = attention_by_macs(10**6 - 1).macs, attention_by_macs(10**6 + 1).macs
    slope = math.log(high / low) / math.log((10**6 + 1) / (10**6 - 1))
    assert attention_by_macs(10**6).exponent == pytest.approx(slope, rel=1e-6)
    windows = Cost(
        {"products": window_attention(N_w, w**2, C, symbols("h")[0], masked=False)},
        {"N_w": 8, "w": 2, "C": 4, "h": 2},
    )
    assert windows.macs_by_degree == {1: 2 * 8 * 4 * 4}
    assert math.isnan(Cost({}, {}).exponent)


def test_a_sum_has_a_formula_for_each_term_of_each_label() -> None:
    total = CostSum.of([("s1.a", operators()), ("s1.a", operators()), ("s2.a", operators())])
    formulas = {name: str(e) for name, (e, _) in total.expressions_in_values.items()}
    assert formulas["s1.a.products"] == "4N²C"
    assert formulas["s2.a.products"] == "2N²C"
    for name, (expression, values) in total.expressions_in_values.items():
        assert expression.evaluate(values) == total.terms[name]
    assert total.stages == ["s1", "s2"]
    assert total.stage("s1").macs == 2 * total.stage("s2").macs == 2 * operators().macs


def test_one_symbol_has_one_value_within_a_term() -> None:
    total = CostSum.of([("s", attention_by_macs(6)), ("s", attention_by_macs(7))])
    assert total.macs == attention_by_macs(6).macs + attention_by_macs(7).macs
    with pytest.raises(SpecError, match=r"s\.projections: parts of one label"):
        _ = total.expressions_in_values


@pytest.mark.parametrize("count", [-1, 1.5, True])
def test_a_term_is_repeated_a_whole_number_of_times(count: Any) -> None:
    with pytest.raises(SpecError, match="whole number"):
        count * norm(C)


@pytest.mark.parametrize("name", model_names())
def test_every_model_has_formulas_that_evaluate_to_its_counts(name: str) -> None:
    cost = model_cost(name, height=256, width=192)
    formulas = cost.expressions_in_values
    assert {n: e.evaluate(v) for n, (e, v) in formulas.items()} == cost.terms
    assert sum(cost.macs_by_degree.values()) == cost.macs
    assert cost.moved_elements() is not None
