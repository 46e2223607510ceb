"""A share of independent trials, with its interval."""

from __future__ import annotations

from paca_bench.analyse.statistics import Estimate, check_confidence, wilson_interval
from paca_bench.errors import SpecError


def proportion_estimate(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """``successes / trials`` with the Wilson score interval.

    Raises:
        SpecError: no trial, successes that are negative or more than the trials, or a
            confidence outside 0 to 1.
    """
    check_confidence(confidence)
    if not 0 <= successes <= trials or trials < 1:
        raise SpecError(f"a share needs 0 to n successes of n trials, not {successes} of {trials}")
    low, high = wilson_interval(successes, trials, confidence)
    how = f"{confidence:.0%} Wilson interval over {trials} images"
    return Estimate(successes / trials, low, high, how, trials, trials)
