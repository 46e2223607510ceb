"""A run in the terminal: one compact table per place, and the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paca_bench.analyse.curves import Row, records, resolution_text
from paca_bench.analyse.scaling import scaling_table
from paca_bench.analyse.summary import verdict
from paca_bench.report.grid import Grid, print_grid
from paca_bench.report.places import Place, is_censored, is_number, place_key, places
from paca_bench.report.quantities import ACCURACY, LATENCIES, MACS, MEMORY_FORWARD, Quantity
from paca_bench.report.theme import label_order
from paca_bench.units import format_percent, significant

if TYPE_CHECKING:
    import pandas as pd

_NONE = "-"


def print_summary(df: pd.DataFrame, console: Console) -> None:
    """Print the summary of a frame (``load_results``) to ``console``.

    One table per place, hosts first: MACs and peak memory at the largest resolution, latency
    at the smallest and the largest, its exponent in N, and the accuracy of the same label;
    then the verdict, whose last sentence says what is missing. However narrow the console,
    no number is cut off.
    """
    order = label_order(df)
    fits = records(scaling_table(df, "latency_s"))
    trained = records(df[df["mode"] == "fit"])
    timed = places(df)
    for place in timed:
        print_grid(_place_grid(place, fits, trained, order), console)
        console.print()
    if trained and not any(place.level == "host" for place in timed):
        print_grid(_training_grid(trained, order), console)
        console.print()
    outcome = verdict(df)
    _say(outcome.question, outcome.sentences, console)


def _say(title: str, lines: Iterable[str], console: Console) -> None:
    console.print(Text(title, style="bold"))
    bullets = Table.grid(padding=(0, 1))
    for line in lines:
        bullets.add_row("-", Text(line))
    console.print(bullets)


def _place_grid(place: Place, fits: list[Row], trained: list[Row], order: list[str]) -> Grid:
    rows = records(place.rows)
    sides = {float(row["resolution"]): resolution_text(row) for row in rows}
    ends = [min(sides), max(sides)] if len(sides) > 1 else [max(sides)]
    several = len({row["run"] for row in rows}) > 1
    here = [row for row in trained if row["host"] == place.key[1] and place.level == "host"]
    headers = [
        "mode",
        f"MACs\nat {sides[ends[-1]]}",
        *(f"latency\nat {sides[end]}" for end in ends),
        "exponent\nin N",
        f"memory\nat {sides[ends[-1]]}",
        *([f"accuracy\nat {_trained_at(here)}"] if here else []),
    ]
    table: list[list[str]] = []
    points = {(r["label"], r["run"], r["mode"], float(r["resolution"])): r for r in rows}
    exponents = {(f["label"], f["run"], f["mode"]): f for f in fits if place_key(f) == place.key}
    above: tuple[str, str] | None = None
    for label, run, mode in _curves(points, order):
        first, last = (points.get((label, run, mode, end)) for end in (ends[0], ends[-1]))
        latency = LATENCIES[mode]
        cells = [
            mode,
            _plain(last, MACS),
            *(_value(point, latency) for point in ([first, last] if len(ends) > 1 else [last])),
            _exponent(exponents.get((label, run, mode))),
            _plain(last, MEMORY_FORWARD),
        ]
        if here:
            # Accuracy belongs to the label, not to a mode: once per label and run.
            cells.append("" if above == (label, run) else _accuracy(here, label, run))
        table.append([*([run] if several else []), label, *cells])
        above = (label, run)
    names = [*(["run"] if several else []), "mechanism"]
    return Grid(place.title, names + headers, len(names), table)


def _trained_at(trained: list[Row]) -> str:
    return ", ".join(dict.fromkeys(resolution_text(row) for row in trained)) + " px"


def _training_grid(trained: list[Row], order: list[str]) -> Grid:
    rows = [
        [row["run"], row["label"], f"{resolution_text(row)} px", _value(row, ACCURACY)]
        for row in sorted(trained, key=lambda row: (order.index(row["label"]), row["run"]))
    ]
    return Grid("Trainings", ["run", "mechanism", "trained at", "accuracy"], 2, rows)


def _curves(
    points: Iterable[tuple[str, str, str, float]], order: list[str]
) -> list[tuple[str, str, str]]:
    """Every (label, run, mode) once, in the report's order, ``forward`` before ``train``."""
    found = dict.fromkeys((label, run, mode) for label, run, mode, _ in points)
    return sorted(found, key=lambda curve: (order.index(curve[0]), curve[1], curve[2]))


def _plain(row: Row | None, quantity: Quantity) -> str:
    if row is None:
        return _NONE
    if quantity.is_measured(row):
        return quantity.text(float(row[quantity.metric]))
    return _ended(row, quantity)


def _value(row: Row | None, quantity: Quantity) -> str:
    """``107 ms ±2.1%``: the wider side of the interval, relative; for accuracy in points."""
    if row is None or not quantity.is_measured(row):
        return _plain(row, quantity)
    value, interval = float(row[quantity.metric]), quantity.interval(row)
    text = quantity.text(value)
    if interval is None:
        return text
    half = max(interval[1] - value, value - interval[0])
    if quantity is ACCURACY:
        return f"{text.rstrip('%')} ±{format_percent(half)}"
    percent = 100 * half / value
    if percent > 100:
        # An interval of few processes that disagree; its ends would read as noise.
        return f"{text} ±>100%"
    return f"{text} ±{percent:.0f}%" if percent >= 1 else f"{text} ±{significant(percent, 1)}%"


def _ended(row: Row, quantity: Quantity) -> str:
    """How a group that was asked for ended, in place of its value."""
    if is_censored(row, quantity.group):
        # One short line per word or two, so that a status does not set a column's width.
        return textwrap.fill(str(row[f"{quantity.group}_status"]).replace("_", " "), 11)
    return _NONE


def _exponent(fit: Row | None) -> str:
    if fit is None or not is_number(fit["exponent"]):
        return _NONE
    return "{exponent:.2f} [{exponent_low:.2f}, {exponent_high:.2f}]".format(**fit)


def _accuracy(trained: list[Row], label: str, run: str) -> str:
    """The accuracy of the label's training at the largest resolution."""
    own = [row for row in trained if (row["label"], row["run"]) == (label, run)]
    return _value(max(own, key=lambda row: float(row["resolution"]), default=None), ACCURACY)
