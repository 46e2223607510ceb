"""Colours of the drawn data sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.draws import Floats


def hues_to_rgb(hues: Floats) -> NDArray[np.float32]:
    """Pure colours: hues ``[...]``, where 1 is once around the circle, to ``[..., 3]`` in [0, 1].

    0 is red, 1/3 green, 2/3 blue. Without sines, so it is exact on every machine.
    """
    sixths = hues * 6
    channels = [np.clip(np.abs((sixths + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)]
    return np.stack(channels, axis=-1).astype(np.float32)
