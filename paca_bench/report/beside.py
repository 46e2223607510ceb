"""Accuracy, MACs, latency and memory of each subject in one line, with the paper's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd

from paca_bench.analyse.accuracy_pairs import ALIKE, trained_alike
from paca_bench.analyse.curves import Row, groups, records, resolution_text, usable
from paca_bench.analyse.pareto import front_table
from paca_bench.analyse.wording import probability_text
from paca_bench.complexity.published import PublishedRow, published_rows
from paca_bench.report.pairs import training_title
from paca_bench.report.places import is_censored, is_number, plain
from paca_bench.report.quantities import (
    ACCURACY,
    LATENCIES,
    MACS,
    MEMORIES,
    TRAIN_MEMORY,
    Quantity,
    pair_of,
)
from paca_bench.report.table import Cell
from paca_bench.units import format_count, significant

if TYPE_CHECKING:
    from collections.abc import Iterable

_NONE = Cell("–", "", "")
_ASKED = tuple(axis for axis in ALIKE if axis != "dataset")
_PLACE = ("batch", "dtype", "device", "execution", "height", "width")


@dataclass(frozen=True, slots=True)
class Heading:
    """A column's title, and what it means."""

    title: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class BesideTable:
    """The subjects of one host, or the models, side by side."""

    id: str
    title: str
    headings: list[Heading]
    lines: list[tuple[str, list[Cell]]]
    note: str


@dataclass(frozen=True)
class BesideScene:
    """What stands in one table: trainings, and passes of the same labels at one place."""

    axes: Row
    trained: pd.DataFrame
    timed: pd.DataFrame


def beside_tables(frame: pd.DataFrame, labels: Sequence[str]) -> list[BesideTable]:
    """A table per run, host and training; of models also where none was trained.

    The passes are forward ones, at the size of the training if some were measured there, else
    at the largest at which most were.
    """
    several = frame["run"].nunique() > 1
    scenes = beside_scenes(frame)
    return [
        _table(f"beside-{number}", scene, labels, several) for number, scene in enumerate(scenes)
    ]


def beside_scenes(frame: pd.DataFrame) -> list[BesideScene]:
    """A scene per run, host and training, the largest first; then models that none trained."""
    passes = frame[(frame["mode"] == "forward") & (frame["level"] != "layer")]
    fits = frame[(frame["mode"] == "fit") & frame["accuracy_status"].notna()]
    scenes = []
    for axes, trained in trained_alike(frame):
        # With those that were to be trained alike, however that ended.
        failed = fits[_same(fits, axes, _ASKED) & ~fits["label"].isin(trained["label"])]
        every = pd.concat([trained, failed])
        alike = passes[_same(passes, axes, ("run", "level", "host"))]
        if axes["level"] != "model":
            alike = alike[alike["label"].isin(every["label"])]
        scenes.append(BesideScene(axes, every, _best_place(alike, axes["height"], axes["width"])))
    done = {scene.axes["run"] for scene in scenes if scene.axes["level"] == "model"}
    models = passes[(passes["level"] == "model") & ~passes["run"].isin(done)]
    for axes, rows in groups(models, ("run", "level", "host")):
        published = [row for row in published_rows() if row.model in set(rows["mechanism"])]
        if published:
            side = published[0].input
            scenes.append(BesideScene(axes, frame.iloc[:0], _best_place(rows, side, side)))
    return scenes


def _same(frame: pd.DataFrame, axes: Row, names: Sequence[str]) -> pd.Series[bool]:
    same = pd.Series(True, index=frame.index)
    for name in names:
        same &= frame[name] == axes[name]
    return same


def _best_place(rows: pd.DataFrame, height: int, width: int) -> pd.DataFrame:
    """The rows of one place: of this size, with most latencies, and of these the largest."""

    def weight(item: tuple[dict[str, Any], pd.DataFrame]) -> tuple[Any, ...]:
        axes, here = item
        timed = int(usable(here, "latency_s").sum())
        same = (axes["height"], axes["width"]) == (height, width)
        return timed > 0, same, timed, axes["height"]

    found = max(groups(rows, _PLACE), key=weight, default=None)
    return rows if found is None else found[1].drop_duplicates("label")


def _table(id_: str, scene: BesideScene, labels: Sequence[str], several: bool) -> BesideTable:
    trained = {str(row["label"]): row for row in records(scene.trained)}
    timed = {str(row["label"]): row for row in records(scene.timed)}
    papers = _papers(scene)
    columns = _columns(scene, trained, timed, papers)
    shown = [label for label in labels if label in trained or label in timed]
    cells = {label: [column.cell(label) for column in columns] for label in shown}
    # A column that nobody fills says nothing.
    kept = [i for i in range(len(columns)) if any(cells[label][i] != _NONE for label in shown)]
    return BesideTable(
        id_,
        _title(scene, several),
        [columns[i].heading for i in kept],
        [(label, [cells[label][i] for i in kept]) for label in shown],
        _note(scene, _counted(trained, timed), papers),
    )


def _title(scene: BesideScene, several: bool) -> str:
    if not scene.trained.empty:
        return training_title({axis: scene.axes[axis] for axis in ALIKE}, several)
    run = f", run {scene.axes['run']}" if several else ""
    return f"Published models{run}"


