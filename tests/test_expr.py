"""Integer polynomials: an algebra that is exact, and prints as papers do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.complexity.expr import Expr, symbol, symbols
from paca_bench.errors import SpecError

N, C, M, k = symbols("N C M k")

NAMES = ("N", "C", "M")
MONOMIALS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 3)), max_size=3).map(
    lambda powers: tuple(sorted(dict(powers).items()))
)
EXPRS = st.dictionaries(MONOMIALS, st.integers(-9, 9).filter(bool), max_size=4).map(Expr)
VALUES = st.fixed_dictionaries({name: st.integers(-50, 10**6) for name in NAMES})


@given(EXPRS, EXPRS, VALUES)
@settings(max_examples=150, deadline=None)
def test_sums_and_products_are_those_of_the_values(
    a: Expr, b: Expr, values: dict[str, int]
) -> None:
    x, y = a.evaluate(values), b.evaluate(values)
    assert (a + b).evaluate(values) == x + y
    assert (a * b).evaluate(values) == x * y
    assert (a**2).evaluate(values) == x**2
    assert (3 + a * 2).evaluate(values) == 3 + 2 * x


@given(EXPRS, EXPRS, EXPRS)
@settings(max_examples=80, deadline=None)
def test_the_laws_of_algebra(a: Expr, b: Expr, c: Expr) -> None:
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) * c == a * c + b * c
    assert a + 0 == a == a * 1
    assert a * 0 == Expr({}) == a + a * -1
    assert a**0 == Expr.of(1)


def test_values_are_exact_however_large() -> None:
    big = 10**20 + 1
    assert (N**3).evaluate({"N": big}) == big**3
    assert Expr.of(0).evaluate({}) == 0


def test_a_symbol_without_a_value_is_named() -> None:
    with pytest.raises(SpecError, match=r"no value for C, M in 4NMC"):
        (4 * N * C * M).evaluate({"N": 1})


@pytest.mark.parametrize(
    ("expr", "text", "latex"),
    [
        (4 * N * C**2 + 2 * N**2 * C, "4NC² + 2N²C", "4 N C^{2} + 2 N^{2} C"),
        (k**2 * N * C + N * M * C, "k²NC + NMC", "k^{2} N C + N M C"),
        (N + 0, "N", "N"),
        (Expr.of(0), "0", "0"),
        (Expr.of(7), "7", "7"),
        (C * N, "NC", "N C"),
        (C**12, "C¹²", "C^{12}"),
        (symbol("N_w") * C, "N_w·C", "N_{w} C"),
        (symbol("Nw") * C, "(Nw)C", "Nw C"),
    ],
)
def test_as_papers_print_it(expr: Expr, text: str, latex: str) -> None:
    assert str(expr) == text
    assert expr.latex().split() == latex.split()


def test_symbols_of_an_expression() -> None:
    assert (N * C + M * 0).symbols == {"N", "C"}


@pytest.mark.parametrize("exponent", [-1, 0.5, 2.0, True, "2"])
def test_an_exponent_that_is_no_count_is_refused(exponent: object) -> None:
    """``N**-1`` must not pass for 1 in somebody's closed form."""
    with pytest.raises(SpecError, match="exponent"):
        N**exponent


@pytest.mark.parametrize("factor", [0.5, 2.0, "2", None])
def test_only_integers_take_part(factor: object) -> None:
    for operation in (lambda: N * factor, lambda: factor * N, lambda: N + factor):
        with pytest.raises(SpecError, match=r"integers.*not "):
            operation()
