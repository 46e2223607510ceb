"""What a report says of accuracy: all of its parts, from one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.report.beside import BesideTable, beside_tables
from paca_bench.report.charts import Choices
from paca_bench.report.drawn import Drawn
from paca_bench.report.fronts import latency_fronts, macs_fronts, memory_fronts
from paca_bench.report.losses import loss_curves
from paca_bench.report.pairs import PairTable, pair_tables
from paca_bench.report.surface import surfaces
from paca_bench.report.traces import Dashes, Styles

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Learning:
    """What the templates show; each part is empty where there is nothing to show.

    Attributes:
        beside: accuracy and costs of each subject in one line.
        latency: charts of accuracy against latency; ``memory`` and ``macs`` likewise.
        surfaces: accuracy over resolution and number of clusters.
        losses: training losses.
        pairs: every two subjects that were trained alike.
    """

    beside: list[BesideTable]
    latency: Choices
    memory: Choices
    macs: Choices
    surfaces: Choices
    losses: Choices
    pairs: list[PairTable]


def learning(
    frame: pd.DataFrame, shown: Drawn, labels: list[str], styles: Styles, dashes: Dashes
) -> Learning:
    """All parts; figures of what is drawn, tables of everything.

    Args:
        frame: rows of all runs.
        shown: what of them is drawn.
        labels: all labels, in the order of the report.
        styles: label -> style, of those that are drawn.
        dashes: run -> dash.
    """
    drawn = frame.loc[shown.frame.index]
    return Learning(
        beside_tables(frame, labels),
        latency_fronts(shown, frame, styles, dashes),
        memory_fronts(shown, frame, styles, dashes),
        macs_fronts(shown, frame, styles, dashes),
        surfaces(frame),
        loss_curves(drawn, styles, dashes),
        pair_tables(frame, labels),
    )
