"""The published top-1 beside ours. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paca_bench.complexity.published import PublishedRow, published_rows

DEFAULT_SIDE = 224
NUM_CLASSES = 1000
# What every published top-1 is counted over.
NUM_IMAGES = 50_000


@dataclass(frozen=True, slots=True)
class PublishedTop1:
    """A printed top-1, or why there is none to compare with.

    Attributes:
        percent: as printed; None where there is none.
        source: where it is printed.
        why_none: in words.
    """

    percent: float | None = None
    source: str = ""
    why_none: str = ""


def published_side(model: str) -> int:
    """Side in pixels of the images that the model's top-1 is published for; else the usual."""
    return next((row.input for row in _rows(model)), DEFAULT_SIDE)


def published_top1(
    model: str, side: int, options: Mapping[str, Any], num_classes: int
) -> PublishedTop1:
    """The first that is printed for the model and size: the authors' before others'."""
    rows = _rows(model)
    if not rows:
        return PublishedTop1(why_none="no top-1 is published for this model")
    if options:
        named = ", ".join(options)
        return PublishedTop1(why_none=f"the published model has other settings ({named})")
    if num_classes != NUM_CLASSES:
        return PublishedTop1(
            why_none=f"the published model has {NUM_CLASSES} classes, this one {num_classes}"
        )
    for row in rows:
        if row.input == side:
            return PublishedTop1(percent=float(row.score or 0), source=row.source)
    known = ", ".join(dict.fromkeys(f"{row.score} at {row.input} px" for row in rows))
    return PublishedTop1(why_none=f"published for another size: {known}")


def _rows(model: str) -> list[PublishedRow]:
    return [
        row
        for row in published_rows()
        if row.task == "classification"
        and row.model == model
        and row.clusters is None
        and row.score is not None
    ]
