"""Numbers with intervals, and lists, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paca_bench.analyse.statistics import Estimate
from paca_bench.units import significant

# Of one list in a sentence; the tables have all.
MOST_LISTED = 12


def interval(text: Callable[[float], str], value: float, low: float, high: float) -> str:
    """``1.23 ms [1.20 ms, 1.26 ms]``."""
    return f"{text(value)} [{text(low)}, {text(high)}]"


def ratio_text(ratio: Estimate) -> str:
    """``2.13 [2.05, 2.20]``; with one digit more where it is close to 1, and precise."""
    close = ratio.low < 1.1 and ratio.high > 0.9 and ratio.high - ratio.low < 0.05
    digits = 4 if close else 3
    return interval(lambda v: significant(v, digits), ratio.value, ratio.low, ratio.high)


def probability_text(probability: float) -> str:
    """``97%``; ``<1%`` and ``>99%`` where a share of draws tells no more."""
    if probability < 0.01:
        return "<1%"
    return ">99%" if probability > 0.99 else f"{probability:.0%}"


def points(fraction: float) -> str:
    """A difference of accuracies: ``+1.2``, in points."""
    # Adding zero makes -0.0 positive.
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; of many the first few, and how many more."""
    items = shortened(items)
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def cases(count: int) -> str:
    """``1 case``, ``2 cases``."""
    return f"{count} case" if count == 1 else f"{count} cases"


def shortened(items: Sequence[str]) -> list[str]:
    """The items, or of more than can be read in a sentence the first few and ``88 more``."""
    if len(items) <= MOST_LISTED:
        return list(items)
    kept = MOST_LISTED - 1
    return [*items[:kept], f"{len(items) - kept} more"]