def _note(
    scene: BesideScene, counted: Mapping[str, Row], papers: Mapping[str, PublishedRow]
) -> str:
    text = "No pass of these was asked for."
    if not scene.timed.empty:
        row = records(scene.timed)[0]
        execution = f", {row['execution']}" if row["execution"] else ""
        text = (
            f"Latency and memory: one forward pass at {resolution_text(row)} px, batch "
            f"{row['batch']}, {row['dtype']} on {row['device']}{execution}."
        )
    if counted:
        size = resolution_text(next(iter(counted.values())))
        text += f" MACs: one image, forward, at {size} px."
    sources = "; ".join(dict.fromkeys(f"{row.table} ({row.source})" for row in papers.values()))
    return f"{text} The papers' own numbers: {sources}." if sources else text


@dataclass(frozen=True, slots=True)
class _Column:
    heading: Heading
    cell: Callable[[str], Cell]


def _columns(
    scene: BesideScene,
    trained: Mapping[str, Row],
    timed: Mapping[str, Row],
    papers: Mapping[str, PublishedRow],
) -> list[_Column]:
    counted = _counted(trained, timed)
    front, cost = front_chances(scene)

    def measured(rows: Mapping[str, Row], quantity: Quantity) -> Callable[[str], Cell]:
        return lambda label: _cell(rows.get(label), quantity)

    def noted(
        cell: Callable[[str], Cell], note: Callable[[PublishedRow], str]
    ) -> Callable[[str], Cell]:
        def with_note(label: str) -> Cell:
            known = cell(label)
            printed = note(papers[label]) if label in papers and known != _NONE else ""
            return replace(known, note=printed) if printed else known

        return with_note

    return [
        _Column(Heading("Accuracy", "test top-1, with its interval"), measured(trained, ACCURACY)),
        _Column(
            Heading("Paper: top-1", "as published"), lambda label: _paper_score(papers.get(label))
        ),
        _Column(
            Heading("MACs", "multiply-accumulates of one image, forward"),
            noted(measured(counted, MACS), lambda row: _printed(row.macs_g, "G", row)),
        ),
        _Column(
            Heading("Parameters"),
            noted(
                lambda label: _params(counted.get(label)),
                lambda row: _printed(row.params_m, "M", row),
            ),
        ),
        _Column(
            Heading("Latency", "one forward pass, with its interval"),
            measured(timed, LATENCIES["forward"]),
        ),
        _Column(
            Heading("Peak memory", "of one forward pass, over weights and input"),
            measured(timed, MEMORIES["forward"]),
        ),
        _Column(
            Heading("Training memory", "peak of a step, over weights, optimizer and data"),
            measured(trained, TRAIN_MEMORY),
        ),
        _Column(Heading("Training (images/s)"), lambda label: _throughput(trained.get(label))),
        _Column(
            Heading("On the front", f"probability that nothing beats it in accuracy and {cost}"),
            lambda label: _chance(front.get(label)),
        ),
    ]


def _counted(trained: Mapping[str, Row], timed: Mapping[str, Row]) -> Mapping[str, Row]:
    """Whose MACs are shown: those of the passes beside them, unless only trainings have any."""
    if all(label in timed and MACS.is_measured(timed[label]) for label in trained) and timed:
        return timed
    return trained


def front_chances(scene: BesideScene) -> tuple[dict[str, float], str]:
    """Label -> probability on the front of accuracy against latency, or else MACs."""
    if len(scene.trained) > 1:
        both = pd.concat([scene.timed, scene.trained])
        for cost, name in (("latency_s", "latency"), ("macs", "MACs")):
            table = front_table(both, cost)
            if len(table) > 1:
                return dict(zip(table["label"], table["front_probability"], strict=True)), name
    return {}, "cost"


def _papers(scene: BesideScene) -> dict[str, PublishedRow]:
    """Label -> what is published of the model, of which the first table with a score counts."""
    if scene.axes["level"] != "model":
        return {}
    found: dict[str, PublishedRow] = {}
    for row in published_rows():
        if row.task == "classification" and row.score is not None:
            found.setdefault(row.model, row)
    subjects: Iterable[Row] = [*records(scene.trained), *records(scene.timed)]
    return {
        str(row["label"]): found[row["mechanism"]] for row in subjects if row["mechanism"] in found
    }


def _cell(row: Row | None, quantity: Quantity) -> Cell:
    if row is None:
        return _NONE
    if not quantity.is_measured(row):
        censored = is_censored(row, quantity.group)
        status = str(row[f"{quantity.group}_status"]).replace("_", " ")
        return Cell(status, "", "") if censored else _NONE
    value, interval = float(row[quantity.metric]), quantity.interval(row)
    note = ""
    if interval is not None:
        note = f"[{quantity.text(interval[0])}, {quantity.text(interval[1])}]"
    return Cell(quantity.text(value), str(plain(value)), note)


def _params(row: Row | None) -> Cell:
    if row is None or not is_number(row["params"]):
        return _NONE
    return Cell(format_count(row["params"]), str(plain(float(row["params"]))), "")


def _throughput(row: Row | None) -> Cell:
    name = "train_images{}_per_s"
    value = None if row is None else row.get(name.format(""))
    if row is None or not is_number(value):
        return _NONE
    interval = pair_of(row, name.format("_low"), name.format("_high"))
    note = "" if interval is None else f"[{', '.join(map(significant, interval))}]"
    return Cell(significant(float(row[name.format("")])), str(value), note)


def _chance(probability: float | None) -> Cell:
    if probability is None:
        return _NONE
    return Cell(probability_text(probability), str(probability), "")


def _paper_score(row: PublishedRow | None) -> Cell:
    if row is None:
        return _NONE
    return Cell(f"{row.score}%", str(row.score), f"at {row.input} px")


def _printed(number: Decimal | None, unit: str, row: PublishedRow) -> str:
    """A paper's own count, for a cell's note; empty where none is printed."""
    return "" if number is None else f"paper, {row.input} px: {number} {unit}"
