"""Accuracies in the terminal: on the front with what probability, and beside one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paca_bench.analyse.accuracy_words import beside
from paca_bench.analyse.curves import records
from paca_bench.analyse.scene import focus
from paca_bench.analyse.wording import interval, points, probability_text
from paca_bench.report.beside import beside_scenes, front_chances
from paca_bench.report.grid import Grid
from paca_bench.report.pairs import training_title
from paca_bench.report.quantities import ACCURACY

if TYPE_CHECKING:
    import pandas as pd


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
        if len(rows) < 2 or key in grids:
            continue
        names = focus(scene.trained)
        lead = next(
            (row for row in rows if row["mechanism"] == "paca" and row["label"] in names), rows[0]
        )
        compared = {str(pair["other"]): pair for pair in beside(scene.trained, lead)}
        chances, cost = front_chances(scene)
        table = []
        for row in rows:
            cells = [str(row["label"]), ACCURACY.describe(row)]
            if chances:
                chance = chances.get(str(row["label"]))
                cells.append("-" if chance is None else probability_text(chance))
            pair = compared.get(str(row["label"]))
            # The pairs are of the lead minus another; here it is the other way round.
            ends = pair and [-float(pair[f"difference{end}"]) for end in ("", "_high", "_low")]
            cells.append(interval(points, *ends) if ends else "")
            cells.append(_SEEN.get(str(pair["verdict"]), str(pair["verdict"])) if pair else "")
            table.append(cells)
        headers = ["mechanism", "accuracy"]
        headers += [f"on the front\nwith {cost}"] if chances else []
        headers += [f"points beside\n{lead['label']}", "verdict"]
        grids[key] = Grid(training_title(scene.axes, several), headers, 1, table)
    return list(grids.values())


# What a verdict on the first of a pair is for the other.
_SEEN = {"higher": "lower", "lower": "higher"}
