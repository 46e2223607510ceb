"""A share of independent trials, with its interval."""

from __future__ import annotations

import math

from scipy import special

from paca_bench.analyse.statistics import Estimate, check_confidence
from paca_bench.errors import SpecError


def proportion_estimate(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """``successes / trials`` with the Wilson score interval.

    The interval inverts the score test, and so holds its level near 0 and 1 too, where an
    accuracy may lie (Wilson, JASA 1927; Brown, Cai and DasGupta, Statistical Science 2001).

    Raises:
        SpecError: no trial, successes that are negative or more than the trials, or a
            confidence outside 0 to 1.
    """
    check_confidence(confidence)
    if not 0 <= successes <= trials or trials < 1:
        raise SpecError(f"a share needs 0 to n successes of n trials, not {successes} of {trials}")
    z2 = float(special.ndtri((1 + confidence) / 2)) ** 2
    share, shrink = successes / trials, 1 + z2 / trials
    centre = (share + z2 / (2 * trials)) / shrink
    half = math.sqrt(z2 * share * (1 - share) / trials + (z2 / (2 * trials)) ** 2) / shrink
    how = f"{confidence:.0%} Wilson interval over {trials} images"
    # Exactly 0 and 1 at the ends, where rounding would leave the share itself outside.
    low, high = min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)
    return Estimate(share, low, high, how, trials, trials)
