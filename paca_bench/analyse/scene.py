"""What the verdict speaks about: one place of one run, and the labels worth naming there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from paca_bench.analyse.curves import PLACE_AXES, Row, groups, measured, records
from paca_bench.record import TRAININGS

# The question of this project is put about these two first; any others follow.
_FIRST = ("vit", "paca")
_SIZED = ["height", "width", "label", "resolution"]


@dataclass(frozen=True)
class Scene:
    """Cases that differ in mechanism, variant and resolution only.

    Attributes:
        axes: the values of ``PLACE_AXES`` they share.
        rows: the cases.
        run: all cases of the same run.
    """

    axes: dict[str, Any]
    rows: pd.DataFrame
    run: pd.DataFrame

    @property
    def text(self) -> str:
        """``host nano, forward, batch 1, float32 on cpu``."""
        axes = self.axes
        where = f"host {axes['host']}"
        if axes["level"] == "layer":
            where = f"attention alone, stage {axes['stage']:.0f} of {axes['host']}"
        elif axes["level"] == "model":
            where = "published models"
        return (
            f"{where}, {axes['mode']}, batch {axes['batch']}, {axes['dtype']} on {axes['device']}"
        )


def main_scene(df: pd.DataFrame) -> Scene | None:
    """Where most was measured: a latency if there is one, the first run, host, forward.

    None if the frame has no case but trainings.
    """
    found = scenes(df)
    runs = list(dict.fromkeys(scene.axes["run"] for scene in found))

    def weight(scene: Scene) -> tuple[Any, ...]:
        timed, counted = (len(measured(scene.rows, m)) for m in ("latency_s", "macs"))
        axes = scene.axes
        return (
            *(timed > 0, -runs.index(axes["run"])),
            *(axes["level"] == "host", axes["mode"] == "forward", timed, counted),
        )

    return max(found, key=weight, default=None)


def layer_scene(scene: Scene) -> Scene | None:
    """The attention alone at its earliest stage, in all else like ``scene``."""
    same = ("host", "mode", "batch", "dtype", "device")
    layers = [
        other
        for other in scenes(scene.run)
        if other.axes["level"] == "layer" and all(other.axes[a] == scene.axes[a] for a in same)
    ]
    return min(layers, key=lambda layer: float(layer.axes["stage"]), default=None)


def scenes(df: pd.DataFrame) -> list[Scene]:
    """All places of a frame, without the trainings, in order of appearance."""
    if df.empty:
        return []
    timed = df[~df["mode"].isin(TRAININGS)]
    names = df["run"].unique()
    runs = {name: df[df["run"] == name] if len(names) > 1 else df for name in names}
    return [Scene(axes, rows, runs[axes["run"]]) for axes, rows in groups(timed, PLACE_AXES)]


def focus(rows: pd.DataFrame) -> list[str]:
    """One label per mechanism: vit, then paca, then the others in order of appearance.

    Of several variants it is the one with most cases, and among those the middle one by
    number of clusters.
    """
    chosen = {}
    for axes, variants in groups(rows, ("mechanism",)):
        counts = variants["label"].value_counts()
        most = variants[variants["label"].isin(counts.index[counts == counts.max()])]
        labels = list(dict.fromkeys(most.sort_values("num_clusters", kind="stable")["label"]))
        chosen[str(axes["mechanism"])] = str(labels[(len(labels) - 1) // 2])
    first = [chosen.pop(name) for name in _FIRST if name in chosen]
    return [*first, *chosen.values()]


def at_largest(rows: pd.DataFrame, fewest: int = 2) -> list[Row]:
    """The rows of the largest resolution that ``fewest`` labels share, else of the largest.

    One row per label, in order of appearance.
    """
    # Lists and details in a frame make each of its many parts slow.
    sizes = [size for _, size in groups(rows[_SIZED], ("height", "width"))]
    largest = max(
        reversed(sizes),
        key=lambda size: (size["label"].nunique() >= fewest, size["resolution"].iloc[0]),
        default=rows,
    )
    return records(rows.loc[largest.drop_duplicates("label").index])
