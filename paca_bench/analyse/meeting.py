"""Where a rising curve meets a level, with the interval that redrawn curves give it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Curves redrawn for an interval: its 95% ends rest on fifty of them on either side.
DRAWS = 2000


@dataclass(frozen=True)
class Meeting:
    """Where each of several curves rises through its level for the last time: [curves].

    Attributes:
        place: by interpolation.
        low: where it may lie at the lowest, for a curve that bends as its neighbours say.
        high: at the highest.
    """

    place: Floats
    low: Floats
    high: Floats

    def interval(self, value: float, confidence: float) -> tuple[float, float]:
        """From the lower quantile of ``low`` to the upper of ``high``, ``value`` included.

        The curves are redrawings of one, so this holds both what they differ by and what
        interpolation leaves open. Its ends may be 0 and infinite.
        """
        cut = int((1 - confidence) / 2 * len(self.place))
        low, high = np.sort(self.low)[cut], np.sort(self.high)[-1 - cut]
        return min(float(low), value), max(float(high), value)


def last_rise(places: Sequence[float], gaps: Floats) -> Meeting:
    """The place from which on each curve of gaps is positive.

    Interpolated linearly in the gap over log place, between the last two places whose gaps
    differ in sign. A smooth curve that bends one way there lies between this chord and the
    prolonged chords of the segments beside it, which gives ``low`` and ``high``; where there is
    no segment beside it, they are the two places. 0 where all gaps are positive: the curve was
    above before the first place. Infinite where the last gap is negative: it may get there
    beyond the last place.

    Args:
        places: rising positive numbers, such as resolutions.
        gaps: [places, curves], such as log(cost / level).
    """
    x = np.log(np.asarray(places, dtype=float))
    below = gaps <= 0
    # The last place that is not above its level, as far as it has a next one.
    i = np.minimum(len(x) - 1 - np.argmax(below[::-1], axis=0), max(len(x) - 2, 0))
    j = np.minimum(i + 1, len(x) - 1)
    chord = _zero(x, gaps, i, j, i, j)
    found = [chord]
    for first, last in ((i - 1, i), (j, j + 1)):
        there = (first >= 0) & (last < len(x))
        prolonged = _zero(x, gaps, np.maximum(first, 0), np.minimum(last, len(x) - 1), i, j)
        found.append(np.where(there, prolonged, chord))
    low, high = np.min(found, axis=0), np.max(found, axis=0)
    if len(x) == 2:
        low, high = x[i], x[j]
    ends = np.asarray(places, dtype=float)
    # From the place itself, so that a gap of zero at a place gives that place exactly.
    found = [np.clip(ends[i] * np.exp(at - x[i]), ends[i], ends[j]) for at in (chord, low, high)]
    return Meeting(*(_beyond(place, places, gaps) for place in found))


def _zero(
    x: Floats,
    gaps: Floats,
    a: NDArray[np.intp],
    b: NDArray[np.intp],
    i: NDArray[np.intp],
    j: NDArray[np.intp],
) -> Floats:
    """Where the line through the points ``a`` and ``b`` of each curve is zero, from i to j."""
    columns = np.arange(gaps.shape[1])
    low, high = gaps[a, columns], gaps[b, columns]
    run, rise = x[b] - x[a], high - low
    # A line that does not rise meets zero, if at all, on the side away from its own segment.
    flat = np.where(a < i, x[j], x[i])
    zero = np.where(rise > 0, x[a] - low * run / np.where(rise > 0, rise, 1.0), flat)
    return np.clip(zero, x[i], x[j])


def _beyond(found: Floats, places: Sequence[float], gaps: Floats) -> Floats:
    """``found``, but for the curves that do not rise through zero between the places."""
    found = np.where(gaps[-1] < 0, math.inf, found)
    found = np.where(gaps[-1] == 0, places[-1], found)
    return np.where((gaps <= 0).any(axis=0), found, 0.0)
