"""Searches over the sides of square images, in steps of 32 pixels. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from paca_bench.axes import MAX_RESOLUTION, RESOLUTION_STEP
from paca_bench.errors import UnsupportedError

# More than this many measurements of one curve do not make its frontier any clearer.
MAX_MEASURED = 8


def smallest_side(works: Callable[[int], object]) -> int | None:
    """The smallest side at which ``works`` does not raise ``UnsupportedError``; else None."""
    for side in range(RESOLUTION_STEP, MAX_RESOLUTION + 1, RESOLUTION_STEP):
        try:
            works(side)
        except UnsupportedError:
            continue
        return side
    return None


def largest_side(fits: Callable[[int], bool], smallest: int = RESOLUTION_STEP) -> int | None:
    """The largest side that fits, by bisection; None if not even ``smallest`` does.

    What is bounded only grows with the side, up to rounding to whole windows.
    """
    low, high = smallest // RESOLUTION_STEP, MAX_RESOLUTION // RESOLUTION_STEP + 1
    if not fits(low * RESOLUTION_STEP):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * RESOLUTION_STEP) else (low, middle)
    return low * RESOLUTION_STEP


class Measured(Protocol):
    """A quantity with its interval."""

    @property
    def value(self) -> float:
        """The estimate."""

    @property
    def low(self) -> float:
        """Lower end of its interval."""

    @property
    def high(self) -> float:
        """Upper end."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """What measurements say of a frontier.

    Attributes:
        fits: the largest side that was measured to fit, interval included; None if none was.
        exceeds: the smallest side that was measured not to fit for certain; None if none was.
        unclear: sides between them whose interval holds the limit.
        measured: side -> what was measured there.
    """

    fits: int | None
    exceeds: int | None
    unclear: tuple[int, ...]
    measured: dict[int, Measured]


def bracket(limit: float, measured: dict[int, Measured]) -> Bracket:
    """Where the limit lies among measured sides."""
    below = [side for side, m in measured.items() if m.high <= limit]
    above = [side for side, m in measured.items() if m.low > limit]
    fits, exceeds = max(below, default=None), min(above, default=None)
    unclear = tuple(sorted(side for side in measured if side not in (*below, *above)))
    return Bracket(fits, exceeds, unclear, measured)


def next_side(
    limit: float,
    measured: dict[int, Measured],
    predicted: Callable[[int], float],
    smallest: int = RESOLUTION_STEP,
) -> int | None:
    """Which side to measure next; None once the frontier is known, or no more would help.

    ``predicted`` is a quantity that grows like the measured one; the ratio of the two at the
    side nearest to the frontier carries over.
    """
    if len(measured) >= MAX_MEASURED:
        return None
    below = [side for side, m in measured.items() if m.value <= limit]
    above = [side for side, m in measured.items() if m.value > limit]
    low = max(below, default=smallest - RESOLUTION_STEP)
    high = min(above, default=MAX_RESOLUTION + RESOLUTION_STEP)
    # Drift may put a smaller side above the limit and a larger one below it.
    if high - low <= RESOLUTION_STEP:
        return None
    nearest = min(measured, key=lambda side: abs(math.log(measured[side].value / limit)))
    scale = measured[nearest].value / predicted(nearest)
    guess = largest_side(lambda side: predicted(side) * scale <= limit, smallest) or smallest
    # The guess settles one side of the frontier; once it is measured, its neighbour the other.
    for side in (guess, guess + RESOLUTION_STEP, guess - RESOLUTION_STEP):
        if low < side < high:
            return side
    middle = round((low + high) / 2 / RESOLUTION_STEP) * RESOLUTION_STEP
    return min(max(middle, low + RESOLUTION_STEP), high - RESOLUTION_STEP)
