"""The closed-form cost of a module at a shape: named terms in symbols and in numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from paca_bench.complexity.expr import Expr
from paca_bench.complexity.term import NOTHING, Operator, Term
from paca_bench.errors import SpecError

Key = TypeVar("Key")


def counts_tokens(symbol: str) -> bool:
    """True for ``N`` and its kin (``N_w``, ``N_R``): symbols that grow with the image's area."""
    return symbol == "N" or symbol.startswith("N_")


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator in numbers; ``count`` times the same. See ``term.Operator``."""

    count: int
    macs: int
    activations: int | None
    fixed: int
    gradients: int


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

    @cached_property
    @abstractmethod
    def operators(self) -> tuple[OperatorCost, ...]:
        """All matrix-like operators, for one image."""

    @cached_property
    @abstractmethod
    def macs_by_degree(self) -> dict[int, int]:
        """Degree in the number of tokens -> multiply-accumulates that grow so."""

    @property
    @abstractmethod
    def expressions_in_values(self) -> dict[str, tuple[Expr, Mapping[str, int]]]:
        """Term name -> its multiply-accumulates in symbols, and the symbols' values."""

    @cached_property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of matrix-like work."""

    @cached_property
    @abstractmethod
    def params(self) -> int:
        """Trainable parameters."""

    @property
    def flops(self) -> int:
        """Two per multiply-accumulate, by definition."""
        return 2 * self.macs

    @cached_property
    def backward_macs(self) -> int:
        """Multiply-accumulates of the gradients of all weights and inputs but the image."""
        return sum(op.count * op.gradients * op.macs for op in self.operators)

    @property
    def exponent(self) -> float:
        """The local exponent ``d log macs / d log N`` at this shape; NaN without any.

        Token counts that are rounded (windows, reductions) are taken to grow with the area.
        """
        if not self.macs:
            return float("nan")
        return sum(degree * macs for degree, macs in self.macs_by_degree.items()) / self.macs

    def moved_elements(self, batch: int = 1, *, train: bool = False) -> int | None:
        """Elements that matrix-like operators must read and write in one call.

        Each operand and each result once; elementwise work is taken as fused into its
        neighbours. ``train``: forward and backward. None where a term's are not known.
        """
        total = 0
        for op in self.operators:
            if op.activations is None:
                return None
            passes = 1 + op.gradients if train else 1
            total += op.count * passes * (batch * op.activations + op.fixed)
        return total


@dataclass(frozen=True)
class Cost(Totals):
    """What one module costs for one image.

    Attributes:
        expressions: term name -> a ``Term``, or an ``Expr`` of its multiply-accumulates alone.
        values: symbol -> its value at this shape.
        param_expressions: term name -> trainable parameters, in symbols, where the term does
            not say.
    """

    expressions: Mapping[str, Term | Expr]
    values: Mapping[str, int]
    param_expressions: Mapping[str, Expr] = field(default_factory=dict)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of matrix-like work."""
        return sum(self.terms.values())

    @cached_property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(self.param_terms.values())

    @cached_property
    def named(self) -> dict[str, Term]:
        """Term name -> its operators."""
        return {name: Term.of(term) for name, term in self.expressions.items()}

    @cached_property
    def terms(self) -> dict[str, int]:
        """Term name -> multiply-accumulates, exact."""
        found = {}
        for name, costs in self._evaluated.items():
            if any(op.macs is not NOTHING for _, op in self.named[name].operators):
                found[name] = sum(cost.count * cost.macs for cost in costs)
        return found

    @cached_property
    def param_terms(self) -> dict[str, int]:
        """Term name -> trainable parameters, exact."""
        of_terms = {name: _params(term, self.values) for name, term in self.named.items()}
        own = {name: e.evaluate(self.values) for name, e in self.param_expressions.items()}
        return {name: count for name, count in {**of_terms, **own}.items() if count or name in own}

    @cached_property
    def operators(self) -> tuple[OperatorCost, ...]:
        """All matrix-like operators, for one image."""
        return tuple(op for ops in self._evaluated.values() for op in ops if op.macs)

    @cached_property
    def _evaluated(self) -> dict[str, tuple[OperatorCost, ...]]:
        return {
            name: tuple(_evaluate(n, op, self.values) for n, op in term.operators)
            for name, term in self.named.items()
        }

    @cached_property
    def macs_by_degree(self) -> dict[int, int]:
        """Degree in the number of tokens -> multiply-accumulates that grow so."""
        return _add_up(
            (degree, count * macs)
            for term in self.named.values()
            for count, operator in term.operators
            for degree, macs in operator.macs.by_degree(self.values, counts_tokens)
        )

    @property
    def expressions_in_values(self) -> dict[str, tuple[Expr, Mapping[str, int]]]:
        """Term name -> its multiply-accumulates in symbols, and the symbols' values."""
        found: dict[str, tuple[Expr, Mapping[str, int]]] = {}
        for name in self.terms:
            macs = self.named[name].macs
            found[name] = (macs, {s: self.values[s] for s in self.values if s in macs.symbols})
        return found

    @cached_property
    def _sum(self) -> Expr:
        return sum((term.macs for term in self.named.values()), start=NOTHING)

    @property
    def formula(self) -> str:
        """The sum of all terms, in symbols: ``4NC² + 2N²C``."""
        return str(self._sum)

    @property
    def latex(self) -> str:
        """The sum of all terms as LaTeX."""
        return self._sum.latex()


