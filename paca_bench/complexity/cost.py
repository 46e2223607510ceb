"""The closed-form cost of a mechanism at a shape: named terms in symbols and in numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from paca_bench.complexity.expr import Expr


class Totals(ABC):
    """The sums over named terms."""

    @cached_property
    @abstractmethod
    def terms(self) -> dict[str, int]:
        """Term name -> multiply-accumulates, exact."""

    @cached_property
    @abstractmethod
    def param_terms(self) -> dict[str, int]:
        """Term name -> trainable parameters, exact."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of matrix-like work."""
        return sum(self.terms.values())

    @property
    def flops(self) -> int:
        """Two per multiply-accumulate, by definition."""
        return 2 * self.macs

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(self.param_terms.values())


@dataclass(frozen=True)
class Cost(Totals):
    """What one module costs for one image.

    Attributes:
        expressions: term name -> multiply-accumulates, in symbols.
        values: symbol -> its value at this shape.
        param_expressions: term name -> trainable parameters, in symbols.
    """

    expressions: Mapping[str, Expr]
    values: Mapping[str, int]
    param_expressions: Mapping[str, Expr] = field(default_factory=dict)

    @cached_property
    def terms(self) -> dict[str, int]:
        """Term name -> multiply-accumulates, exact."""
        return {name: e.evaluate(self.values) for name, e in self.expressions.items()}

    @cached_property
    def param_terms(self) -> dict[str, int]:
        """Term name -> trainable parameters, exact."""
        return {name: e.evaluate(self.values) for name, e in self.param_expressions.items()}

    @property
    def formula(self) -> str:
        """The sum of all terms, in symbols: ``4NC² + 2N²C``."""
        return str(sum(self.expressions.values(), start=Expr({})))

    @property
    def latex(self) -> str:
        """The sum of all terms as LaTeX."""
        return sum(self.expressions.values(), start=Expr({})).latex()


@dataclass(frozen=True)
class CostSum(Totals):
    """The cost of a host or model: labelled parts, each a ``Cost``, added up.

    ``parts`` holds ``(label, cost)``; labels such as ``stage1.attention`` may repeat, and
    terms of the same label and name are added.
    """

    parts: tuple[tuple[str, Cost], ...]

    @classmethod
    def of(cls, parts: Iterable[tuple[str, Cost]]) -> CostSum:
        """From any iterable of ``(label, cost)``."""
        return cls(tuple(parts))

    @cached_property
    def terms(self) -> dict[str, int]:
        """``label.term`` -> multiply-accumulates."""
        return _add_up(
            (f"{label}.{name}", macs) for label, c in self.parts for name, macs in c.terms.items()
        )

    @cached_property
    def param_terms(self) -> dict[str, int]:
        """``label.term`` -> trainable parameters."""
        return _add_up(
            (f"{label}.{name}", count)
            for label, c in self.parts
            for name, count in c.param_terms.items()
        )


def _add_up(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for name, count in items:
        total[name] = total.get(name, 0) + count
    return total
