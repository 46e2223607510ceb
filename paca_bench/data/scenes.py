"""What is in a ``pathfinder`` image, in units of its side: curves, and where the dots are.

Two long curves and some short ones, none near another. What the picture shows is drawn before
its label and does not depend on it; the label only says which two ends get a dot: those of
one long curve, or one end of each, chosen to lie as far apart.

Only additions, multiplications, divisions and square roots are used, which are exact to the
last bit on every machine; sines are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.draws import Floats, Indices, uniform

Flags = NDArray[np.bool_]

STEP = 0.07
LONG_STEPS = 12
SHORT_STEPS = 3
# Tangents of half the angle that a curve turns by at a step: bent throughout, and at random.
BEND = 0.3
JITTER = 0.2
# Least distance of different curves, of parts of one curve, and of all from the edge.
APART = 0.07
EDGE = 0.06
# By how much the distances of the two dots may differ between the labels.
TOLERANCE = 0.05

MAX_DISTRACTORS = 8
# A curve takes the first of so many that fits; if none does, the scene is begun anew.
_CANDIDATES = 24
# So many scenes are made side by side, which bounds the memory.
_AT_ONCE = 1000
# Place (x, y), direction (within a quarter, which quarter), bend, where the bend turns over.
_DRAWS = 6


@dataclass(frozen=True, eq=False)
class Scenes:
    """``n`` scenes; points are (x, y), from the top left corner.

    Attributes:
        long: ``[n, 2, LONG_STEPS + 1, 2]``, two curves as points ``STEP`` apart.
        short: ``[n, distractors, SHORT_STEPS + 1, 2]``.
        ends: ``[n, 2]``, which ends (0 or -1) of the first and of the second long curve lie
            as far apart as the ends of the first.
    """

    long: Floats
    short: Floats
    ends: Indices

    def dots(self, joined: Flags) -> Floats:
        """``[n, 2, 2]``: the centres of the two dots, given the label."""
        rows = np.arange(len(self.long))
        first = np.where(joined, 0, self.ends[:, 0])
        other = np.where(joined, -1, self.ends[:, 1])
        return np.stack(
            [self.long[rows, 0, first], self.long[rows, np.where(joined, 0, 1), other]], axis=1
        )


def make_scenes(seed: int, images: Indices, distractors: int) -> Scenes:
    """The scenes of ``images`` ``[n]``; each depends on the seed and its own number alone.

    Args:
        seed: 0 or more.
        images: numbers, 0 or more.
        distractors: short curves in each, 0 to ``MAX_DISTRACTORS``.
    """
    scenes = Scenes(
        np.empty((len(images), 2, LONG_STEPS + 1, 2)),
        np.empty((len(images), distractors, SHORT_STEPS + 1, 2)),
        np.empty((len(images), 2), dtype=np.int64),
    )
    for start in range(0, len(images), _AT_ONCE):
        _fill(scenes, seed, images, np.arange(start, min(start + _AT_ONCE, len(images))))
    return scenes


def _fill(scenes: Scenes, seed: int, images: Indices, left: Indices) -> None:
    """Make the scenes at the places ``left``."""
    distractors, attempt = scenes.short.shape[1], 0
    while len(left):
        made, (first, second, *short) = _attempt(seed, images[left], attempt, distractors)
        rows = left[made]
        scenes.long[rows, 0], scenes.long[rows, 1] = first, second
        scenes.ends[rows] = _mismatch(first, second[:, None])[1][:, 0]
        for number, curve in enumerate(short):
            scenes.short[rows, number] = curve
        left, attempt = np.delete(left, made), attempt + 1


def _attempt(
    seed: int, images: Indices, attempt: int, distractors: int
) -> tuple[Indices, list[Floats]]:
    """Which of ``images`` (their places) found room for all curves, and those curves."""
    made = np.arange(len(images))
    curves: list[Floats] = []
    for slot, steps in enumerate([LONG_STEPS] * 2 + [SHORT_STEPS] * distractors):
        walks = _candidates(seed, images[made], attempt, slot, steps)
        fits = _fits_alone(walks)
        for curve in curves:
            fits &= _apart(walks, curve[:, None])
        if slot == 1:
            fits &= _mismatch(curves[0], walks)[0] < TOLERANCE
        found = fits.any(axis=1)
        curves = [curve[found] for curve in curves]
        curves.append(walks[found, fits[found].argmax(axis=1)])
        made = made[found]
    return made, curves


def _candidates(seed: int, images: Indices, attempt: int, slot: int, steps: int) -> Floats:
    """``[n, _CANDIDATES, steps + 1, 2]``."""
    longest = _CANDIDATES * (_DRAWS + LONG_STEPS)
    first = np.full(len(images), (attempt * (MAX_DISTRACTORS + 2) + slot) * longest)
    draws = uniform(seed, images, first, _CANDIDATES * (_DRAWS + steps))
    return _walk(draws.reshape(len(images), _CANDIDATES, _DRAWS + steps))


def _walk(draws: Floats) -> Floats:
    """Curves ``[..., steps + 1, 2]`` from ``[..., _DRAWS + steps]``, somewhere within the edge.

    A curve that is wider than the image sticks out.
    """
    corner_x, corner_y, angle, quarter, bend, turn_over = np.moveaxis(draws[..., :_DRAWS], -1, 0)
    noise = np.moveaxis(draws[..., _DRAWS:], -1, 0)
    # Tangents of half the angle from 0 to 1 are directions of the first quarter.
    across, down = _unit(angle)
    for turns in (1, 2, 3):
        turned = quarter * 4 >= turns
        across, down = np.where(turned, -down, across), np.where(turned, across, down)
    x, y = [np.zeros_like(angle)], [np.zeros_like(angle)]
    bend = (2 * bend - 1) * BEND
    for step, jitter in enumerate(noise):
        x.append(x[-1] + STEP * across)
        y.append(y[-1] + STEP * down)
        # Half of all curves turn their bend over on the way.
        bent = np.where(step < 2 * len(noise) * turn_over, bend, -bend)
        across, down = _rotate(across, down, bent + (2 * jitter - 1) * JITTER)
    return np.stack([_shift(x, corner_x), _shift(y, corner_y)], axis=-1)


def _rotate(x: Floats, y: Floats, half: Floats) -> tuple[Floats, Floats]:
    """(x, y) turned by the angle whose half has the tangent ``half``."""
    cosine, sine = _unit(half)
    return x * cosine - y * sine, x * sine + y * cosine


def _unit(half: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of the angle whose half has the tangent ``half``."""
    square = half * half
    return (1 - square) / (1 + square), 2 * half / (1 + square)


