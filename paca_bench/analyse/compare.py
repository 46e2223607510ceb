"""Two sides of the same cases: which got slower, which did not, and what could have been seen.

The unit is the process, the scale is the logarithm. Three things must hold before a case is
called ``slower``, so that of a hundred comparisons of equal code at most one says so of any
of its cases:

1. the difference is significant by Welch's t on the process medians, after Benjamini and
   Hochberg ("Controlling the False Discovery Rate", 1995) over all cases. Where nothing
   changed, the chance that any case is rejected is ``q``, and half of it is on the slow side:
   hence ``Q = 0.02``;
2. two-state processes could not have done it by chance: a process as a whole may fall into a
   fast or a slow state (memory layout, page faults), which a t test of few processes takes
   for a change when the sides happen to have different shares of them. The largest chance of
   that (``state_chance``) is added to the p-value;
3. the estimate itself exceeds the practical threshold.

``same`` is shown, not assumed: the whole interval lies within the threshold either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from paca_bench.analyse.statistics import (
    Estimate,
    LogMean,
    Processes,
    log_mean,
    ratio_estimate,
    student,
)
from paca_bench.errors import SpecError

CONFIDENCE = 0.95
Q = 0.02
POWER = 0.8
# States of processes have been seen 37% apart at most; a change beyond this is no state.
STATE_GAP = 0.5
_LOG_GAP = math.log1p(STATE_GAP)
# Probabilities of the slow state over which the largest chance is looked for.
_STATE_SHARES = tuple(float(p) for p in np.linspace(0.02, 0.5, 49))

Pair = tuple[Processes, Processes]


class Change(StrEnum):
    """What is known of one case."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"

    @property
    def swapped(self) -> Change:
        """The same, seen from the other side."""
        return {Change.FASTER: Change.SLOWER, Change.SLOWER: Change.FASTER}.get(self, self)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One case's latency, NEW over BASE.

    Attributes:
        change: the verdict.
        ratio: NEW / BASE with its interval; does not depend on other cases.
        p: of no difference; None where a side is a single process.
        adjusted_p: Benjamini and Hochberg's, over all cases judged together.
        detectable: the smallest slowdown (0.05: 5%) that would have been called ``slower``
            with a probability of 80%, had it been the only one; None where ``p`` is.
        reason: why it is inconclusive; empty otherwise.
    """

    change: Change
    ratio: Estimate
    p: float | None = None
    adjusted_p: float | None = None
    detectable: float | None = None
    reason: str = ""


def judge(pairs: Sequence[Pair], threshold: float, q: float = Q) -> list[Judgement]:
    """Judge all cases of a comparison together.

    Args:
        pairs: for each case the samples of BASE and of NEW, a list per process.
        threshold: the smallest relative change that matters (0.05: 5%).
        q: false discovery rate, two-sided.

    Raises:
        SpecError: a threshold below 0, ``q`` outside 0 to 1, or as ``latency_estimate``.
    """
    if not 0 <= threshold < math.inf:
        raise SpecError(f"a threshold must be 0 or more (0.05 is 5%), given: {threshold}")
    if not 0 < q < 1:
        raise SpecError(f"q must lie between 0 and 1 (such as {Q}), given: {q}")
    cases = [_Case.of(base, new) for base, new in pairs]
    ps = [case.p for case in cases if case.p is not None]
    adjusted = iter(adjusted_p_values(ps))
    found = [None if case.p is None else next(adjusted) for case in cases]
    return [
        _judgement(case, adjusted_p, math.log1p(threshold), q, len(ps))
        for case, adjusted_p in zip(cases, found, strict=True)
    ]


def adjusted_p_values(ps: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's: rejecting those up to q keeps false discoveries below q."""
    count = len(ps)
    if not count:
        return []
    order = np.argsort(ps)
    scaled = np.asarray(ps, dtype=float)[order] * count / np.arange(1, count + 1)
    lowest = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(lowest, 1.0)
    return [float(p) for p in adjusted]


def state_chance(base: Sequence[float], new: Sequence[float]) -> float:
    """The largest chance that two-state processes of equal code look as different as these.

    The two sides are ``D`` apart, the largest difference of their shares above any value
    (Kolmogorov and Smirnov's statistic). Were every process slow with probability p, the
    same on both sides, the shares of slow ones would be binomial; this is the largest
    probability over p that they differ by ``D`` or more (Barnard's test, 1945). Fully
    separated sides have 0.031 of 3 and 3 processes, 0.002 of 5 and 5.
    """
    n, m = len(base), len(new)
    values = np.concatenate([base, new])
    # Steps of a whole number each, so that n and m processes never round: D = steps / (n m).
    steps = np.concatenate([np.full(n, m), np.full(m, -n)])
    order = np.argsort(values, kind="stable")
    last_of_ties = np.append(np.diff(values[order]) > 0, True)
    apart = int(np.abs(np.cumsum(steps[order])[last_of_ties]).max())
    return _shares_apart(min(n, m), max(n, m), apart)


@lru_cache(maxsize=4096)
def _shares_apart(n: int, m: int, apart: int) -> float:
    """Largest P(|X/n - Y/m| >= apart/(n m)) over p, of binomial X and Y with the same p."""
    x, y = np.arange(n + 1), np.arange(m + 1)
    beyond = np.abs(x[:, None] * m - y[None, :] * n) >= apart
    # P(p) = P(1 - p): the shares of fast ones differ by as much.
    chances = [_binomial(x, n, p) @ beyond @ _binomial(y, m, p) for p in _STATE_SHARES]
    return min(float(max(chances)), 1.0)


