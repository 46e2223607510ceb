"""Accuracies in the terminal: on the front with what probability, and beside one of them."""

from __future__ import annotations

import pandas as pd

from paca_bench.analyse.accuracy_words import beside
from paca_bench.analyse.curves import Row, records
from paca_bench.analyse.scene import focus
from paca_bench.analyse.wording import interval, points, probability_text
from paca_bench.report.beside import beside_scenes, front_chances
from paca_bench.report.grid import Grid
from paca_bench.report.pairs import training_title
from paca_bench.report.quantities import ACCURACY

_SWAPPED = {"higher": "lower", "lower": "higher"}


def trained_grids(df: pd.DataFrame, order: list[str]) -> list[Grid]:
    """A grid per run and host with two labels or more, of its largest training.

    Columns: accuracy; the probability that nothing beats it in accuracy and latency (MACs,
    where no latency was measured); the difference to one of them, paca if it is there, in
    points with its interval, and the verdict on that.
    """
    several = df["run"].nunique() > 1
    grids: dict[tuple[str, ...], Grid] = {}
    for scene in beside_scenes(df):
        rows = sorted(records(scene.trained), key=lambda row: order.index(row["label"]))
        key = tuple(str(scene.axes[axis]) for axis in ("run", "level", "host"))
        known = [row for row in rows if ACCURACY.is_measured(row)]
        if len(known) < 2 or key in grids:
            continue
        names = focus(pd.DataFrame(known))
        lead = next(
            (row for row in known if row["mechanism"] == "paca" and row["label"] in names),
            known[0],
        )
        compared = {str(pair["other"]): pair for pair in beside(scene.trained, lead)}
        chances, cost = front_chances(scene)
        headers = ["mechanism", "accuracy"]
        headers += [f"on the front\nwith {cost}"] if chances else []
        headers += [f"points beside\n{lead['label']}", "verdict"]
        table = [
            [
                str(row["label"]),
                _accuracy(row),
                *([_chance(chances.get(str(row["label"])))] if chances else []),
                *_beside_lead(compared.get(str(row["label"]))),
            ]
            for row in rows
        ]
        grids[key] = Grid(training_title(scene.axes, several), headers, 1, table)
    return list(grids.values())


def _accuracy(row: Row) -> str:
    if ACCURACY.is_measured(row):
        return ACCURACY.describe(row)
    return str(row["accuracy_status"]).replace("_", " ")


def _chance(probability: float | None) -> str:
    return "-" if probability is None else probability_text(probability)


def _beside_lead(pair: Row | None) -> list[str]:
    """The difference to the lead, and the verdict; ``pair`` is the lead minus this one."""
    if pair is None:
        return ["", ""]
    ends = (-float(pair[f"difference{end}"]) for end in ("", "_high", "_low"))
    verdict = str(pair["verdict"])
    return [interval(points, *ends), _SWAPPED.get(verdict, verdict)]
