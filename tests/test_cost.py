"""A cost in symbols and in numbers, and sums of them."""

from __future__ import annotations

import pytest

from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.complexity.expr import symbols
from paca_bench.errors import SpecError

N, C = symbols("N C")


def attention(n: int = 6, c: int = 4) -> Cost:
    return Cost(
        {"projections": 4 * N * C**2, "products": 2 * N**2 * C},
        {"N": n, "C": c},
        {"projections": 4 * C**2 + 4 * C},
    )


def test_terms_add_up() -> None:
    cost = attention()
    assert cost.terms == {"projections": 4 * 6 * 16, "products": 2 * 36 * 4}
    assert cost.macs == 384 + 288
    assert cost.flops == 2 * cost.macs
    assert cost.params == 4 * 16 + 16
    assert cost.param_terms == {"projections": 80}


def test_the_formula_is_the_sum_of_all_terms() -> None:
    assert attention().formula == "4NC² + 2N²C"
    assert attention().latex == "4 N C^{2} + 2 N^{2} C"
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
    total = CostSum.of((label, attention()) for label in ("stage1", "stage1", "stage2"))
    assert total.macs == 3 * attention().macs
    assert total.flops == 2 * total.macs
    assert total.params == 3 * attention().params
    assert total.terms["stage1.products"] == 2 * 288
    assert total.terms["stage2.products"] == 288
    assert total.macs == sum(total.terms.values())
    assert total.params == sum(total.param_terms.values())


def test_all_numbers_are_integers() -> None:
    cost = attention(10**9, 10**6)
    assert cost.macs == 4 * 10**21 + 2 * 10**24
    for value in (cost.macs, cost.flops, cost.params, *cost.terms.values()):
        assert type(value) is int