def _binomial(k: NDArray[np.int_], n: int, p: float) -> NDArray[np.float64]:
    chances: NDArray[np.float64] = special.comb(n, k) * p**k * (1 - p) ** (n - k)
    return chances


def processes_needed(cases: int, q: float = Q) -> int:
    """Processes a side from which on one change among ``cases`` can be told from two states."""
    count = 2
    while _shares_apart(count, count, count * count) * cases > q / 2:
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class _Case:
    """One case's ratio, on both scales. In logs, swapping the sides changes signs only."""

    ratio: Estimate
    counts: tuple[int, int]
    log_value: float
    difference: LogMean | None
    states: float

    @classmethod
    def of(cls, base: Processes, new: Processes) -> _Case:
        ratio = ratio_estimate(new, base, CONFIDENCE)
        bottom, top = _medians(base), _medians(new)
        difference = None
        if min(len(bottom), len(top)) > 1:
            difference = log_mean(top).minus(log_mean(bottom))
        value = math.log(np.median(top)) - math.log(np.median(bottom))
        states = 0.0 if abs(value) > _LOG_GAP else state_chance(bottom, top)
        return cls(ratio, (len(base), len(new)), value, difference, states)

    @property
    def p(self) -> float | None:
        """Two-sided, of no difference: by chance of the noise, or of the states (a sum)."""
        if self.difference is None:
            return None
        return min(_welch_p(self.difference) + self.states, 1.0)

    def ends(self, difference: LogMean) -> tuple[float, float]:
        """The interval of the log ratio, as ``ratio`` has it."""
        half = student(CONFIDENCE, difference.freedom) * difference.error
        low, high = difference.value - half, difference.value + half
        return min(low, self.log_value), max(high, self.log_value)


def _medians(processes: Processes) -> list[float]:
    return [float(np.median(process)) for process in processes]


def _welch_p(difference: LogMean) -> float:
    if difference.error == 0:
        return 1.0 if difference.value == 0 else 0.0
    statistic = -abs(difference.value) / difference.error
    return 2 * float(special.stdtr(difference.freedom, statistic))


def _judgement(
    case: _Case, adjusted_p: float | None, limit: float, q: float, family: int
) -> Judgement:
    """``limit`` is the threshold as a logarithm; ``family`` cases are judged together."""
    if case.difference is None or adjusted_p is None:
        return Judgement(Change.INCONCLUSIVE, case.ratio, reason=_single(case.counts))
    low, high = case.ends(case.difference)
    significant = adjusted_p <= q
    detectable = math.expm1(_log_detectable(case, case.difference, limit, q / family))
    if significant and low > 0 and case.log_value > limit:
        change, reason = Change.SLOWER, ""
    elif significant and high < 0 and case.log_value < -limit:
        change, reason = Change.FASTER, ""
    elif -limit <= low and high <= limit:
        change, reason = Change.SAME, ""
    else:
        change = Change.INCONCLUSIVE
        reason = _why(case, low, high, limit, significant, q, family)
    return Judgement(change, case.ratio, case.p, adjusted_p, detectable, reason)


def _log_detectable(case: _Case, difference: LogMean, limit: float, level: float) -> float:
    """The log ratio that ends as ``slower`` with probability ``POWER``, ``level`` its test's.

    It must pass the t test and the limit with that probability, and be so large that sides of
    normal noise are far enough apart to be no mixture of states.
    """
    # The estimate is a ratio of medians, which scatter more than the means of the error.
    spread = math.sqrt(math.pi / 2) * difference.error
    margin = float(special.stdtrit(difference.freedom, POWER)) * spread
    n, m = sorted(case.counts)
    chance = _shares_apart(n, m, n * m)
    if chance >= level:
        return max(limit, _LOG_GAP) + margin
    test = student(1 - (level - chance), difference.freedom) * difference.error
    # The least distance that states do not explain at half of the level.
    apart = next((d for d in range(n * m) if _shares_apart(n, m, d) <= level / 2), n * m)
    share = min(apart, n * m - n / 2) / (n * m)
    noise = difference.error / math.sqrt(1 / n + 1 / m)
    # Two normal distributions are D = 2 Phi(shift / 2 sd) - 1 apart.
    separated = 2 * noise * float(special.ndtri((1 + share) / 2))
    return min(max(test, limit, separated), max(limit, _LOG_GAP)) + margin


def _single(counts: tuple[int, int]) -> str:
    if counts == (1, 1):
        which = "each side is a single process"
    else:
        which = ("BASE" if counts[0] == 1 else "NEW") + " is a single process"
    return (
        f"{which}, so how processes differ is unknown and the interval covers noise within a "
        f"process only; measure several, at least {processes_needed(1)} a side"
    )


def _why(
    case: _Case, low: float, high: float, limit: float, significant: bool, q: float, family: int
) -> str:
    text = f"{100 * math.expm1(limit):.3g}%"
    if abs(case.log_value) <= limit:
        beyond = f"the interval reaches beyond the threshold of {text}"
        return f"the change is real but small: {beyond}" if significant else beyond
    if low <= 0 <= high:
        return "the interval includes 1"
    if case.states * family > q:
        a, b = case.counts
        more = max(processes_needed(family, q), min(a, b) + 1)
        return (
            f"{a} and {b} processes may have fallen into a fast and a slow state by chance; "
            f"measure {more} a side"
        )
    return f"not significant once false discoveries over {family} cases are controlled (q = {q:g})"
