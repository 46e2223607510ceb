"""Verdicts of a gate: two stages of launches, and BASE measured against itself inside.

A launch is one start of three fork servers, for BASE, for HEAD, and for BASE again (the null),
and what their processes gave of a case. It is the unit of all intervals and tests: processes that
are forked from one server have something in common, by which equal code differs by a percent or
two for as long as the server lives, so that more processes of it say no more than a few.

The first stage screens all cases. What looks changed there is measured again, and the verdict is
from that second stage alone: since no sample that aroused the suspicion is used to confirm it,
its p-values hold however the suspects were chosen, and false discoveries are controlled
(Benjamini and Hochberg) over the suspects only. With equal code the chance that any case of a
gate is called ``slower`` is at most half of ``q``, times the chance that there is a suspect.

``slower`` needs a p-value that survives that, an interval above 1 and an estimate beyond the
threshold, all in the second stage; ``faster`` is the same from the other side; ``same`` needs
the whole interval within the threshold. Where BASE differs from itself by as much as that,
nothing is decided about the case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from paca_bench.analyse.blocks import Blocks, Shift, exchange_p, shift
from paca_bench.analyse.compare import CONFIDENCE, POWER, Change, Judgement, adjusted_p_values
from paca_bench.analyse.statistics import Estimate
from paca_bench.errors import SpecError
from paca_bench.units import significant

# Half of it is the chance of a false alarm in a gate that has suspects, as a noisy machine's has.
Q = 0.01
# Fewer decide nothing: of six launches the smallest p is 0.0014.
MIN_LAUNCHES = 6
# A change that screening rules out with this confidence is not looked for any longer.
DISMISSED = 0.99
# Screening suspects a case from this share of the threshold on, and so many errors from 1.
SUSPECT_SHARE = 0.5
SUSPECT_ERRORS = 1.5
# From so many errors on, beyond the threshold, it is suspected before screening ends.
CLEAR_ERRORS = 3.0
# The second stage's least and largest number. What the first says of the noise may be wrong by
# half, as where it comes in bursts; and a start of servers takes as long as many processes.
CONFIRMING_LAUNCHES, MOST_CONFIRMING_LAUNCHES = 8, 16
# An error below this share of the threshold is small enough.
PRECISE_SHARE = 0.125

Triple = tuple[float, float, float]
"""Seconds of BASE, of HEAD, of BASE again."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The launches of one case, in the order taken, each by what is typical of its blocks."""

    screening: Sequence[Triple]
    confirming: Sequence[Triple] = ()

    @property
    def deciding(self) -> Sequence[Triple]:
        """Those that the verdict is from."""
        return self.confirming if self.is_confirmed else self.screening

    @property
    def is_confirmed(self) -> bool:
        """True if there were enough launches of the second stage."""
        return len(self.confirming) >= MIN_LAUNCHES


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of one case.

    Attributes:
        judgement: as of a comparison; NEW is HEAD.
        null: BASE over itself, in logs, in the same launches.
        is_noisy: BASE differs from itself beyond the threshold.
        is_confirmed: the verdict is from the second stage.
        launches: how many it is from.
    """

    judgement: Judgement
    null: Shift
    is_noisy: bool
    is_confirmed: bool
    launches: int


def typical(blocks: Sequence[Triple]) -> Triple:
    """What a launch says of its arms: as far apart as their pairs are in the middle block.

    A block is three processes in a row, and what the machine does in the meantime is common to
    them: so the medians are of differences within blocks, a pair of arms at a time, and each
    arm's mean difference to all three is what it gets.
    """
    logs = np.log(np.asarray(blocks, dtype=float))
    apart = np.median(logs[:, :, None] - logs[:, None, :], axis=0)
    base, head, again = np.exp(np.median(logs.mean(axis=1)) + apart.mean(axis=1))
    return float(base), float(head), float(again)


def head_blocks(triples: Sequence[Triple]) -> Blocks:
    """HEAD against BASE, both processes of it."""
    values = np.asarray(triples, dtype=float)
    return Blocks(values[:, [0, 2]], values[:, [1]])


def null_blocks(triples: Sequence[Triple]) -> Blocks:
    """BASE against itself."""
    values = np.asarray(triples, dtype=float)
    return Blocks(values[:, [0]], values[:, [2]])


def is_fine(triples: Sequence[Triple], limit: float) -> bool:
    """True if screening has ruled out a change beyond ``limit`` (a logarithm), either way."""
    if len(triples) < MIN_LAUNCHES:
        return False
    return shift(head_blocks(triples), DISMISSED).within <= limit


def is_suspect(triples: Sequence[Triple], limit: float, *, at_end: bool) -> bool:
    """True if the case is to be measured again: clearly changed, or, at the end, perhaps."""
    if len(triples) < MIN_LAUNCHES:
        return False
    found = shift(head_blocks(triples))
    errors = abs(found.value) / found.error if found.error else math.inf
    if at_end:
        beyond = abs(found.value) > SUSPECT_SHARE * limit
        return beyond and errors > SUSPECT_ERRORS
    return abs(found.value) > limit and errors > CLEAR_ERRORS


def launches_to_confirm(triples: Sequence[Triple], limit: float) -> int:
    """Launches whose error would be small against what screening found, or against the limit.

    From the first stage alone, so that the second one's data do not decide how many they are.
    """
    found = shift(head_blocks(triples))
    wanted = max((abs(found.value) - limit) / 4, PRECISE_SHARE * limit, 1e-6)
    launches = math.ceil(len(triples) * (found.error / wanted) ** 2)
    return min(max(launches, CONFIRMING_LAUNCHES), MOST_CONFIRMING_LAUNCHES)


def is_steady(blocks: Sequence[Triple], limit: float) -> bool:
    """True if more blocks of the same launch would say little more.

    No arm is treated otherwise than the others, or exchanging them would not test anything.
    """
    if len(blocks) < 2:
        return False
    logs = np.log(np.asarray(blocks, dtype=float))
    apart = logs - logs.mean(axis=1, keepdims=True)
    rest = apart - apart.mean(axis=0)
    # Of one arm's difference to the mean of the other two.
    variance = 1.5 * float((rest**2).sum()) / (2 * (len(blocks) - 1))
    return math.sqrt(variance / len(blocks)) <= PRECISE_SHARE * limit


def judge(cases: Sequence[Stages], threshold: float, q: float = Q) -> list[Verdict]:
    """Judge all cases of a gate; each has at least two launches.

    Args:
        cases: the launches of each.
        threshold: the smallest relative change that matters (0.02: 2%).
        q: false discovery rate over the suspects, two-sided.

    Raises:
        SpecError: a threshold below 0, ``q`` outside 0 to 1, or fewer than two launches.
    """
    if not 0 <= threshold < math.inf:
        raise SpecError(f"a threshold must be 0 or more (0.02 is 2%), given: {threshold}")
    if not 0 < q < 1:
        raise SpecError(f"q must lie between 0 and 1 (such as {Q}), given: {q}")
    limit = math.log1p(threshold)
    ps = [exchange_p(head_blocks(case.deciding)) for case in cases]
    suspects = [i for i, case in enumerate(cases) if case.is_confirmed]
    adjusted = dict(zip(suspects, adjusted_p_values([ps[i] for i in suspects]), strict=True))
    # Of both stages: nothing was chosen by the null, and more launches see more.
    all_nulls = [null_blocks([*case.screening, *case.confirming]) for case in cases]
    nulls = [shift(null, CONFIDENCE) for null in all_nulls]
    null_ps = adjusted_p_values([exchange_p(null) for null in all_nulls])
    verdicts = []
    for i, case in enumerate(cases):
        is_noisy = null_ps[i] <= q and abs(nulls[i].value) > limit
        found = shift(head_blocks(case.deciding), CONFIDENCE)
        change, reason = _change(case, found, adjusted.get(i), nulls[i], is_noisy, limit, q)
        judgement = Judgement(
            change,
            _estimate(case, found),
            ps[i],
            adjusted.get(i),
            math.expm1(_detectable(found, limit, q / len(cases))),
            reason,
        )
        verdicts.append(
            Verdict(judgement, nulls[i], is_noisy, case.is_confirmed, len(case.deciding))
        )
    return verdicts


def _change(
    case: Stages,
    found: Shift,
    adjusted_p: float | None,
    null: Shift,
    is_noisy: bool,
    limit: float,
    q: float,
) -> tuple[Change, str]:
    text = f"{100 * math.expm1(limit):.3g}%"
    if is_noisy:
        return Change.INCONCLUSIVE, (
            f"noisy: BASE against itself gives {_ratio(null)} in the same launches, beyond the "
            f"threshold of {text}; measure on a quieter machine, see paca-bench doctor"
        )
    if len(case.deciding) < MIN_LAUNCHES:
        return Change.INCONCLUSIVE, (
            f"the budget was enough for {len(case.deciding)} launches, {MIN_LAUNCHES} are the "
            f"fewest that decide; raise --budget"
        )
    significant_change = adjusted_p is not None and adjusted_p <= q
    if significant_change and found.low > 0 and found.value > limit:
        return Change.SLOWER, ""
    if significant_change and found.high < 0 and found.value < -limit:
        return Change.FASTER, ""
    if found.within <= limit:
        return Change.SAME, ""
    if significant_change and abs(found.value) <= limit:
        return Change.INCONCLUSIVE, f"the change is real but its interval reaches beyond {text}"
    if case.is_confirmed:
        first = _ratio(shift(head_blocks(case.screening), CONFIDENCE))
        return Change.INCONCLUSIVE, (
            f"screening gave {first}, which the second stage did not confirm"
        )
    if is_suspect(case.screening, limit, at_end=True):
        return Change.INCONCLUSIVE, (
            "it looks changed, but no budget was left to confirm it; raise --budget"
        )
    return Change.INCONCLUSIVE, (
        f"the interval reaches beyond the threshold of {text}; raise --budget"
    )


def _ratio(found: Shift) -> str:
    ends = ", ".join(significant(math.exp(end), 4) for end in (found.low, found.high))
    return f"{significant(math.exp(found.value), 4)} [{ends}]"


def _estimate(case: Stages, found: Shift) -> Estimate:
    launches = len(case.deciding)
    stage = "second" if case.is_confirmed else "first"
    return Estimate(
        value=math.exp(found.value),
        low=math.exp(found.low),
        high=math.exp(found.high),
        method=f"{CONFIDENCE:.0%} Huber shift over {launches} launches of the {stage} stage",
        units=3 * launches,
        samples=3 * launches,
    )


def _detectable(found: Shift, limit: float, level: float) -> float:
    """The log ratio that launches of this spread call ``slower`` with probability ``POWER``."""
    test = float(special.ndtri(1 - level / 2)) * found.error
    return max(test, limit) + float(special.ndtri(POWER)) * found.error