def _shift(points: list[Floats], place: Floats) -> Floats:
    """``[..., points]``, so that ``place`` 0 to 1 is from one edge of the image to the other."""
    together = np.stack(points, axis=-1)
    low, high = together.min(axis=-1), together.max(axis=-1)
    start = EDGE + place * (1 - 2 * EDGE - (high - low))
    shifted: Floats = together + (start - low)[..., None]
    return shifted


def _fits_alone(walks: Floats) -> Flags:
    """Within the edge, and nowhere near itself: ``[...]`` of ``[..., points, 2]``."""
    inside = ((walks >= EDGE) & (walks <= 1 - EDGE)).all(axis=(-1, -2))
    one, other = np.triu_indices(walks.shape[-2], k=3)
    squared = _squared_distance(walks[..., one, :], walks[..., other, :])
    fits = inside & (squared > APART * APART).all(axis=-1)
    return np.asarray(fits)


def _apart(walks: Floats, curve: Floats) -> Flags:
    """Whether no point of ``[..., points, 2]`` is near one of ``curve``."""
    squared = _squared_distance(walks[..., :, None, :], curve[..., None, :, :])
    return np.asarray((squared > APART * APART).all(axis=(-1, -2)))


def _mismatch(curve: Floats, walks: Floats) -> tuple[Floats, Indices]:
    """How far the two dots' distance must differ between the labels, and the ends chosen.

    Args:
        curve: ``[n, points, 2]``.
        walks: ``[n, k, points, 2]``.

    Returns:
        ``[n, k]``, and ``[n, k, 2]``: an end (0 or -1) of the curve and of the walk.
    """
    wanted = np.sqrt(_squared_distance(curve[:, 0], curve[:, -1]))[:, None]
    pairs = [(mine, other) for mine in (0, -1) for other in (0, -1)]
    differences = np.stack(
        [
            np.abs(np.sqrt(_squared_distance(curve[:, None, a], walks[:, :, b])) - wanted)
            for a, b in pairs
        ],
        axis=-1,
    )
    chosen = np.array(pairs)[differences.argmin(axis=-1)]
    return differences.min(axis=-1), chosen


def _squared_distance(a: Floats, b: Floats) -> Floats:
    dx, dy = a[..., 0] - b[..., 0], a[..., 1] - b[..., 1]
    squared: Floats = dx * dx + dy * dy
    return squared
