"""The published tables beside ours, for ``paca-bench verify``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any, Literal

from paca_bench.complexity.published import PublishedRow, Quantity, published_rows, tolerance
from paca_bench.errors import NothingMeasuredError

Verdict = Literal["ok", "misprint", "out of tolerance"]

OK: Verdict = "ok"
MISPRINT: Verdict = "misprint"
OUT: Verdict = "out of tolerance"
_ORDER = (OK, MISPRINT, OUT)

# Exponent of ten and letter of the unit that a quantity is printed in.
_UNITS: Mapping[Quantity, tuple[int, str]] = {"params_m": (6, "M"), "macs_g": (9, "G")}

PARAMETERS = {
    "trainable": "trainable parameters, rounded to the printed digits",
    "cut off": "trainable parameters, cut off after the printed digits",
}


@dataclass(frozen=True)
class Comparison:
    """Ours beside one printed number.

    Attributes:
        quantity: which number.
        ours: the exact count: parameters, or multiply-accumulates by the closed form.
        convention: the simplest that gives the printed digits, or else the nearest.
        counted: what that convention counts.
        reproduces: ``counted`` gives the printed digits.
        printed: theirs, in millions or billions.
        verdict: of the difference; see ``tolerance`` in the data file.
        evidence: of a misprint.
    """

    quantity: Quantity
    ours: int
    convention: str
    counted: int
    reproduces: bool
    printed: Decimal
    verdict: Verdict
    evidence: str | None

    @property
    def scaled(self) -> Decimal:
        """``counted`` in millions or billions."""
        return _scaled(self.counted, self.quantity)

    @property
    def difference(self) -> Decimal:
        """``scaled`` less ``printed``."""
        return self.scaled - self.printed


@dataclass(frozen=True)
class Row:
    """A published row compared; ``macs`` is None where none are printed."""

    published: PublishedRow
    params: Comparison
    macs: Comparison | None

    @property
    def comparisons(self) -> list[Comparison]:
        """Those that there are."""
        return [c for c in (self.params, self.macs) if c is not None]

    @property
    def verdict(self) -> Verdict:
        """The worst of its comparisons."""
        return max((c.verdict for c in self.comparisons), key=_ORDER.index)


def verify(models: Sequence[str] | None = None) -> list[Row]:
    """Compare every published row, or those of ``models``.

    Raises:
        SpecError: there is no such model.
        NothingMeasuredError: no row is published for any of them.
    """
    from paca_bench.models.registry import get_model

    rows = published_rows()
    if models is not None:
        wanted = {get_model(name).name for name in models}
        rows = [row for row in rows if row.model in wanted]
        if not rows:
            raise NothingMeasuredError(
                f"there is no published row for {', '.join(sorted(wanted))}; "
                f"'paca-bench verify' without --model shows all rows that there are"
            )
    return [compare(row) for row in rows]


def compare(row: PublishedRow) -> Row:
    """Our counts beside one published row."""
    from paca_bench.complexity.conventions import counts, row_cost

    parameters = "cut off" if row.params_cut_off else "trainable"
    params = [(parameters, row_cost(row).params)]
    return Row(
        published=row,
        params=_comparison(row, "params_m", row.params_m, params),
        macs=None if row.macs_g is None else _comparison(row, "macs_g", row.macs_g, counts(row)),
    )


def _comparison(
    row: PublishedRow, quantity: Quantity, printed: Decimal, counts: Iterable[tuple[str, int]]
) -> Comparison:
    rounding = ROUND_DOWN if quantity == "params_m" and row.params_cut_off else ROUND_HALF_UP

    def reproduces(count: int) -> bool:
        return _scaled(count, quantity).quantize(printed, rounding) == printed

    tried: list[tuple[str, int]] = []
    for convention, count in counts:
        tried.append((convention, count))
        if reproduces(count):
            break
    else:
        convention, count = min(tried, key=lambda c: abs(_scaled(c[1], quantity) - printed))
    verdict = OK if reproduces(count) else _judge(row, quantity, printed, count)
    return Comparison(
        quantity=quantity,
        ours=tried[0][1],
        convention=convention,
        counted=count,
        reproduces=reproduces(count),
        printed=printed,
        verdict=verdict,
        evidence=row.misprint.evidence if row.misprint and verdict == MISPRINT else None,
    )


def _judge(row: PublishedRow, quantity: Quantity, printed: Decimal, count: int) -> Verdict:
    def meets(number: Decimal) -> bool:
        return abs(_scaled(count, quantity) - number) <= tolerance()[quantity]

    if meets(printed):
        return OK
    misprint = row.misprint
    if misprint and misprint.quantity == quantity and meets(misprint.should_be):
        return MISPRINT
    return OUT


def _scaled(count: int, quantity: Quantity) -> Decimal:
    return Decimal(count).scaleb(-_UNITS[quantity][0])


def verification_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The comparisons as JSON values."""
    from paca_bench.complexity.conventions import CONVENTIONS

    return {
        "tolerance": {quantity: float(value) for quantity, value in tolerance().items()},
        "conventions": {**PARAMETERS, **CONVENTIONS},
        "verdict": worst(rows),
        "rows": [_row_json(row) for row in rows],
    }


def _row_json(row: Row) -> dict[str, Any]:
    published = row.published
    return {
        "model": published.model,
        "table": published.table,
        "task": published.task,
        "head": published.head,
        "height": published.input,
        "width": published.input,
        "clusters": published.clusters,
        "score": None if published.score is None else float(published.score),
        "source": published.source,
        "params": _comparison_json(row.params, published),
        "macs": None if row.macs is None else _comparison_json(row.macs, published),
        "verdict": row.verdict,
    }


def _comparison_json(comparison: Comparison, published: PublishedRow) -> dict[str, Any]:
    return {
        "ours": comparison.ours,
        "printed": float(comparison.printed),
        "unit": _UNITS[comparison.quantity][1],
        "convention": comparison.convention,
        "counted": comparison.counted,
        "difference": float(comparison.difference),
        "reproduces": comparison.reproduces,
        "confidence": published.confidence[comparison.quantity],
        "verdict": comparison.verdict,
        "evidence": comparison.evidence,
    }


def worst(rows: Sequence[Row]) -> Verdict:
    """The worst verdict of all rows."""
    return max((row.verdict for row in rows), key=_ORDER.index)
