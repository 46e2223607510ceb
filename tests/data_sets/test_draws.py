from __future__ import annotations

import numpy as np

from paca_bench.data.draws import uniform


def test_draws_are_those_of_the_published_generator() -> None:
    """Seed 0, item 0, by SplitMix64 in Python's own integers."""
    word = 2**64 - 1

    def output(start: int, place: int) -> int:
        z = (start + (place + 1) * 0x9E3779B97F4A7C15) & word
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        return z ^ (z >> 31)

    # The first output of the published generator with seed 0.
    assert output(0, 0) == 0xE220A8397B1DCDAF
    stream = output(output(0, 3), 41)
    expected = [(output(stream, place) >> 11) / 2**53 for place in (7, 8, 9)]
    assert uniform(3, np.array([41]), np.array([7]), 3)[0].tolist() == expected


def test_an_items_draws_depend_on_nothing_but_itself() -> None:
    items = np.arange(20)
    together = uniform(5, items, np.zeros(20, dtype=np.int64), 6)
    alone = uniform(5, items[[13]], np.array([2]), 4)
    assert np.array_equal(alone[0], together[13, 2:])


def test_draws_are_uniform_and_unrelated() -> None:
    draws = uniform(1, np.arange(4000), np.zeros(4000, dtype=np.int64), 8)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=16, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 40  # chi-squared, 15 degrees of freedom
    others = uniform(2, np.arange(4000), np.zeros(4000, dtype=np.int64), 8)
    related = np.corrcoef(np.concatenate([draws, others], axis=1).T) - np.eye(16)
    assert np.abs(related).max() < 0.07
    assert abs(np.corrcoef(draws[1:, 0], draws[:-1, 0])[0, 1]) < 0.07
