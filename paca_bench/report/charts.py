"""A figure with its title and notes, and several of which one is shown at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from paca_bench.analyse.curves import Row, resolution_text
from paca_bench.report.places import ending, is_censored
from paca_bench.report.plot_axes import Figure
from paca_bench.report.quantities import Quantity, rows_of

# More notes below one figure are better read in the section on what was not measured.
_MOST_NOTES = 12


@dataclass(frozen=True)
class Chart:
    """One figure with its title, and a note for every point it could not show."""

    id: str
    title: str
    figure: Figure | None
    notes: list[str] = field(default_factory=list)
    caption: str = ""


@dataclass(frozen=True)
class Choices:
    """Charts of which one is shown at a time; ``default`` is the index of the first shown.

    ``note`` says which ones there are no charts of, if any.
    """

    charts: list[Chart]
    default: int = 0
    note: str = ""


def missing(rows: list[Row], quantity: Quantity) -> list[str]:
    """``vit at 1024 px: over budget: predicted 41 min ...``, one per point."""
    found = [
        f"{row['label']} at {resolution_text(row)} px: {ending(row, quantity.group)}"
        for row in sorted(rows_of(rows, quantity), key=lambda r: (r["label"], r["resolution"]))
        if is_censored(row, quantity.group)
    ]
    if len(found) > _MOST_NOTES:
        rest = f"and {len(found) - _MOST_NOTES} more: see what was not measured"
        return [*found[:_MOST_NOTES], rest]
    return found
