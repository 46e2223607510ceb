"""What the drawn data sets share: how many images there may be, and drawing a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from paca_bench.data.draws import Indices

MIN_IMAGES = 8
MAX_IMAGES = 1_000_000
# Training images for each test image.
TEST_SHARE = 4
# So many pixels are in work at once, which bounds the memory.
_PIXELS_AT_ONCE = 2**21


def batches(count: int, resolution: int) -> Iterator[Indices]:
    """Numbers of ``count`` images of ``resolution`` squared pixels, a few at a time."""
    step = max(_PIXELS_AT_ONCE // resolution**2, 1)
    for start in range(0, count, step):
        yield np.arange(start, min(start + step, count))
