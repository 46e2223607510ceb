"""Who is on a Pareto front, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from paca_bench.analyse.accuracy_pairs import trainings
from paca_bench.analyse.curves import Row, measured, records, resolution_text
from paca_bench.analyse.pareto import SURE, front_table
from paca_bench.analyse.scene import Scene
from paca_bench.analyse.wording import listed, probability_text


def front_text(points: Sequence[Row]) -> str:
    """Who is on the front for sure, and of whom it is undecided, with probabilities.

    Args:
        points: rows of ``front_table`` that share a front.
    """
    kinds: dict[str, list[str]] = {"on": [], "undecided": [], "off": []}
    for row in sorted(points, key=lambda row: -float(row["front_probability"])):
        chance = probability_text(float(row["front_probability"]))
        kinds[str(row["front_verdict"])].append(f"{row['label']} ({chance})")
    parts = []
    if kinds["on"]:
        parts.append(f"with at least {SURE:.0%} probability: {listed(kinds['on'])}")
    if kinds["undecided"]:
        parts.append(f"undecided: {listed(kinds['undecided'])}")
    if kinds["off"]:
        parts.append(f"off it: {listed(kinds['off'])}")
    return "; ".join(parts)


def front_sentence(scene: Scene | None, df: pd.DataFrame) -> str | None:
    """The front of accuracy against the latency of ``scene``, at its largest resolution.

    Against MACs where no latency was measured; None where fewer than two have both.
    """
    trained = trainings(df)
    if trained.empty:
        return None
    run = scene.axes["run"] if scene else trained["run"].iloc[0]
    trained = trained[trained["run"] == run]
    costs = trained if scene is None else scene.rows
    for cost, name in (("latency_s", "latency"), ("macs", "MACs")):
        priced = measured(costs[costs["label"].isin(trained["label"])], cost)
        if priced.empty:
            continue
        largest = priced[priced["resolution"] == priced["resolution"].max()]
        table = front_table(pd.concat([largest, trained[~trained.index.isin(largest.index)]]), cost)
        points = [row for row in records(table) if _is_shown(row, table)]
        if len(points) > 1:
            where = f" ({scene.text})" if scene and cost == "latency_s" else ""
            return (
                f"Pareto front of accuracy (trained at {points[0]['accuracy_resolution']:g} px) "
                f"against {name} at {resolution_text(points[0])} px{where}, "
                f"{front_text(points)} ({points[0]['front_method']})."
            )
    return None


def _is_shown(row: Row, table: pd.DataFrame) -> bool:
    """Of several trainings that of the largest resolution, at the largest cost's."""
    same = (row["resolution"], row["accuracy_resolution"], row["dataset"])
    last = table.sort_values(["resolution", "accuracy_resolution"], kind="stable").iloc[-1]
    return same == (last["resolution"], last["accuracy_resolution"], last["dataset"])
