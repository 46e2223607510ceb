"""How the training losses fell: a curve per mechanism, the mean over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from paca_bench.analyse.accuracy_pairs import trained_alike
from paca_bench.analyse.curves import Row, records
from paca_bench.report.charts import Chart, Choices
from paca_bench.report.pairs import training_title
from paca_bench.report.plot_axes import Figure, new_figure, one_two_five, set_axis
from paca_bench.report.theme import MUTED
from paca_bench.report.traces import HOVER, Dashes, Styles, position, scatter
from paca_bench.units import significant

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 100


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The mean over seeds, at ``steps``, the last optimizer step behind each point."""

    steps: list[float]
    losses: list[float]
    seeds: int


def loss_curves(frame: pd.DataFrame, styles: Styles, dashes: Dashes) -> Choices:
    """A chart per run, host and training whose records have losses."""
    charts: list[Chart] = []
    several = frame["run"].nunique() > 1
    for axes, rows in trained_alike(frame):
        figure = loss_figure(records(rows), styles, dashes)
        if figure is not None:
            title = training_title(axes, several)
            charts.append(Chart(f"loss-{len(charts)}", title, figure))
    return Choices(charts)


def loss_figure(rows: list[Row], styles: Styles, dashes: Dashes) -> Figure | None:
    """Training loss against optimizer steps; None where no row has losses."""
    found = [(row, curve) for row in rows if (curve := mean_curve(row["details"])) is not None]
    if not found:
        return None
    figure = new_figure("training loss")
    set_axis(figure, "x", title="optimizer steps", rangemode="tozero")
    values = [loss for _, curve in found for loss in curve.losses]
    set_axis(figure, "y", type="log", **one_two_five(values))
    for row, curve in sorted(found, key=lambda pair: position(pair[0], styles, dashes)):
        style = styles[row["label"]]
        seeds = f"mean of {curve.seeds} seed{'s' if curve.seeds > 1 else ''}"
        figure["data"].append(
            scatter(
                x=curve.steps,
                y=curve.losses,
                mode="lines",
                name=escape(row["label"]),
                line={"color": style.color, "width": 1.8, "dash": dashes[row["run"]]},
                customdata=[
                    f"<b>{escape(row['label'])}</b><br>step {step:,.0f}<br>"
                    f"loss {significant(loss)} ({seeds})"
                    for step, loss in zip(curve.steps, curve.losses, strict=True)
                ],
                hovertemplate=HOVER,
                meta={"labels": [row["label"]], "run": row["run"]},
            )
        )
    # The colour of the guides, for a curve has no marker that tells it apart.
    figure["layout"]["hoverlabel"]["bordercolor"] = MUTED
    return figure


def mean_curve(details: Any) -> LossCurve | None:
    """The mean over seeds of ``train_loss``, at most ``MOST_POINTS`` of them.

    A point is the mean over ``train_loss_window`` steps (1 where not recorded); seeds whose
    windows differ, or that ended early, are averaged as far as the shortest goes.
    """
    losses = [list(one) for one in details.get("train_loss") or () if len(one)]
    windows = details.get("train_loss_window") or [1]
    if not losses:
        return None
    window = int(windows[0])
    same = [
        one
        for one, own in zip(losses, [*windows, *windows[-1:] * len(losses)], strict=False)
        if own == window
    ]
    length = min(map(len, same))
    means = [math.fsum(one[i] for one in same) / len(same) for i in range(length)]
    # One that diverged is drawn up to there; a logarithmic axis has no zero.
    means = list(takewhile(lambda mean: math.isfinite(mean) and mean > 0, means))
    if not means:
        return None
    stride = -(-len(means) // MOST_POINTS)
    parts = [means[i : i + stride] for i in range(0, len(means), stride)]
    steps = [window * min((place + 1) * stride, len(means)) for place in range(len(parts))]
    return LossCurve([float(step) for step in steps], [_mean(part) for part in parts], len(same))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
