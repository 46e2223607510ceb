"""Random draws that are a pure function of (seed, item, place): the same for ever, everywhere.

An item's draws do not depend on how many items there are or in which order they are made.
SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014),
in integer arithmetic that no version of numpy and no machine does differently.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(seed: int, items: Indices, first: Indices, count: int) -> Floats:
    """Draws ``first`` to ``first + count - 1`` of each item: ``[n, count]`` in [0, 1).

    Args:
        seed: of the whole family, 0 or more.
        items: ``[n]``, 0 or more.
        first: ``[n]``, 0 or more.
        count: how many of each.
    """
    families = _outputs(np.zeros(1, dtype=np.uint64), np.array([seed]))
    streams = _outputs(families, items)
    words = _outputs(streams[:, None], first[:, None] + np.arange(count))
    # The 53 highest bits, which a float64 holds exactly.
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def paired_labels(seed: int, count: int) -> Indices:
    """0 or 1 for each of ``count`` items: of two neighbours one is 1, by their own coin which."""
    numbers = np.arange(count)
    coins = uniform(seed, numbers // 2, np.zeros_like(numbers), 1)[:, 0] < 0.5
    return (coins.astype(np.int64) + numbers) % 2


def _outputs(start: NDArray[np.uint64], places: Indices) -> NDArray[np.uint64]:
    """What a SplitMix64 generator whose state was ``start`` gives at ``places``, from 0."""
    state = start + (places.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    output: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return output
