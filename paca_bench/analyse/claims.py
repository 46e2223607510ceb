"""Whether the claim "linear in N" holds in the range that was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from paca_bench.analyse.laws import FEWEST_COUNTS, Law
from paca_bench.analyse.statistics import Estimate

# 2**1.1 = 2.14: twice the tokens cost at most 7% more than twice.
TOLERANCE = 0.1


class Claim(StrEnum):
    """What a measurement says about a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True)
class LinearClaim:
    """The verdict on "linear", and what it rests on.

    Attributes:
        verdict: holds, does not hold, or not shown.
        exponent: the growth exponent at ``tokens``, with its interval; None without a law.
        tokens: the largest token count measured; NaN without a law.
        reason: in words.
    """

    verdict: Claim
    exponent: Estimate | None
    tokens: float
    reason: str


def linear_claim(law: Law | None, tolerance: float = TOLERANCE) -> LinearClaim:
    """Judge the claim that a cost grows linearly, at the largest token count measured.

    What counts is the growth exponent there (``Law.growth_exponent_at``): the local exponent
    of what the cost is made of besides a constant, so that neither can a fixed cost pass
    quadratic growth off as linear, nor does it speak against linear growth above it.

    * holds: the whole interval lies at or below 1 + ``tolerance``;
    * does not hold: the whole interval lies above it;
    * not shown: the interval contains it, no growth was seen at all, or there are too few
      token counts for a law.

    This is about the measured range. A term too small to be seen there may rule beyond it.
    """
    if law is None:
        reason = f"fewer than {FEWEST_COUNTS} token counts measured"
        return LinearClaim(Claim.NOT_SHOWN, None, math.nan, reason)
    exponent = law.growth_exponent_at(law.tokens_max)
    limit = 1 + tolerance

    def judged(verdict: Claim, reason: str) -> LinearClaim:
        return LinearClaim(verdict, exponent, law.tokens_max, reason)

    if law.kind == "constant":
        return judged(Claim.NOT_SHOWN, "no growth to be seen in the measured range")
    if exponent.high <= limit:
        return judged(Claim.HOLDS, f"the interval lies within {limit:.3g}")
    if exponent.low > limit:
        return judged(Claim.FAILS, f"the interval lies above {limit:.3g}")
    return judged(Claim.NOT_SHOWN, f"the interval contains {limit:.3g}")
