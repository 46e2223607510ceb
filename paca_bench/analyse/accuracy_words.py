"""The verdict's sentences on accuracy.

Each takes rows and returns text, or None if it has no ground.
"""

from __future__ import annotations

import pandas as pd

from paca_bench.analyse.accuracy_pairs import (
    ALIKE,
    MARGIN,
    AccuracyVerdict,
    accuracy_pairs,
    trainings,
)
from paca_bench.analyse.curves import Row, records, resolution_text
from paca_bench.analyse.scene import Scene, at_largest, focus
from paca_bench.analyse.wording import interval, listed, points
from paca_bench.units import format_percent, significant

_SWAPPED = {"higher": "lower", "lower": "higher"}
_BESIDE = {
    "higher": "higher than",
    "lower": "lower than",
    "same": f"the same within {100 * MARGIN:g} point as",
    "inconclusive": "inconclusive beside",
}
_CHANGES = {
    "higher": "rises",
    "lower": "falls",
    "same": f"stays within {100 * MARGIN:g} point",
    "inconclusive": "does not change distinguishably",
}


def accuracy_sentence(scene: Scene | None, df: pd.DataFrame) -> str | None:
    """How accurate paca is beside the others that were trained alike, pair by pair."""
    trained = trainings(df)
    if trained.empty:
        return None
    runs = list(trained["run"])
    run = scene.axes["run"] if scene and scene.axes["run"] in runs else runs[0]
    of_run = trained[trained["run"] == run]
    rows = at_largest(of_run)
    names = focus(pd.DataFrame(rows))
    shown = sorted((r for r in rows if r["label"] in names), key=lambda r: r["mechanism"] != "paca")
    lead = shown[0]
    where = f"run {run}: " if df["run"].nunique() > 1 else ""
    details = lead["details"]
    how = f"{where}{details.get('accuracy_method', 'interval as recorded')}"
    compared = _compared(beside(of_run, lead))
    return (
        f"Trained and tested at {resolution_text(lead)} px on "
        f"{details.get('dataset', 'its data set')}, {lead['label']} reaches "
        f"{_accuracy_text(lead)} ({how}).{compared} That is no statement about other resolutions."
    )


def accuracy_change(df: pd.DataFrame, few: Row, many: Row) -> str:
    """What more clusters bring, as the end of a sentence; empty where not trained alike."""
    trained = trainings(df)
    trained = trained[(trained["run"] == few["run"]) & (trained["host"] == few["host"])]
    labels = [few["label"], many["label"]]
    ends = {row["label"]: row for row in at_largest(trained[trained["label"].isin(labels)])}
    if len(ends) < 2:
        return ""
    before, after = (ends[label] for label in labels)
    found = [row for row in beside(trained, after) if row["other"] == before["label"]]
    if not found:
        return ""
    return (
        f", and accuracy at {resolution_text(after)} px {_CHANGES[found[0]['verdict']]}, from "
        f"{_accuracy_text(before)} to {_accuracy_text(after)}"
    )


def beside(trained: pd.DataFrame, lead: Row) -> list[Row]:
    """The pairs of ``lead``, which stands first in all of them."""
    same = trained[(trained["height"] == lead["height"]) & (trained["width"] == lead["width"])]
    alike = {**lead, "dataset": str(lead["details"].get("dataset", ""))}
    pairs = [
        row
        for row in records(accuracy_pairs(same))
        if lead["label"] in (row["label"], row["other"])
        and all(row[axis] == alike[axis] for axis in ALIKE)
    ]
    return [row if row["label"] == lead["label"] else _swapped(row) for row in pairs]


def _swapped(row: Row) -> Row:
    return {
        **row,
        "label": row["other"],
        "other": row["label"],
        "accuracy": row["other_accuracy"],
        "other_accuracy": row["accuracy"],
        "difference": -row["difference"],
        "difference_low": -row["difference_high"],
        "difference_high": -row["difference_low"],
        "verdict": _SWAPPED.get(row["verdict"], row["verdict"]),
    }


def _compared(pairs: list[Row]) -> str:
    """A sentence with each verdict's others, ``higher than vit 85.0% (+10.0 [+8.1, +11.9])``."""
    if not pairs:
        return ""
    kinds: dict[str, list[str]] = {verdict.value: [] for verdict in AccuracyVerdict}
    for row in sorted(pairs, key=lambda row: -abs(float(row["difference"]))):
        ends = (float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
        gap = interval(points, *ends)
        kinds[str(row["verdict"])].append(
            f"{row['other']} {format_percent(row['other_accuracy'])} ({gap})"
        )
    said = "; ".join(f"{_BESIDE[kind]} {listed(texts)}" for kind, texts in kinds.items() if texts)
    methods = "; ".join(dict.fromkeys(str(row["method"]) for row in pairs))
    visible = [100 * float(r["detectable"]) for r in pairs if r["detectable"] == r["detectable"]]
    least = ""
    if visible:
        low, high = (significant(value, 2) for value in (min(visible), max(visible)))
        least = f", least difference visible {low if low == high else f'{low} to {high}'} points"
    return (
        f" Pair by pair, its accuracy is, in points, {said} ({methods}{least}, false discoveries "
        "controlled)."
    )


def _accuracy_text(row: Row) -> str:
    ends = (float(row[name]) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return interval(format_percent, *ends)
