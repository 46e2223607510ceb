"""Which mechanism learns more: every two that were trained alike, compared over seeds.

A pair is ``same`` where the whole interval of the difference lies within the practical margin
either way; ``higher`` or ``lower`` where it does not and a difference is significant, after
Benjamini and Hochberg over all pairs that were trained alike; and ``inconclusive`` otherwise.
These are the words for accuracy, as ``faster`` and ``slower`` are those for time.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import pandas as pd

from paca_bench.analyse.compare import adjusted_p_values
from paca_bench.analyse.curves import Row, groups, measured, records
from paca_bench.analyse.trainings import Difference, Training, difference
from paca_bench.errors import SpecError

CONFIDENCE = 0.95
MARGIN = 0.01
Q = 0.05
POWER = 0.8
MOST_SEEDS = 99

ALIKE = (
    *("run", "level", "host", "height", "width"),
    *("batch", "dtype", "device", "execution", "dataset"),
)
_COLUMNS = (
    *(*ALIKE, "label", "other", "accuracy", "other_accuracy"),
    *("difference", "difference_low", "difference_high", "verdict", "reason"),
    *("p", "adjusted_p", "detectable", "seeds_needed", "seeds", "method"),
)


class AccuracyVerdict(StrEnum):
    """What is known of the accuracy of one beside another."""

    HIGHER = "higher"
    LOWER = "lower"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class AccuracyJudgement:
    """One pair: the first's accuracy minus the other's, as fractions.

    Attributes:
        verdict: of the first.
        difference: with ``low`` and ``high``, its interval, which does not depend on other
            pairs.
        p: two-sided, of no difference; NaN where a side has one seed.
        adjusted_p: Benjamini and Hochberg's, over all pairs judged together.
        detectable: the smallest difference that would have been called ``higher`` with a
            probability of 80%, had it been the only one; NaN where ``p`` is.
        seeds_needed: seeds from which on a difference as small as the margin would have been
            called so; NaN where not even 99 would do, for want of test images.
        reason: why it is inconclusive; empty otherwise.
        seeds: that were compared.
        method: in words.
    """

    verdict: AccuracyVerdict
    difference: float
    low: float
    high: float
    p: float
    adjusted_p: float
    detectable: float
    seeds_needed: float
    reason: str
    seeds: int
    method: str


def judge_accuracies(
    pairs: Sequence[tuple[Training, Training]], margin: float = MARGIN, q: float = Q
) -> list[AccuracyJudgement]:
    """Judge pairs together.

    Args:
        pairs: two that were trained and tested alike.
        margin: differences up to this are of no practical interest (0.01: one point).
        q: the share of false ones among all that are called ``higher`` or ``lower``.

    Raises:
        SpecError: a margin below 0 or not below 1, or ``q`` outside 0 to 1.
    """
    if not 0 <= margin < 1:
        raise SpecError(
            f"a margin of accuracy must be 0 or more and below 1 (0.01 is a point), given: {margin}"
        )
    if not 0 < q < 1:
        raise SpecError(f"q must lie between 0 and 1 (such as {Q}), given: {q}")
    found = [difference(a, b) for a, b in pairs]
    ps = [one.p if one.seeds > 1 else math.nan for one in found]
    tested = [p for p in ps if not math.isnan(p)]
    adjusted = iter(adjusted_p_values(tested))
    both = [(p, p if math.isnan(p) else next(adjusted)) for p in ps]
    level = q / max(len(tested), 1)
    return [
        _judgement(one, chances, a.is_bitwise(b), margin, q, level)
        for one, chances, (a, b) in zip(found, both, pairs, strict=True)
    ]


def accuracy_pairs(df: pd.DataFrame, margin: float = MARGIN, q: float = Q) -> pd.DataFrame:
    """Every two labels that were trained alike, compared.

    False discoveries are controlled among all pairs of those that were trained alike.

    Args:
        df: as from ``load_results``: one run or several, which are not compared with each other.
        margin: as in ``judge_accuracies``.
        q: as in ``judge_accuracies``.

    Returns:
        One row per pair with the axes that both share (``ALIKE``), ``label`` and ``other``,
        ``accuracy`` and ``other_accuracy`` (means over the seeds of each), and the attributes
        of ``AccuracyJudgement``, ``difference`` (``label`` minus ``other``) among them.

    Raises:
        SpecError: as ``judge_accuracies``.
    """
    rows = []
    for axes, alike in trained_alike(df):
        pairs = list(combinations(records(alike), 2))
        own = {row["case_hash"]: Training.of(row) for row in records(alike)}
        judged = judge_accuracies(
            [(own[a["case_hash"]], own[b["case_hash"]]) for a, b in pairs], margin, q
        )
        rows += [{**axes, **_row(a, b, found)} for (a, b), found in zip(pairs, judged, strict=True)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _row(a: Row, b: Row, judged: AccuracyJudgement) -> dict[str, Any]:
    return {
        "label": a["label"],
        "other": b["label"],
        "accuracy": a["accuracy"],
        "other_accuracy": b["accuracy"],
        "difference": judged.difference,
        "difference_low": judged.low,
        "difference_high": judged.high,
        "verdict": judged.verdict.value,
        "reason": judged.reason,
        "p": judged.p,
        "adjusted_p": judged.adjusted_p,
        "detectable": judged.detectable,
        "seeds_needed": judged.seeds_needed,
        "seeds": judged.seeds,
        "method": judged.method,
    }


def trained_alike(df: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The trainings of a frame by ``ALIKE``, what may be compared; the largest images first."""
    trained = trainings(df).sort_values("resolution", ascending=False, kind="stable")
    named = trained.assign(dataset=[str(d.get("dataset", "")) for d in trained["details"]])
    return list(groups(named, ALIKE))