@dataclass(frozen=True)
class CostSum(Totals):
    """The cost of a host or model: labelled parts, each a ``Cost``, added up.

    ``parts`` holds ``(label, cost)``; labels such as ``stage1.attention`` may repeat, and
    terms of the same label and name are added: in numbers and, as a symbol has one value
    within a label's term, in symbols.
    """

    parts: tuple[tuple[str, Cost], ...]

    @classmethod
    def of(cls, parts: Iterable[tuple[str, Cost]]) -> CostSum:
        """From any iterable of ``(label, cost)``."""
        return cls(tuple(parts))

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of matrix-like work."""
        return sum(cost.macs for _, cost in self.parts)

    @cached_property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(cost.params for _, cost in self.parts)

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

    @cached_property
    def operators(self) -> tuple[OperatorCost, ...]:
        """All matrix-like operators, for one image."""
        return tuple(op for _, cost in self.parts for op in cost.operators)

    @cached_property
    def macs_by_degree(self) -> dict[int, int]:
        """Degree in the number of tokens -> multiply-accumulates that grow so."""
        parts = (item for _, cost in self.parts for item in cost.macs_by_degree.items())
        return dict(sorted(_add_up(parts).items()))

    @property
    def expressions_in_values(self) -> dict[str, tuple[Expr, Mapping[str, int]]]:
        """``label.term`` -> its multiply-accumulates in symbols, and the symbols' values.

        Raises:
            SpecError: parts of one label give a symbol different values.
        """
        found: dict[str, tuple[Expr, Mapping[str, int]]] = {}
        for label, cost in self.parts:
            for term, (expression, all_values) in cost.expressions_in_values.items():
                name = f"{label}.{term}"
                values = {symbol: all_values[symbol] for symbol in expression.symbols}
                before, known = found.get(name, (NOTHING, {}))
                if any(known.get(s, value) != value for s, value in values.items()):
                    raise SpecError(f"{name}: parts of one label must agree on {sorted(values)}")
                found[name] = (before + expression, {**known, **values})
        return found

    def stage(self, name: str) -> CostSum:
        """The parts whose label starts with ``name`` and a dot, or is ``name``."""
        return CostSum(tuple(p for p in self.parts if _first(p[0]) == name))

    @cached_property
    def stages(self) -> list[str]:
        """The first parts of all labels, in the order of the model: ``stem``, ``stage1``, ..."""
        return list(dict.fromkeys(_first(label) for label, _ in self.parts))


def _first(label: str) -> str:
    return label.partition(".")[0]


def _evaluate(count: int, operator: Operator, values: Mapping[str, int]) -> OperatorCost:
    moved = operator.activations
    return OperatorCost(
        count=count,
        macs=operator.macs.evaluate(values),
        activations=None if moved is None else moved.evaluate(values),
        fixed=operator.fixed.evaluate(values),
        gradients=operator.gradients,
    )


def _params(term: Term, values: Mapping[str, int]) -> int:
    return sum(count * op.params.evaluate(values) for count, op in term.operators)


def _add_up(items: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    total: dict[Key, int] = {}
    for name, count in items:
        total[name] = total.get(name, 0) + count
    return total
