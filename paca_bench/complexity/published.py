"""The published tables of ``published.json``, as printed, with their sources. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Quantity = Literal["params_m", "macs_g"]
QUANTITIES: tuple[Quantity, ...] = ("params_m", "macs_g")


@dataclass(frozen=True)
class Misprint:
    """A printed number that the source itself contradicts.

    Attributes:
        quantity: which of the row's numbers.
        should_be: what ours must be within the tolerance of instead.
        evidence: why, for people.
    """

    quantity: Quantity
    should_be: Decimal
    evidence: str


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table; numbers keep the digits they are printed with.

    Attributes:
        table: the table's title.
        task: ``classification``, or ``segmentation`` with a decode head.
        head: ``paca`` or ``upernet``; None for classification.
        model: a registered name; of the backbone, where there is a head.
        input: side of the square image in pixels.
        clusters: what the backbone is configured with, where not with its own.
        params_m: parameters in millions.
        macs_g: multiply-accumulates in billions; None where none are printed.
        score: percent: top-1, or mean intersection over union.
        params_cut_off: the parameters are printed without their fraction, not rounded.
        misprint: where a number is wrong in the source.
        source: where the row is printed.
        confidence: quantity -> a key of ``confidence`` in the data file.
    """

    table: str
    task: str
    head: str | None
    model: str
    input: int
    clusters: tuple[int, ...] | None
    params_m: Decimal
    macs_g: Decimal | None
    score: Decimal | None
    params_cut_off: bool
    misprint: Misprint | None
    source: str
    confidence: Mapping[Quantity, str]


@cache
def _content() -> Any:
    text = (files(__package__) / "published.json").read_text(encoding="utf-8")
    return json.loads(text, parse_float=Decimal)


def tolerance() -> dict[Quantity, Decimal]:
    """Quantity -> the largest difference that is no difference, in millions or billions."""
    return {quantity: _content()["tolerance"][quantity] for quantity in QUANTITIES}


def published_rows() -> list[PublishedRow]:
    """All rows, table by table."""
    return [row for table in _content()["tables"] for row in _rows(table)]


def _rows(table: Mapping[str, Any]) -> Iterator[PublishedRow]:
    for row in table["rows"]:
        clusters, misprint = row.get("clusters"), row.get("misprint")
        confidence = table["confidence"]
        yield PublishedRow(
            table=table["title"],
            task=table["task"],
            head=table.get("head"),
            model=row["model"],
            input=row["input"],
            clusters=clusters and tuple(clusters),
            params_m=Decimal(row["params_m"]),
            macs_g=None if row["macs_g"] is None else Decimal(row["macs_g"]),
            score=row["top1"] if "top1" in row else row["miou"],
            params_cut_off=row.get("params_cut_off", False),
            misprint=misprint and Misprint(**misprint),
            source=table["source"],
            confidence={
                "params_m": confidence,
                "macs_g": row.get("macs_confidence", confidence),
            },
        )