def trainings(df: pd.DataFrame) -> pd.DataFrame:
    """The rows of mode ``fit`` whose accuracy was measured."""
    # Not ``measured(df)``: of a hundred thousand rows few are trainings.
    trained = df[df["mode"] == "fit"]
    return measured(trained, "accuracy") if len(trained) else trained


def _judgement(
    found: Difference,
    chances: tuple[float, float],
    bitwise: bool,
    margin: float,
    q: float,
    level: float,
) -> AccuracyJudgement:
    """``chances`` are p and the adjusted p; ``level`` is that of a pair tested alone."""
    p, adjusted_p = chances
    # Of one seed it is the images' part alone, as McNemar's test has it.
    half = found.half_width(CONFIDENCE)
    low, high = max(found.value - half, -1.0), min(found.value + half, 1.0)
    needed = detectable = math.nan
    if found.seeds > 1:
        detectable = _detectable(found, margin, level)
        needed = _seeds_needed(found, margin, level)
    verdict, reason = AccuracyVerdict.INCONCLUSIVE, ""
    if bitwise:
        verdict = AccuracyVerdict.SAME
    elif found.seeds == 1:
        reason = (
            "one seed does not show how trainings differ, and the interval is that of the test "
            "images alone; train 3 or more (--seeds 3)"
        )
    elif max(-low, high) <= margin:
        verdict = AccuracyVerdict.SAME
    elif adjusted_p <= q and low > 0:
        verdict = AccuracyVerdict.HIGHER
    elif adjusted_p <= q and high < 0:
        verdict = AccuracyVerdict.LOWER
    else:
        reason = _why(low, high, margin, needed, found.seeds)
    return AccuracyJudgement(
        verdict,
        found.value,
        low,
        high,
        p,
        adjusted_p,
        detectable,
        needed,
        reason,
        found.seeds,
        f"{CONFIDENCE:.0%} {found.method}",
    )


def _detectable(found: Difference, margin: float, level: float) -> float:
    """The difference that is called ``higher`` with probability ``POWER`` at this scatter.

    It must pass the test at ``level``, and its interval must reach beyond the margin.
    """
    test = found.half_width(1 - level)
    beyond = margin - found.half_width(CONFIDENCE)
    return min(max(test, beyond) + found.quantile(POWER), 1.0)


def _seeds_needed(found: Difference, margin: float, level: float) -> float:
    counts = range(2, MOST_SEEDS + 1)
    place = bisect_left(
        counts, True, key=lambda n: _detectable(found.with_seeds(n), margin, level) <= margin
    )
    return counts[place] if place < len(counts) else math.nan


def _why(low: float, high: float, margin: float, needed: float, seeds: int) -> str:
    """What is in the way, and what it takes to see a difference of the margin."""
    more = "more test images" if math.isnan(needed) else f"{max(needed, seeds + 1):.0f} seeds"
    takes = f"{100 * margin:.3g} point{'s' if margin != MARGIN else ''} would take {more}"
    if low <= 0 <= high:
        return f"the interval includes 0; {takes}"
    return f"not significant among all pairs; {takes}"
