"""A run in the terminal: one compact table per place, and the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paca_bench.analyse.curves import Row, records, resolution_text
from paca_bench.analyse.doubts import doubts
from paca_bench.analyse.scaling import scaling_table
from paca_bench.analyse.summary import verdict
from paca_bench.report.dense import apart, dense_grids
from paca_bench.report.diagnosis import diagnosis_lines
from paca_bench.report.grid import Grid, print_grid
from paca_bench.report.growth import growth_lines
from paca_bench.report.places import Place, is_censored, is_number, place_key, places
from paca_bench.report.quantities import (
    ACCURACY,
    LATENCIES,
    MACS,
    MEMORIES,
    MOVED,
    PREDICTED,
    Quantity,
)
from paca_bench.report.theme import label_order
from paca_bench.report.trained_grid import trained_grids
from paca_bench.units import format_percent, significant

if TYPE_CHECKING:
    import pandas as pd

_NONE = "-"


def print_summary(
    df: pd.DataFrame, console: Console, headers: Iterable[Mapping[str, Any]] = ()
) -> None:
    """Print the summary of a frame (``load_results``) to ``console``.

    One table per place, hosts first: MACs and peak memory at the largest resolution, latency
    at the smallest and the largest, its exponent in N, and the accuracy of the same label; then
    what was trained, pair by pair, and the dense task.
    Where no latency was asked for, MACs at both ends and their exponent, predicted memory and
    the bytes that must move. Then the verdict, whose last sentence says what is missing, how the
    closed forms grow and what the doctor said of the machine, if ``headers`` (``run.json`` of each
    run) tell, and what to read with care. However narrow the console, no number is cut off.
    """
    order = label_order(df)
    whole = df
    df, dense = apart(whole)
    fits = {
        metric: _by_curve(scaling_table(df, metric, laws=False)) for metric in ("latency_s", "macs")
    }
    trained = records(df[df["mode"] == "fit"])
    found = places(df)
    for place in found:
        is_timed = place.rows["latency_status"].notna().any()
        grid = _timed_grid if is_timed else _static_grid
        print_grid(grid(place, fits, trained, order), console)
        console.print()
    if trained and not any(place.level == "host" for place in found):
        print_grid(_training_grid(trained, order), console)
        console.print()
    for grid_of_trained in trained_grids(df, order):
        print_grid(grid_of_trained, console)
        console.print()
    for grid_of_heads in dense_grids(dense, order):
        print_grid(grid_of_heads, console)
        console.print()
    outcome = verdict(whole)
    _say(outcome.question, outcome.sentences, console)
    headers = list(headers)
    for title, lines in (
        ("How the closed forms grow", growth_lines(headers)),
        ("To be read with care", [doubt.sentence for doubt in doubts(whole)]),
        ("The doctor", diagnosis_lines(headers)),
    ):
        if lines:
            console.print()
            _say(title, lines, console)


def _say(title: str, lines: Iterable[str], console: Console) -> None:
    console.print(Text(title, style="bold"))
    bullets = Table.grid(padding=(0, 1))
    for line in lines:
        bullets.add_row("-", Text(line))
    console.print(bullets)


# Place, label, run and mode.
_Curve = tuple[Any, ...]
_Fits = Mapping[str, Mapping[_Curve, Row]]


def _by_curve(table: pd.DataFrame) -> dict[_Curve, Row]:
    return {(place_key(r), r["label"], r["run"], r["mode"]): r for r in records(table)}


def _timed_grid(place: Place, fits: _Fits, trained: list[Row], order: list[str]) -> Grid:
    here = [row for row in trained if row["host"] == place.key[1] and place.level == "host"]
    lines = _Lines(place, order)
    headers = [
        "mode",
        f"MACs\nat {lines.last}",
        *(f"latency\nat {side}" for side in lines.sides),
        "exponent\nin N",
        f"memory\nat {lines.last}",
        *([f"accuracy\nat {_trained_at(here)}"] if here else []),
    ]
    table: list[list[str]] = []
    above: tuple[str, str] | None = None
    for label, run, mode, ends in lines.curves():
        cells = [
            mode,
            _plain(ends[-1], MACS),
            *(_value(point, LATENCIES[mode]) for point in ends),
            _exponent(fits["latency_s"].get((place.key, label, run, mode))),
            _plain(ends[-1], MEMORIES[mode]),
        ]
        if here:
            # Accuracy belongs to the label, not to a mode: once per label and run.
            cells.append("" if above == (label, run) else _accuracy(here, label, run))
        table.append([*lines.names(label, run), *cells])
        above = (label, run)
    names = lines.names("mechanism", "run")
    return Grid(place.title, names + headers, len(names), table)


def _static_grid(place: Place, fits: _Fits, trained: list[Row], order: list[str]) -> Grid:
    lines = _Lines(place, order)
    predicted = place.rows["predicted_peak_memory_bytes"].notna().any()
    headers = [
        "mode",
        *(f"MACs\nat {side}" for side in lines.sides),
        "exponent\nin N",
        *([f"predicted\nmemory\nat {lines.last}"] if predicted else []),
        f"moved\nat {lines.last}",
    ]
    table = [
        [
            *lines.names(label, run),
            mode,
            *(_plain(point, MACS) for point in ends),
            _exponent(fits["macs"].get((place.key, label, run, mode))),
            *([_plain(ends[-1], PREDICTED[mode])] if predicted else []),
            _plain(ends[-1], MOVED[mode]),
        ]
        for label, run, mode, ends in lines.curves()
    ]
    names = lines.names("mechanism", "run")
    return Grid(place.title, names + headers, len(names), table)


class _Lines:
    """The curves of a place, each with its points at the ends of the range.

    Attributes:
        sides: the smallest and the largest resolution, or the only one.
        last: the largest.
    """

    def __init__(self, place: Place, order: list[str]) -> None:
        sides = place.rows[["resolution", "height", "width"]].drop_duplicates("resolution")
        texts = {float(row["resolution"]): resolution_text(row) for row in records(sides)}
        self._ends = list(dict.fromkeys([min(texts), max(texts)]))
        self.sides = [texts[end] for end in self._ends]
        self.last = self.sides[-1]
        rows = records(place.rows[place.rows["resolution"].isin(self._ends)])
        self._points = {(r["label"], r["run"], r["mode"], float(r["resolution"])): r for r in rows}
        self._several = place.rows["run"].nunique() > 1
        named = place.rows[["label", "run", "mode"]].drop_duplicates()
        curves = [(str(r["label"]), str(r["run"]), str(r["mode"])) for r in records(named)]
        # ``forward`` before ``train``.
        self._curves = sorted(
            curves, key=lambda c: (order.index(c[0]), c[1], list(LATENCIES).index(c[2]))
        )

    def curves(self) -> Iterator[tuple[str, str, str, list[Row | None]]]:
        """Label, run, mode and the points at the ends, in the order of the report."""
        for curve in self._curves:
            yield *curve, [self._points.get((*curve, end)) for end in self._ends]

    def names(self, label: str, run: str) -> list[str]:
        """The first columns: the run only where there are several."""
        return [run, label] if self._several else [label]


def _trained_at(trained: list[Row]) -> str:
    return ", ".join(dict.fromkeys(resolution_text(row) for row in trained)) + " px"


def _training_grid(trained: list[Row], order: list[str]) -> Grid:
    rows = [
        [row["run"], row["label"], f"{resolution_text(row)} px", _value(row, ACCURACY)]
        for row in sorted(trained, key=lambda row: (order.index(row["label"]), row["run"]))
    ]
    return Grid("Trainings", ["run", "mechanism", "trained at", "accuracy"], 2, rows)


def _plain(row: Row | None, quantity: Quantity) -> str:
    if row is None:
        return _NONE
    if quantity.is_measured(row):
        return quantity.text(float(row[quantity.metric]))
    return _ended(row, quantity)


def _value(row: Row | None, quantity: Quantity) -> str:
    """``107 ms ±2.1%``: the wider side of the interval, relative; for accuracy in points.

    ``±?`` where there is no interval.
    """
    if row is None or not quantity.is_measured(row):
        return _plain(row, quantity)
    value, interval = float(row[quantity.metric]), quantity.interval(row)
    text = quantity.text(value)
    if interval is None:
        # Accuracies always have one; a latency that was sampled once has none.
        return f"{text} ±?"
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
