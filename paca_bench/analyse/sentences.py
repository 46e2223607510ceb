"""The verdict's sentences: each takes rows and returns text, or None if it has no ground."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from paca_bench.analyse.curves import Row, asked, groups, measured, records, resolution_text
from paca_bench.analyse.scaling import Crossover, Exponent, crossovers, fit_exponent
from paca_bench.analyse.scene import Scene, at_largest, focus, layer_scene, listed
from paca_bench.analyse.statistics import Estimate, ratio_estimate
from paca_bench.record import Status
from paca_bench.units import (
    format_bytes,
    format_count,
    format_percent,
    format_seconds,
    significant,
)

_WELCH = "ratios with 95% intervals from the medians of the processes, each pair by itself"
# More exponents than this in one sentence are better read in the table.
_MOST_EXPONENTS = 3


def interval(text: Callable[[float], str], value: float, low: float, high: float) -> str:
    """``1.23 ms [1.20 ms, 1.26 ms]``."""
    return f"{text(value)} [{text(low)}, {text(high)}]"


def ratio_text(ratio: Estimate) -> str:
    """``2.13 [2.05, 2.20]``; with one digit more where it is close to 1."""
    digits = 4 if ratio.low < 1.1 and ratio.high > 0.9 else 3
    return interval(lambda v: significant(v, digits), ratio.value, ratio.low, ratio.high)


def latency_ratio(a: Row, b: Row) -> Estimate:
    """How many times the latency of ``b`` that of ``a`` is, from their raw samples."""
    return ratio_estimate(a["latency_samples_s"], b["latency_samples_s"])


def latency_text(row: Row) -> str:
    """The latency of a case with its interval."""
    return interval(format_seconds, *(float(row[f"latency{p}_s"]) for p in ("", "_low", "_high")))


def latency_sentence(scene: Scene) -> str | None:
    """Which label is fastest at the largest resolution that can be compared, and by how much."""
    rows = at_largest(measured(scene.rows, "latency_s"))
    if not rows:
        return None
    lead, *others = sorted(rows, key=lambda row: float(row["latency_s"]))
    at = f"At {resolution_text(lead)} px ({scene.text})"
    method = str(lead["details"].get("latency_method", "interval as recorded"))
    absent = _absent(scene.rows, lead, "latency")
    if not others:
        alone = "no other mechanism was measured there, so it is neither faster nor slower"
        add = "add others with --mechanism"
        return (
            f"{at}, {lead['label']} takes {latency_text(lead)} ({method}); {alone}{absent}; {add}."
        )
    ratios = [(str(row["label"]), latency_ratio(row, lead)) for row in others]
    slower = [f"{name} takes {ratio_text(r)} times as long" for name, r in ratios if r.low > 1]
    level = [f"{name} at {ratio_text(r)} times" for name, r in ratios if r.low <= 1]
    if level:
        lead_text = f"{lead['label']} has the lowest median latency, {latency_text(lead)}, but is "
        lead_text += f"not distinguishable from {listed(level)}"
    else:
        lead_text = f"{lead['label']} is fastest, {latency_text(lead)}"
    parts = [lead_text, *([", ".join(slower)] if slower else [])]
    return f"{at}, {'; '.join(parts)}{absent} ({method}; {_WELCH}).{_kernels(rows)}"


def macs_sentence(scene: Scene) -> str | None:
    """Which label needs the fewest multiply-accumulates: for runs without any latency."""
    rows = at_largest(measured(scene.rows, "macs"))
    return _exact(scene, rows, "macs", "needs the fewest MACs", format_count, "counted exactly")


def memory_sentence(scene: Scene) -> str | None:
    """Which label has the lowest peak memory at the largest resolution, and by how much."""
    rows = at_largest(measured(scene.rows, "peak_memory_bytes"))
    how = "bytes over weights and input, a count of the allocator without sampling error"
    return _exact(scene, rows, "peak_memory_bytes", "has the lowest peak memory", format_bytes, how)


def growth_sentence(scene: Scene) -> str:
    """Measured exponents beside those of the MACs, of the attention alone and of the host."""
    layer = layer_scene(scene) if scene.axes["level"] == "host" else None
    alone, host = (_exponents(s) if s else "" for s in (layer, scene))
    if not alone and not host:
        return (
            "How cost grows cannot be told: an exponent needs at least three resolutions "
            "measured; give a range such as --res 224..1024."
        )
    how = "(p in N^p, N tokens; least squares on logs with 95% t intervals"
    how += ", which for MACs show the bend of the curve)."
    if not alone or layer is None:
        common = ""
        if scene.axes["level"] == "host":
            common = "; the host adds costs common to all, --level layer is the sharper test"
        return f"Growth with resolution ({scene.text}): {host}{common} {how}"
    within = f" Within the host, whose other costs are common to all: {host}." if host else ""
    return f"Growth with resolution ({layer.text}, the sharper test): {alone}.{within} {how}"


def crossover_sentence(scene: Scene) -> str | None:
    """From which resolution the second label in focus is faster than the first."""
    first, *rest = focus(measured(scene.rows, "latency_s")) or [""]
    if not rest:
        return None
    axes = scene.axes
    found = crossovers(
        scene.rows, "latency_s", rest[0], first, mode=axes["mode"], level=axes["level"]
    )
    if found is None:
        return f"{rest[0]} and {first} share no measured resolution, so none can overtake."
    return _crossover_text(found, rest[0], first)


def accuracy_sentence(scene: Scene | None, df: pd.DataFrame) -> str | None:
    """How accurate the label in focus is beside the others, where they were trained alike."""
    trained = measured(df, "accuracy")
    if scene is not None and not trained.empty:
        trained = trained[trained["run"] == scene.axes["run"]]
    rows = at_largest(trained)
    if not rows:
        return None
    names = focus(pd.DataFrame(rows))
    paca = [name for name in names if name.startswith("paca")]
    lead = next(row for row in rows if row["label"] == (paca or names)[0])
    place = f"{resolution_text(lead)} px on {lead['details'].get('dataset', 'its data set')}"
    own = _accuracy_text(lead)
    method = lead["details"].get("accuracy_method", "interval as recorded")
    kinds: dict[str, list[str]] = {}
    for row in rows:
        if row is not lead:
            text = f"{row['label']} {_accuracy_text(row)}"
            kinds.setdefault(_accuracy_verdict(lead, row), []).append(text)
    verdicts = [f"{kind} {listed(texts)}" for kind, texts in kinds.items()]
    compared = f": {'; '.join(verdicts)}" if verdicts else ", and nothing else was trained there"
    return (
        f"Trained and tested at {place}, {lead['label']} reaches {own} ({method}){compared}; "
        "that is no statement about other resolutions."
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
    scene: Scene,
    rows: list[Row],
    metric: str,
    what: str,
    text: Callable[[float], str],
    how: str,
) -> str | None:
    if not rows:
        return None
    lead, *others = sorted(rows, key=lambda row: float(row[metric]))
    at = f"At {resolution_text(lead)} px ({scene.axes['mode']})"
    own = text(float(lead[metric]))
    if not others:
        noun = what.split(" ", 2)[2]
        return f"{at}, {lead['label']}: {own} of {noun.replace('fewest ', '')} ({how})."
    best = [str(r["label"]) for r in rows if r[metric] == lead[metric]]
    ratios = [
        f"{row['label']} {significant(float(row[metric]) / float(lead[metric]))} times as much"
        for row in others
        if row[metric] != lead[metric]
    ]
    more = f"; {listed(ratios)}" if ratios else ""
    return f"{at}, {listed(best)} {what}, {own}{more} ({how})."


def _absent(rows: pd.DataFrame, at: Row, group: str) -> str:
    """The labels that were asked for at a resolution and have no value there."""
    metric = {"latency": "latency_s"}[group]
    there = asked(rows, metric)
    there = there[(there["height"] == at["height"]) & (there["width"] == at["width"])]
    missing = [
        f"{row['label']} ({str(row[f'{group}_status']).replace('_', ' ')})"
        for row in records(there)
        if row[f"{group}_status"] != Status.OK
    ]
    return f"; not measured there: {listed(missing)}" if missing else ""


def _kernels(rows: Sequence[Row]) -> str:
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


def _exponents(scene: Scene) -> str:
    """``vit: latency 1.62 [1.40, 1.84], MACs ..., faster than linear; paca: ...``."""
    parts = []
    for label in focus(scene.rows)[:_MOST_EXPONENTS]:
        curve = scene.rows[scene.rows["label"] == label]
        time, time_tail, macs = (
            _fit(curve, "latency_s"),
            _fit(curve, "latency_s", tail=True),
            _fit(curve, "macs"),
        )
        if time is None and macs is None:
            continue
        texts = []
        if time is not None:
            texts.append(f"latency {_exponent_text(time)}, {_linearity(time)}")
            if time_tail is not None and time_tail.points < time.points:
                texts.append(f"in the upper half of the range {_exponent_text(time_tail)}")
        if macs is not None:
            texts.append(f"MACs {_exponent_text(macs)}")
        span = time or macs
        assert span is not None
        size = f"{span.points} points, N = {span.tokens_min:.0f} to {span.tokens_max:.0f}"
        parts.append(f"{label} ({size}): {'; '.join(texts)}")
    return " — ".join(parts)


def _fit(curve: pd.DataFrame, metric: str, tail: bool = False) -> Exponent | None:
    good = measured(curve, metric)
    return fit_exponent(good["tokens"].tolist(), good[metric].tolist(), tail=tail)


def _exponent_text(fit: Exponent) -> str:
    return interval(lambda v: f"{v:.2f}", fit.value, fit.low, fit.high)


def _linearity(fit: Exponent) -> str:
    if fit.low > 1:
        return "more than linear in the measured range"
    if fit.high < 1:
        return "less than linear in the measured range (fixed costs still show)"
    if fit.high < 2:
        return "consistent with linear in the measured range"
    return "too uncertain to tell linear from quadratic"


def _crossover_text(found: Crossover, a: str, b: str) -> str:
    doubt = f"at {found.unclear} of {found.points} measured resolutions the two are not "
    doubt += "distinguishable"
    if found.unclear == found.points:
        return f"{a} and {b} cannot be told apart by latency at any resolution measured for both."
    if found.always:
        other = b if found.always == a else a
        many = f"all {found.points} resolutions" if found.points > 1 else "the one resolution"
        caution = f" ({doubt})" if found.unclear else ""
        return (
            f"{found.always} has the lower median latency than {other} at {many} measured for "
            f"both, so there is no crossover in that range{caution}."
        )
    other = b if found.cheaper == a else a
    low = f"{found.low:.0f}" if found.low > 0 else "below all measured"
    high = f"{found.high:.0f}" if found.high < math.inf else "beyond all measured"
    caution = f"; {doubt}" if found.unclear else ""
    return (
        f"{found.cheaper} becomes faster than {other} at about {found.resolution:.0f} px "
        f"[{low}, {high}] (log-log interpolation; the interval is the nearest measured "
        f"resolutions at which they differ beyond doubt{caution})."
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
