"""How much slower HEAD is than BASE, from blocks: both, measured side by side.

A block of a gate is a launch, by what is typical of the processes of each of its servers.

What disturbs a machine for seconds (a neighbour, a clock) hits all processes of a block alike,
so only differences within a block are used. A process as a whole may also be slow for reasons
that no counter shows, now and then by as much as half; so the shift is Huber's M-estimate
("Robust Estimation of a Location Parameter", 1964) over the differences of log latencies of
all pairs within a block, cut off at their spread, which is taken from the closest quarter of
them (Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993).

The test needs no law of the noise. The order within a block was drawn at random, of servers as of
processes, so with equal code each could as well have been HEAD's: p is the share of such exchanges
that would have looked as different (Fisher's randomization test). States of processes, drift
and outliers change its power, not its false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from paca_bench.errors import SpecError

Logs = NDArray[np.float64]

# Exchanges that are drawn: the smallest p is one in so many.
EXCHANGES = 1 << 15
# The 25% quantile of |d| where d is normal with a standard deviation of 1.
_QUARTER = float(special.ndtri(0.625))
# Differences count in full up to so many of their standard deviations.
_CUT = 1.0
# Of latencies without any noise the spread is 0; signs of differences still count.
_LEAST_CUT = 1e-9
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Blocks:
    """One case's latencies in seconds: a row per block, a column per process of it.

    ``base`` is [n, b] and ``head`` [n, h]; one of ``b`` and ``h`` is 1.
    """

    base: NDArray[np.float64]
    head: NDArray[np.float64]

    def __post_init__(self) -> None:
        both = (self.base, self.head)
        if any(x.ndim != 2 for x in both) or len(self.base) != len(self.head):
            raise SpecError("blocks must have a row each of BASE and of HEAD")
        if 1 not in (self.base.shape[1], self.head.shape[1]):
            raise SpecError("one side of a block must be a single process")
        if not all(np.all(np.isfinite(x) & (x > 0)) for x in both):
            raise SpecError("latencies must be positive and finite; measure again")

    def __len__(self) -> int:
        return len(self.base)

    @property
    def swapped(self) -> Blocks:
        """BASE as HEAD, and HEAD as BASE."""
        return Blocks(self.head, self.base)


@dataclass(frozen=True, slots=True)
class Shift:
    """The logarithm of HEAD / BASE with its interval; ``error`` is its standard error."""

    value: float
    low: float
    high: float
    error: float

    @property
    def within(self) -> float:
        """The largest shift, either way, that the interval allows."""
        return max(abs(self.low), abs(self.high))


def shift(blocks: Blocks, confidence: float = 0.95) -> Shift:
    """The shift between the sides, from at least two blocks.

    The interval is where the score lies within Student's t of its standard error, with one
    degree of freedom less than there are blocks. Swapping the sides changes signs only.
    """
    if len(blocks) < 2:
        raise SpecError(f"a shift needs two blocks or more, given: {len(blocks)}")
    apart = _apart(blocks)
    middle = float(np.median(apart))
    cut = _cut(_pairs(_logs(blocks, middle)))

    def score(value: float) -> float:
        return float(np.clip(apart - value, -cut, cut).sum())

    low, high = float(apart.min()) - cut, float(apart.max()) + cut
    value = (_where(score, 0.0, low, high, strict=True) + _where(score, 0.0, low, high)) / 2
    spread = math.sqrt(_variance(_scores(_logs(blocks, value), cut)))
    freedom = len(blocks) - 1
    quantile = float(special.stdtrit(freedom, (1 + confidence) / 2))
    left = _where(score, quantile * spread, low, high, strict=True)
    right = _where(score, -quantile * spread, low, high)
    return Shift(value, min(left, value), max(right, value), (right - left) / 2 / quantile)


def exchange_p(blocks: Blocks) -> float:
    """Two-sided p of equal code, by exchanging the processes of each block at random.

    The draws are the same for the same number of blocks, whatever other cases there are.
    """
    scores = _scores(_logs(blocks, 0.0), _cut(_pairs(_logs(blocks, 0.0))))
    n, k = scores.shape
    found = abs(float(_total(scores, blocks)))
    rng = np.random.default_rng(n)
    totals = np.zeros(EXCHANGES)
    # In an order that does not depend on which side is called BASE.
    for row in np.sort(scores, axis=1):
        totals += row[rng.integers(0, k, EXCHANGES)]
    # Sums in another order differ in their last digits.
    as_far = np.count_nonzero(np.abs(totals) >= found * (1 - 1e-9) - 1e-15)
    return (1 + int(as_far)) / (1 + EXCHANGES)


def _logs(blocks: Blocks, value: float) -> Logs:
    """Logs of all latencies, [n, b + h], HEAD's less ``value``."""
    return np.hstack([np.log(blocks.base), np.log(blocks.head) - value])


def _apart(blocks: Blocks) -> Logs:
    """HEAD less BASE of every pair within a block, [n, b * h], in logs."""
    apart = np.log(blocks.head)[:, None, :] - np.log(blocks.base)[:, :, None]
    return apart.reshape(len(blocks), -1)


def _pairs(logs: Logs) -> Logs:
    """How far apart the processes of a block are, every pair of them."""
    first, second = np.triu_indices(logs.shape[1], 1)
    return np.abs(logs[:, first] - logs[:, second])


def _cut(pairs: Logs) -> float:
    """Where differences are cut off; no exchange within a block changes it."""
    return max(_CUT * float(np.quantile(pairs, 0.25)) / _QUARTER, _LEAST_CUT)


def _scores(logs: Logs, cut: float) -> Logs:
    """For each process the sum of its cut differences to the others of its block; rows add to 0."""
    apart: Logs = np.clip(logs[:, :, None] - logs[:, None, :], -cut, cut)
    return np.asarray(apart.sum(axis=2))


def _total(scores: Logs, blocks: Blocks) -> float:
    """The score of HEAD's processes: differences between them cancel."""
    return float(scores[:, blocks.base.shape[1] :].sum())


def _variance(scores: Logs) -> float:
    """Of ``_total`` over all exchanges: one process of each row is drawn, or all but one."""
    return float((scores**2).mean(axis=1).sum())


def _where(
    score: Callable[[float], float], target: float, low: float, high: float, strict: bool = False
) -> float:
    """Where a falling ``score`` reaches ``target``: the first such place if ``strict``."""
    # Rounding of a sum must not decide which side of a level stretch is found.
    slack = 1e-12 * (1 + abs(target))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        value = score(middle)
        if value > target + slack or (not strict and value >= target - slack):
            low = middle
        else:
            high = middle
    return (low + high) / 2
