"""How the closed form of each host and model grows, stage by stage, as ``run.json`` has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paca_bench.complexity.growth import DEGREE_WORDS
from paca_bench.explain.text import growth_sentence
from paca_bench.units import format_count, format_percent

_LEVELS = {"host": 0, "model": 1}


@dataclass(frozen=True, slots=True)
class StageShare:
    """One stage in the bar: its degree in words, local exponent, and share in percent."""

    name: str
    degree: str
    css: str
    exponent: str
    percent: float
    share: str
    hint: str


@dataclass(frozen=True, slots=True)
class GrowthRow:
    """One host with a mechanism, or one model."""

    label: str
    where: str
    resolution: int
    stages: list[StageShare]
    sentence: str

    @property
    def degree(self) -> str:
        """Of the whole."""
        degrees = [stage.css for stage in self.stages]
        return next(stage.degree for stage in self.stages if stage.css == max(degrees))


def growth_rows(headers: Iterable[Mapping[str, Any]]) -> list[GrowthRow]:
    """The growth that the runs recorded, hosts first; of the first run that knows each.

    A run of an older version recorded none.
    """
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for header in headers:
        for one in header.get("growth") or ():
            found.setdefault((one["level"], one["host"], one["label"]), one)
    ordered = sorted(found.values(), key=lambda one: _LEVELS.get(one["level"], 2))
    return [_row(one) for one in ordered if one["stages"]]


def growth_lines(headers: Iterable[Mapping[str, Any]]) -> list[str]:
    """``host nano, vit: linear in the tokens: stem; ...``, one per host and model."""
    return [f"{row.where}: {row.sentence}" for row in growth_rows(headers)]


def _row(one: Mapping[str, Any]) -> GrowthRow:
    label = str(one["label"])
    where = f"host {one['host']}, {label}" if one["level"] == "host" else f"model {label}"
    side = int(one["resolution"])
    stages = [_stage(stage, side) for stage in one["stages"]]
    return GrowthRow(label, where, side, stages, growth_sentence(one))


def _stage(stage: Mapping[str, Any], side: int) -> StageShare:
    degree = int(stage["degree"])
    word = DEGREE_WORDS.get(degree, f"degree {degree}")
    exponent, share = f"{stage['exponent']:.2f}", format_percent(stage["share"])
    hint = (
        f"{stage['stage']}: {word}; at {side} px {format_count(stage['macs'], 'MACs')}, {share} "
        f"of all, local exponent {exponent}; {format_percent(stage['degree_share'])} of it {word}"
    )
    css = f"degree-{min(degree, 2)}"
    percent = round(100 * stage["share"], 3)
    return StageShare(str(stage["stage"]), word, css, exponent, percent, share, hint)
