"""The run in words: a question, and sentences that carry numbers, intervals and methods."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from paca_bench.analyse.accuracy_words import accuracy_sentence
from paca_bench.analyse.curves import Row, asked, group_of, measured, records
from paca_bench.analyse.dense_words import dense_sentence
from paca_bench.analyse.front_words import front_sentence
from paca_bench.analyse.growth import (
    claim_sentence,
    crossover_sentence,
    exact_crossover_sentence,
    growth_sentences,
)
from paca_bench.analyse.scene import Scene, main_scene
from paca_bench.analyse.sentences import (
    clusters_sentence,
    latency_ratio,
    latency_sentence,
    macs_sentence,
    memory_sentence,
)
from paca_bench.analyse.unmeasured import advice, unmeasured
from paca_bench.analyse.wording import cases, listed, ratio_text

_METRICS = ("macs", "latency_s", "peak_memory_bytes", "accuracy")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run says, in words.

    Attributes:
        question: what was asked.
        sentences: the answers, most important first.
    """

    question: str
    sentences: list[str]


def verdict(df: pd.DataFrame) -> Verdict:
    """Put what was measured into words, and say what was not.

    The sentences speak of one place: the level, mode, batch, dtype and device with the most
    latencies of the first run, the host's forward pass if it was timed. The first
    says what is fastest at the largest resolution that at least two labels share; "faster"
    is claimed only where the interval of a ratio excludes 1. The others are about growth,
    the claim "linear", crossover, memory, accuracy, its front, the dense task and M, then about
    the same cases in other runs, and last about what was not measured. A sentence without ground
    is left out.

    Args:
        df: as from ``load_results``: one run or several, of any subset of the axes.
    """
    scene = main_scene(df)
    lines: list[str | None] = []
    if scene is not None:
        timed = latency_sentence(scene)
        lines.append(timed or macs_sentence(scene))
        if lines[0]:
            overtaken = crossover_sentence(scene) if timed else exact_crossover_sentence(scene)
            lines += [*growth_sentences(scene), claim_sentence(scene), overtaken]
        lines.append(memory_sentence(scene))
    lines += [accuracy_sentence(scene, df), front_sentence(scene, df), dense_sentence(df)]
    if scene is not None:
        lines.append(clusters_sentence(scene, df))
    sentences = [line for line in lines if line]
    if not sentences:
        sentences.append("Nothing was measured.")
    sentences += _between_runs(df)
    sentences.append(_left_out(df))
    return Verdict(_question(scene, df), sentences)


def _question(scene: Scene | None, df: pd.DataFrame) -> str:
    if scene is None:
        return "What does which attention cost, and how accurate is it?"
    rows = scene.rows
    labels = list(dict.fromkeys(rows["label"]))
    low, high = rows["resolution"].min(), rows["resolution"].max()
    grows = f"as resolution grows from {low:.0f} to {high:.0f} px"
    span = grows if low < high else f"at {low:.0f} px"
    what = "Which attention costs what" if len(labels) > 1 else f"What does {labels[0]} cost"
    several = df["run"].nunique() > 1
    named = f"run {scene.axes['run']}: " if several else ""
    return f"{what} {span} ({named}{scene.text})?"


def _between_runs(df: pd.DataFrame) -> list[str]:
    """One sentence for each further run: the cases it shares with the first."""
    if df.empty:
        return []
    first, *others = df["run"].unique()
    return [_same_cases(df, str(first), str(other)) for other in others]


def _same_cases(df: pd.DataFrame, first: str, other: str) -> str:
    pairs = _pairs(df, "latency_s", first, other)
    if not pairs:
        return f"Runs {first} and {other} share no case whose latency was measured in both."
    ratios = [(latency_ratio(b, a), str(a["case_id"])) for a, b in pairs]
    slower = sum(ratio.low > 1 for ratio, _ in ratios)
    faster = sum(ratio.high < 1 for ratio, _ in ratios)
    rest = len(ratios) - slower - faster
    change, case = max(ratios, key=lambda item: max(item[0].value, 1 / item[0].value))
    counted = _pairs(df, "macs", first, other)
    changed = sum(a["macs"] != b["macs"] for a, b in counted)
    macs = f"; MACs differ in {changed} of {len(counted)} (exact)" if counted else ""
    return (
        f"Run {other} beside run {first}, same {cases(len(ratios))}: slower in {slower}, faster "
        f"in {faster}, not distinguishable in {rest}; the largest change is {case} at "
        f"{ratio_text(change)} times the latency{macs} ({change.method}; each case by "
        f"itself, false discoveries not controlled)."
    )


def _pairs(df: pd.DataFrame, metric: str, first: str, other: str) -> list[tuple[Row, Row]]:
    rows = measured(df, metric)
    a, b = (
        {row["case_hash"]: row for row in records(rows) if row["run"] == run}
        for run in (first, other)
    )
    return [(a[key], b[key]) for key in a if key in b]


def _left_out(df: pd.DataFrame) -> str:
    """What was not measured, how often and why, and the flag that would get it measured."""
    if df.empty:
        return "The run holds no record; fill it with 'paca-bench sweep --resume'."
    never = [group_of(metric) for metric in _METRICS if asked(df, metric).empty]
    more = f"Not asked for: {listed(never)} (add --metrics {','.join(never)})." if never else ""
    missing = records(unmeasured(df))
    if not missing:
        return f"Ended ok in every metric asked for: {cases(len(df))}. {more}".rstrip()
    counts = Counter((str(row["group"]), str(row["status"])) for row in missing)
    kinds = []
    for (group, status), count in counts.most_common():
        reasons = [
            str(r["reason"]) for r in missing if (r["group"], r["status"]) == (group, status)
        ]
        how = advice(status, reasons)
        kinds.append(f"{group} of {cases(count)}, {status.replace('_', ' ')} ({how})")
    return f"Not measured, of {cases(len(df))}: {'; '.join(kinds)}. {more}".rstrip()
