"""Integer polynomials in the symbols of a shape: the alphabet of the closed forms.

``4 * N * C**2 + 2 * N**2 * C`` builds an ``Expr`` that evaluates to an exact integer and
prints as the formula of a paper. Coefficients and exponents are integers, so nothing is
ever rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from paca_bench.errors import SpecError

# A monomial is a sorted tuple of (symbol, exponent); the empty tuple is the constant 1.
Monomial = tuple[tuple[str, int], ...]

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Expr:
    """A sum of monomials with integer coefficients: ``{(('C', 2), ('N', 1)): 4, ...}``."""

    monomials: Mapping[Monomial, int]

    @classmethod
    def of(cls, value: Expr | int) -> Expr:
        """``value`` itself, or the constant polynomial of an integer.

        Raises:
            SpecError: ``value`` is neither.
        """
        if isinstance(value, Expr):
            return value
        if type(value) is not int:
            raise SpecError(f"closed forms are made of integers and symbols, not {value!r}")
        return cls({(): value} if value else {})

    def __add__(self, other: Expr | int) -> Expr:
        total = dict(self.monomials)
        for monomial, coefficient in Expr.of(other).monomials.items():
            total[monomial] = total.get(monomial, 0) + coefficient
        return Expr({m: c for m, c in total.items() if c})

    def __mul__(self, other: Expr | int) -> Expr:
        total: dict[Monomial, int] = {}
        for left, a in self.monomials.items():
            for right, b in Expr.of(other).monomials.items():
                powers = dict(left)
                for symbol, exponent in right:
                    powers[symbol] = powers.get(symbol, 0) + exponent
                product = tuple(sorted(powers.items()))
                total[product] = total.get(product, 0) + a * b
        return Expr({m: c for m, c in total.items() if c})

    def __pow__(self, exponent: int) -> Expr:
        if type(exponent) is not int or exponent < 0:
            raise SpecError(f"an exponent of {self} must be an integer from 0, not {exponent!r}")
        result = Expr.of(1)
        for _ in range(exponent):
            result = result * self
        return result

    __radd__ = __add__
    __rmul__ = __mul__

    @property
    def symbols(self) -> frozenset[str]:
        """The names of all symbols that occur."""
        return frozenset(symbol for monomial in self.monomials for symbol, _ in monomial)

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The exact value with every symbol replaced.

        Raises:
            SpecError: a symbol has no value.
        """
        total = 0
        try:
            for monomial, coefficient in self.monomials.items():
                for symbol, exponent in monomial:
                    coefficient *= values[symbol] ** exponent
                total += coefficient
        except KeyError:
            missing = sorted(self.symbols - values.keys())
            raise SpecError(f"no value for {', '.join(missing)} in {self}") from None
        return total

    def by_degree(
        self, values: Mapping[str, int], growing: Callable[[str], bool]
    ) -> Iterator[tuple[int, int]]:
        """Of each monomial: its degree in the symbols that are ``growing``, and its value."""
        for monomial, coefficient in self.monomials.items():
            degree = 0
            for symbol, exponent in monomial:
                coefficient *= values[symbol] ** exponent
                degree += exponent if growing(symbol) else 0
            yield degree, coefficient

    def __str__(self) -> str:
        return _join(self.monomials, _text_power, "") or "0"

    def latex(self) -> str:
        """The polynomial as LaTeX, without math delimiters."""
        return _join(self.monomials, _latex_power, " ") or "0"


def symbol(name: str) -> Expr:
    """The polynomial that is just ``name``."""
    return Expr({((name, 1),): 1})


def symbols(names: str) -> tuple[Expr, ...]:
    """``symbols("N C M")``: one ``Expr`` per word."""
    return tuple(symbol(name) for name in names.split())


def _text_power(name: str, exponent: int) -> str:
    # A name of several letters needs a separator, or "Nw" would read as N times w.
    shown = f"({name})" if len(name) > 1 and "_" not in name else name
    return shown + (str(exponent).translate(_SUPERSCRIPTS) if exponent > 1 else "")


def _latex_power(name: str, exponent: int) -> str:
    base, _, index = name.partition("_")
    shown = f"{base}_{{{index}}}" if index else base
    return shown + (f"^{{{exponent}}}" if exponent > 1 else "")


def _join(monomials: Mapping[Monomial, int], power, separator: str) -> str:  # type: ignore[no-untyped-def]
    parts = []
    for monomial, coefficient in monomials.items():
        factors = [power(name, exponent) for name, exponent in _reading_order(monomial)]
        if coefficient != 1 or not factors:
            factors.insert(0, str(coefficient))
        # Names with an index are set apart, as "N_w C" is not "N_wC".
        indexed = any("_" in name for name, _ in monomial)
        parts.append((separator or ("·" if indexed else "")).join(factors))
    return " + ".join(parts)


def _reading_order(monomial: Monomial) -> list[tuple[str, int]]:
    """Kernel sizes first, then tokens, clusters, channels: ``k²NC``, ``NMC``."""
    order = {"r": 0, "k": 0, "w": 1, "R": 1, "N": 2, "M": 4, "C": 5}
    return sorted(monomial, key=lambda item: (order.get(item[0], 3), item[0]))
