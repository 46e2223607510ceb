"""Strokes with round ends, drawn at the image's own resolution: one in each of many images.

A stroke is the set of points within some distance of a line segment; a dot is one of length 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.draws import Floats

# No stroke is thinner: a thinner one would fade instead.
LEAST_WIDTH_PX = 1.0

# (pixels as they are, coverage) -> pixels as they become
Blend = Callable[[NDArray[Any], NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Stroke:
    """From ``start`` to ``end``, ``[n, 2]`` (x, y); all in units of the image's side."""

    start: Floats
    end: Floats
    radius: float


def paint(images: NDArray[Any], stroke: Stroke, blend: Blend) -> None:
    """Draw a stroke into each of ``images`` ``[n, R, R, ...]``, in place.

    ``blend(old, coverage)`` says what becomes of the pixels of a small square around each
    stroke: old is ``[n, s, s, ...]``, and coverage ``[n, s, s]`` is the share of each pixel
    that the stroke covers, about: 1/2 where its rim meets the pixel's centre.
    """
    n, side = images.shape[:2]
    start, end = stroke.start * side, stroke.end * side
    radius = max(stroke.radius * side, LEAST_WIDTH_PX / 2)
    along = end - start
    length = np.sqrt(along[:, 0] * along[:, 0] + along[:, 1] * along[:, 1])
    square = min(int(np.ceil(length.max(initial=0) + 2 * radius)) + 2, side)
    # Of a stroke at the rim, the square is moved to be within the image.
    corner = np.floor((start + end) / 2 - square / 2 + 0.5).astype(np.int64)
    corner = np.clip(corner, 0, side - square)
    columns, rows = (corner[:, axis, None] + np.arange(square) for axis in (0, 1))
    x = (columns + 0.5 - start[:, 0, None])[:, None, :]
    y = (rows + 0.5 - start[:, 1, None])[:, :, None]
    dx, dy = along[:, 0, None, None], along[:, 1, None, None]
    # The nearest point of the segment; a dot has but one.
    part = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-12), 0, 1)
    off_x, off_y = x - part * dx, y - part * dy
    distance = np.sqrt(off_x * off_x + off_y * off_y)
    coverage = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
    place = (np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :])
    images[place] = blend(images[place], coverage)
