"""The verdict's sentences on what is cheapest, and what clusters cost.

Each takes rows and returns text, or None if it has no ground.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from paca_bench.analyse.accuracy_words import accuracy_change
from paca_bench.analyse.curves import Row, asked, groups, measured, records, resolution_text
from paca_bench.analyse.scene import Scene, at_largest
from paca_bench.analyse.statistics import Estimate, ratio_estimate
from paca_bench.analyse.wording import interval, listed, ratio_text, shortened
from paca_bench.record import Status
from paca_bench.units import (
    format_bytes,
    format_count,
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
        return text + accuracy_change(df, few, many) + f" ({ratio.method})."
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
