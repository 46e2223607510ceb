"""The verdict's sentences on what is cheapest and most accurate.

Each takes rows and returns text, or None if it has no ground.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from paca_bench.analyse.curves import Row, asked, groups, measured, records, resolution_text
from paca_bench.analyse.scene import Scene, at_largest, focus
from paca_bench.analyse.statistics import Estimate, ratio_estimate
from paca_bench.analyse.wording import interval, listed, ratio_text, shortened
from paca_bench.record import Status
from paca_bench.units import (
    format_bytes,
    format_count,
    format_percent,
    format_seconds,
    significant,
)


def latency_ratio(a: Row, b: Row) -> Estimate:
    """How many times the latency of ``b`` that of ``a`` is, from their raw samples."""
    return ratio_estimate(a["latency_samples_s"], b["latency_samples_s"])


def latency_text(row: Row) -> str:
    """The latency of a case with its interval."""
    return interval(format_seconds, *(float(row[f"latency{p}_s"]) for p in ("", "_low", "_high")))


def latency_sentence(scene: Scene) -> str | None:
    """Which label is fastest at the largest resolution that can be compared, and by how much."""
    timed = measured(scene.rows, "latency_s")
    rows = at_largest(timed)
    if not rows:
        return None
    lead, *others = sorted(rows, key=lambda row: float(row["latency_s"]))
    at = f"At {resolution_text(lead)} px ({scene.text})"
    method = str(lead["details"].get("latency_method", "interval as recorded"))
    absent = _absent(scene.rows, lead)
    if not others:
        return (
            f"{at}, {lead['label']} takes {latency_text(lead)} ({method}). No other mechanism "
            f"was measured there, so nothing is said about faster or slower; add others with "
            f"--mechanism.{absent}"
        )
    # The project's question is put about vit first.
    others.sort(key=lambda row: row["mechanism"] != "vit")
    ratios = [(row["label"], latency_ratio(row, lead)) for row in others]
    slower = [f"{name} {ratio_text(ratio)}" for name, ratio in ratios if ratio.low > 1]
    level = [f"{name} {ratio_text(ratio)}" for name, ratio in ratios if ratio.low <= 1]
    text = f"{at}, {lead['label']} "
    text += "has the lowest median latency" if level else "is fastest"
    text += f", {latency_text(lead)}."
    if level:
        text += f" Not distinguishable from it, in times its latency: {listed(level)}."
    if slower:
        text += f" Slower, in times its latency: {listed(slower)}."
    methods = "; ".join(dict.fromkeys(ratio.method for _, ratio in ratios))
    how = f" ({method}; ratios: {methods}, each pair by itself.)"
    return f"{text}{absent}{_kernels(rows)}{_beyond(timed, lead)}{how}"


def macs_sentence(scene: Scene) -> str | None:
    """Which label needs the fewest multiply-accumulates: for runs without any latency."""
    text = _exact(scene, "macs", "MACs", format_count, "one image forward, counted exactly")
    said = "No latency was measured, so nothing is said about speed."
    if asked(scene.rows, "latency_s").empty:
        said = "Nothing was run: this follows from closed forms alone."
    return text and f"{said} {text}"


def memory_sentence(scene: Scene) -> str | None:
    """Which label has the lowest peak memory at the largest resolution, and by how much."""
    how = "bytes over weights and input, counted by the allocator, without sampling error"
    return _exact(scene, "peak_memory_bytes", "peak memory", format_bytes, how)


def accuracy_sentence(scene: Scene | None, df: pd.DataFrame) -> str | None:
    """How accurate paca is beside the others that were trained alike."""
    trained = measured(df, "accuracy")
    if trained.empty:
        return None
    runs = list(trained["run"])
    run = scene.axes["run"] if scene and scene.axes["run"] in runs else runs[0]
    rows = at_largest(trained[trained["run"] == run])
    names = focus(pd.DataFrame(rows))
    shown = sorted((r for r in rows if r["label"] in names), key=lambda r: r["mechanism"] != "paca")
    lead = shown[0]
    of_run = f"run {run}: " if df["run"].nunique() > 1 else ""
    details = lead["details"]
    how = f"{of_run}{details.get('accuracy_method', 'interval as recorded')}"
    kinds: dict[str, list[str]] = {}
    for row in rows:
        if row is not lead:
            text = f"{row['label']} {_accuracy_text(row)}"
            kinds.setdefault(_accuracy_verdict(lead, row), []).append(text)
    compared = "; ".join(f"{kind} {listed(texts)}" for kind, texts in kinds.items())
    return (
        f"Trained and tested at {resolution_text(lead)} px on "
        f"{details.get('dataset', 'its data set')}, {lead['label']} reaches "
        f"{_accuracy_text(lead)} ({how}){f': {compared}' if compared else ''}; that is no "
        "statement about other resolutions."
    )


def clusters_sentence(scene: Scene, df: pd.DataFrame) -> str | None:
    """What more clusters cost, and what they bring."""
    rows = measured(scene.rows, "latency_s")
    rows = rows[rows["num_clusters"].notna()] if len(rows) else rows
    for _, variants in groups(rows, ("mechanism", "options")):
        ends = sorted(at_largest(variants), key=lambda row: float(row["num_clusters"]))
        if len(ends) < 2:
            continue
        few, many = ends[0], ends[-1]
        ratio = latency_ratio(many, few)
        clear = "" if not ratio.low <= 1 <= ratio.high else ", which is not distinguishable from 1"
        text = (
            f"From M={few['num_clusters']:.0f} to M={many['num_clusters']:.0f} the latency of "
            f"{few['mechanism']} at {resolution_text(few)} px changes by the factor "
            f"{ratio_text(ratio)}{clear}"
        )
        if few["macs"] > 0 and many["macs"] > 0:
            text += f", its MACs by {significant(many['macs'] / few['macs'])} (exact)"
        return text + _clusters_accuracy(df, few, many) + f" ({ratio.method})."
    return None


def _exact(
    scene: Scene, metric: str, noun: str, text: Callable[[float], str], how: str
) -> str | None:
    """The labels by a deterministic metric: its ratios need no interval."""
    rows = sorted(
        at_largest(measured(scene.rows, metric)),
        key=lambda row: (float(row[metric]), row["mechanism"] != "vit"),
    )
    if not rows:
        return None
    lowest = float(rows[0][metric])
    best = [str(row["label"]) for row in rows if row[metric] == lowest]
    more = [
        f"{row['label']} {significant(float(row[metric]) / lowest)} times that"
        for row in rows[len(best) :]
    ]
    names = f"lowest for {listed(best)}, " if more else f"{listed(best)}, "
    at = f"At {resolution_text(rows[0])} px ({scene.axes['mode']})"
    return f"{at}, {noun}: {'; '.join([names + text(lowest), *shortened(more)])} ({how})."


def _absent(rows: pd.DataFrame, at: Row) -> str:
    """The labels that were asked for a latency at a resolution and have none."""
    there = asked(rows, "latency_s")
    there = there[(there["height"] == at["height"]) & (there["width"] == at["width"])]
    missing = [
        f"{row['label']} ({row['latency_status'].replace('_', ' ')})"
        for row in records(there)
        if row["latency_status"] != Status.OK
    ]
    return f" Not measured there: {listed(missing)}." if missing else ""


def _beyond(timed: pd.DataFrame, at: Row) -> str:
    """The label that alone was measured at a resolution above those that are compared."""
    largest = at_largest(timed, fewest=1)[0]
    if largest["resolution"] <= at["resolution"]:
        return ""
    return (
        f" At {resolution_text(largest)} px only {largest['label']} was measured: "
        f"{latency_text(largest)}."
    )


def _kernels(rows: list[Row]) -> str:
    """A caution where the labels compared ran through different kernels."""
    paths: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row["kernel_path"], str):
            paths.setdefault(row["kernel_path"], []).append(str(row["label"]))
    if len(paths) < 2:
        return ""
    used = "; ".join(f"{path}: {', '.join(labels)}" for path, labels in paths.items())
    return (
        f" They ran through different kernel paths ({used}), so this compares "
        "implementations as well as mechanisms."
    )


def _accuracy_text(row: Row) -> str:
    ends = (float(row[name]) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return interval(format_percent, *ends)


def _accuracy_verdict(lead: Row, row: Row) -> str:
    if lead["accuracy_low"] > row["accuracy_high"]:
        return "better than"
    if lead["accuracy_high"] < row["accuracy_low"]:
        return "worse than"
    return "not distinguishable (intervals overlap) from"


def _clusters_accuracy(df: pd.DataFrame, few: Row, many: Row) -> str:
    trained = measured(df, "accuracy")
    if trained.empty:
        return ""
    trained = trained[(trained["run"] == few["run"]) & (trained["host"] == few["host"])]
    pair: list[Any] = []
    for row in (few, many):
        rows = trained[trained["label"] == row["label"]]
        pair += at_largest(rows, fewest=1)
    if len(pair) < 2 or pair[0]["resolution"] != pair[1]["resolution"]:
        return ""
    word = {"better than": "falls", "worse than": "rises"}.get(
        _accuracy_verdict(*pair), "does not change distinguishably"
    )
    return (
        f", and accuracy at {resolution_text(pair[0])} px {word}, from "
        f"{_accuracy_text(pair[0])} to {_accuracy_text(pair[1])}"
    )
