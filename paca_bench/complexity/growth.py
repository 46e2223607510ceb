"""How the closed form of a host or model grows: the degree of each stage, and which one wins.

No torch: everything follows from the closed form, at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from paca_bench.axes import MAX_RESOLUTION, RESOLUTION_STEP
from paca_bench.complexity.cost import CostSum
from paca_bench.errors import UnsupportedError

DEGREE_WORDS = {0: "constant", 1: "linear", 2: "quadratic"}
# Twice the largest resolution that a sweep takes: what matters beyond is nobody's image.
_SEARCHED_TO = 2 * MAX_RESOLUTION

CostAt = Callable[[int], CostSum]


@dataclass(frozen=True, slots=True)
class StageGrowth:
    """One stage of a closed form.

    Attributes:
        stage: the first part of its labels: ``stem``, ``stage1``, ...
        macs: multiply-accumulates at the resolution looked at.
        share: of all, there.
        degree: the highest power of the number of tokens in its closed form.
        degree_share: the part of its multiply-accumulates, there, that grows so.
        exponent: its local exponent there.
    """

    stage: str
    macs: int
    share: float
    degree: int
    degree_share: float
    exponent: float


@dataclass(frozen=True, slots=True)
class Growth:
    """All stages with work, and the one that outgrows the others.

    Attributes:
        stages: in the order of the model.
        resolution: side in pixels that the shares and exponents are of.
        winner: the only stage of the highest degree; None where there are several, whose
            order resolution does not change for good.
        dominates_from: smallest multiple of 32 pixels from which the winner costs more than
            all the rest together; None where it does not within twice the largest resolution
            of a sweep.
        largest_from: likewise, from which it costs more than any other stage.
    """

    stages: tuple[StageGrowth, ...]
    resolution: int
    winner: str | None = None
    dominates_from: int | None = None
    largest_from: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "stages": [asdict(stage) for stage in self.stages]}

    @property
    def degree(self) -> int:
        """Of the whole."""
        return max(stage.degree for stage in self.stages)


def growth(cost_at: CostAt, resolution: int) -> Growth:
    """How a closed form grows with the side of a square image.

    Args:
        cost_at: side in pixels -> the closed form.
        resolution: side to give shares and exponents at.
    """
    stages = stage_growths(cost_at(resolution))
    highest = max(stage.degree for stage in stages)
    of_highest = [stage.stage for stage in stages if stage.degree == highest]
    if len(of_highest) != 1:
        return Growth(stages, resolution)
    winner = of_highest[0]
    return Growth(
        stages,
        resolution,
        winner,
        _from_side(cost_at, winner, lambda own, others: own > sum(others)),
        _from_side(cost_at, winner, lambda own, others: own > max(others)),
    )


def stage_growths(cost: CostSum) -> tuple[StageGrowth, ...]:
    """Every stage of a closed form that has multiply-accumulates."""
    found = []
    for name in cost.stages:
        part = cost.stage(name)
        if not part.macs:
            continue
        degree, macs = max((d, m) for d, m in part.macs_by_degree.items() if m)
        found.append(
            StageGrowth(
                stage=name,
                macs=part.macs,
                share=part.macs / cost.macs,
                degree=degree,
                degree_share=macs / part.macs,
                exponent=part.exponent,
            )
        )
    return tuple(found)


def _from_side(
    cost_at: CostAt, stage: str, is_true: Callable[[int, list[int]], bool]
) -> int | None:
    """Smallest side from which ``is_true`` of the stage's macs and those of the others.

    By bisection: against the others, the one stage of the highest degree only rises.
    """

    def at(step: int) -> bool:
        try:
            cost = cost_at(step * RESOLUTION_STEP)
        except UnsupportedError:
            # Too small an image for this architecture: below the range that it works in.
            return False
        macs = {name: cost.stage(name).macs for name in cost.stages}
        return is_true(macs.pop(stage), list(macs.values()))

    low, high = 0, _SEARCHED_TO // RESOLUTION_STEP
    if not at(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle) else (middle, high)
    return high * RESOLUTION_STEP
