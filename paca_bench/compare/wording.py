"""A comparison in words: the headline, the sentences under it, and the cells of its tables."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator

from paca_bench.analyse.compare import POWER, Change, Judgement
from paca_bench.analyse.wording import cases, listed, ratio_text
from paca_bench.compare.comparison import (
    CLEAN,
    NOTHING,
    REGRESSION,
    CasePair,
    Comparison,
    StaticPair,
)
from paca_bench.compare.rules import LATENCY
from paca_bench.units import format_bytes, format_count, format_percent, significant

# From this many cases on a shift that all have in common is no chance.
_FEWEST_FOR_SHIFT = 4
_MOST_NAMED = 5


def headline(comparison: Comparison) -> str:
    """The verdict in one line."""
    code = comparison.exit_code
    if code == REGRESSION:
        return f"Regression: {listed(list(_regressions(comparison)))}."
    if code == NOTHING:
        return f"Could not be compared: {'; '.join(_obstacles(comparison))}."
    if code == CLEAN:
        still_open = "; ".join(_open(comparison))
        found = f"No regression found in {cases(len(comparison.cases))}"
        return f"{found}; {still_open}." if still_open else f"{found}."
    return f"Undecided: {'; '.join(_open(comparison))}."


def sentences(comparison: Comparison) -> list[str]:
    """What stands behind the headline: how many of what, what could have been seen, notes."""
    return [
        *_latency_sentences(comparison),
        *_static_sentences(comparison),
        *_coverage(comparison),
        *comparison.base.notes,
        *(note for note in comparison.new.notes if note not in comparison.base.notes),
    ]


def _regressions(comparison: Comparison) -> Iterator[str]:
    if comparison.slower:
        count, judged = len(comparison.slower), len(comparison.judged)
        yield f"{count} of {cases(judged)} slower"
    names = Counter(static.name for _, static in comparison.static_regressions)
    for name, count in names.items():
        rule = comparison.rules[name]
        yield f"{name.replace('_', ' ')} of {cases(count)} against the rule {rule}"


def _obstacles(comparison: Comparison) -> Iterator[str]:
    if not comparison.cases:
        yield (
            f"the sides have no case in common ({cases(len(comparison.only_base))} in BASE, such "
            f"as {comparison.only_base[0]}, and {cases(len(comparison.only_new))} in NEW, such "
            f"as {comparison.only_new[0]})"
        )
        return
    for case in comparison.broken[:_MOST_NAMED]:
        yield f"{case.id}: {', '.join(case.broken)}"
    if len(comparison.broken) > _MOST_NAMED:
        yield f"and {cases(len(comparison.broken) - _MOST_NAMED)} more that broke on one side"
    if comparison.refused and LATENCY in comparison.rules:
        yield (
            f"latency of {cases(len(comparison.refused))} was measured under other conditions "
            f"({', '.join(different(comparison))}); measure both sides alike, or add "
            f"--allow-different"
        )
    elif not comparison.compared and not comparison.broken:
        names = listed([name.replace("_", " ") for name in comparison.rules])
        yield f"no case has {names} on both sides"


def _open(comparison: Comparison) -> Iterator[str]:
    if count := comparison.count(Change.INCONCLUSIVE):
        yield f"latency of {cases(count)} is inconclusive"
    if comparison.only_base:
        yield f"{cases(len(comparison.only_base))} of BASE not in NEW"
    if lost := _lost(comparison):
        yield f"{lost} in BASE and not in NEW"


def different(comparison: Comparison) -> list[str]:
    """Every condition that differs between the timed cases, once."""
    timed = (case for case in comparison.cases if case.is_refused or case.judgement)
    return list(dict.fromkeys(str(d) for case in timed for d in case.differences))


def _latency_sentences(comparison: Comparison) -> Iterator[str]:
    judged = comparison.judged
    if not judged:
        if not comparison.refused:
            yield "Latency was not compared: no case was timed on both sides."
        return
    counts = ", ".join(f"{comparison.count(change)} {change}" for change in Change)
    threshold = comparison.rules.get(LATENCY)
    limit = f"the limit is {threshold}" if threshold else "no rule is about it"
    over = (
        ("launches of fresh servers", "suspects")
        if comparison.interleaved
        else ("processes", "all cases")
    )
    yield (
        f"Latency of {cases(len(judged))}: {counts}; {limit}. Ratios are NEW / BASE with a 95% "
        f"interval over {over[0]}; false discoveries over {over[1]} are held to "
        f"{format_percent(comparison.q)} (Benjamini-Hochberg)."
    )
    if comparison.detectable:
        middle, largest = comparison.detectable
        yield (
            f"Smallest slowdown that would have been found, with a probability of {POWER:.0%}: "
            f"{significant(100 * middle)}% in the middle case, {significant(100 * largest)}% in "
            f"the least certain one."
        )
    if not comparison.interleaved and (moved := _common_shift(judged)):
        yield moved
    if comparison.allow_different and (found := different(comparison)):
        yield f"Not the same on both sides: {', '.join(found)}; the ratios include that."


def _common_shift(judged: list[tuple[CasePair, Judgement]]) -> str:
    """A doubt: where every case moved the same way, the machine may have."""
    ratios = [judgement.ratio.value for _, judgement in judged]
    middle = statistics.median(ratios)
    together = all(r > 1 for r in ratios) or all(r < 1 for r in ratios)
    if len(ratios) < _FEWEST_FOR_SHIFT or not together or abs(middle - 1) < 0.01:
        return ""
    way = "slower" if middle > 1 else "faster"
    return (
        f"All {len(ratios)} cases moved the same way (median ratio {significant(middle, 4)}): "
        f"unless the code changed for all of them, NEW met a {way} machine than BASE; "
        f"measure the two side by side, in turns."
    )


def _static_sentences(comparison: Comparison) -> Iterator[str]:
    pairs = [static for case in comparison.cases for static in case.statics]
    if not pairs:
        yield "No deterministic metric (macs, params, predicted memory) is on both sides."
        return
    compared = Counter(static.name for static in pairs)
    changed = Counter(static.name for static in pairs if static.is_changed)
    if not changed:
        names = listed([name.replace("_", " ") for name in compared])
        yield f"Exactly equal wherever both sides have them: {names}."
        return
    parts = [f"{n.replace('_', ' ')} in {changed[n]} of {compared[n]}" for n in changed]
    yield f"Changed, exactly: {', '.join(parts)}."


def _lost(comparison: Comparison) -> str:
    """``latency of 2 cases and macs of 1 case``: what BASE has and NEW has not."""
    names = Counter(name for case in comparison.cases for name in case.lost)
    return listed([f"{n.replace('_', ' ')} of {cases(count)}" for n, count in names.items()])


def _coverage(comparison: Comparison) -> Iterator[str]:
    if lost := _lost(comparison):
        yield f"In BASE and not in NEW: {lost}."
    for ids, here, there in (
        (comparison.only_base, "BASE", "NEW"),
        (comparison.only_new, "NEW", "BASE"),
    ):
        if ids:
            more = ", ..." if len(ids) > _MOST_NAMED else ""
            yield (
                f"In {here} and not in {there}: {cases(len(ids))} "
                f"({', '.join(ids[:_MOST_NAMED])}{more})."
            )


def static_text(static: StaticPair, value: float) -> str:
    """A value with its unit; exact where rounding would hide the change."""
    is_bytes = static.metric.endswith("_bytes")
    short = format_bytes if is_bytes else format_count
    if static.is_changed and short(static.base) == short(static.new):
        return f"{value:,}" + (" B" if is_bytes else "")
    return short(value)


def change_text(static: StaticPair) -> str:
    """``+1.2%``; the difference itself where it is smaller than a hundredth of a percent."""
    if static.relative is None or 0 < abs(static.relative) < 1e-4:
        return f"{static.new - static.base:+,}"
    return f"{100 * static.relative:+.2f}%"


def static_row(case: CasePair, static: StaticPair, regression: str) -> list[str]:
    """Case, metric, both values, the change, and ``regression`` or "changed"."""
    return [
        case.id,
        static.name.replace("_", " "),
        static_text(static, static.base),
        static_text(static, static.new),
        change_text(static),
        regression if static.is_regression else "changed",
    ]


def latency_text(case: CasePair) -> str:
    """``1.08 [1.06, 1.10]``, or why there is none."""
    if case.judgement:
        return ratio_text(case.judgement.ratio)
    if case.is_refused:
        return "refused"
    return "-"


def detectable_text(judgement: Judgement | None) -> str:
    """The smallest slowdown that would have been found."""
    if judgement is None or judgement.detectable is None:
        return "-"
    return f"{significant(100 * judgement.detectable, 2)}%"


def note(case: CasePair) -> str:
    """What else there is to say of a case."""
    parts = list(case.broken)
    parts += [str(difference) for difference in case.differences]
    if case.judgement and case.judgement.reason:
        parts.append(case.judgement.reason)
    return "; ".join(parts)
