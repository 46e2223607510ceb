from __future__ import annotations

import hashlib

import numpy as np
import pytest

from paca_bench.data.scenes import APART, EDGE, STEP, TOLERANCE, Scenes, make_scenes


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return make_scenes(1, np.arange(400), 3)


def curves(scenes: Scenes, number: int) -> list[np.ndarray]:
    return [*scenes.long[number], *scenes.short[number]]


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def test_curves_are_within_the_edge_and_of_even_steps(scenes: Scenes) -> None:
    for group in (scenes.long, scenes.short):
        assert group.min() >= EDGE - 1e-12
        assert group.max() <= 1 - EDGE + 1e-12
        np.testing.assert_allclose(np.linalg.norm(np.diff(group, axis=2), axis=-1), STEP)


def test_no_curve_is_near_another_or_comes_back_to_itself(scenes: Scenes) -> None:
    for number in range(100):
        found = curves(scenes, number)
        for place, curve in enumerate(found):
            for other in found[:place]:
                assert distances(curve, other).min() > APART
            own = distances(curve, curve)
            assert own[np.triu_indices(len(curve), k=3)].min() > APART


def test_the_two_dots_lie_equally_far_apart_whatever_the_label(scenes: Scenes) -> None:
    yes = np.ones(400, dtype=bool)
    joined, apart = scenes.dots(yes), scenes.dots(~yes)
    far = [np.linalg.norm(dots[:, 0] - dots[:, 1], axis=1) for dots in (joined, apart)]
    assert np.abs(far[0] - far[1]).max() < TOLERANCE
    assert abs(far[0].mean() - far[1].mean()) < TOLERANCE / 5


def test_dots_are_at_ends_of_one_long_curve_or_of_both(scenes: Scenes) -> None:
    labels = np.arange(400) % 2 == 0
    for number, (one, other) in enumerate(scenes.dots(labels)):
        first, second = scenes.long[number]
        ends = first if labels[number] else second
        assert any(np.array_equal(one, first[end]) for end in (0, -1))
        assert any(np.array_equal(other, ends[end]) for end in (0, -1))
        assert not np.array_equal(one, other)


def test_a_scene_depends_on_its_own_number_alone(scenes: Scenes) -> None:
    some = make_scenes(1, np.array([7, 399, 3]), 3)
    assert np.array_equal(some.long, scenes.long[[7, 399, 3]])
    assert np.array_equal(some.short, scenes.short[[7, 399, 3]])
    assert np.array_equal(some.ends, scenes.ends[[7, 399, 3]])
    assert not np.array_equal(make_scenes(2, np.array([7]), 3).long, some.long[:1])


def test_curves_come_from_everywhere_in_every_direction(scenes: Scenes) -> None:
    starts = scenes.long[:, 0, 0]
    assert np.histogram2d(*starts.T, bins=3, range=[[0, 1], [0, 1]])[0].min() > 15
    heading = scenes.long[:, 0, 1] - starts
    quarters = np.bincount((heading[:, 0] > 0) * 2 + (heading[:, 1] > 0), minlength=4)
    assert quarters.min() > 70


def test_the_scenes_never_change() -> None:
    """Published accuracies depend on them; they are the same to the bit on every machine."""
    scenes = make_scenes(1, np.arange(50), 4)
    content = scenes.long.tobytes() + scenes.short.tobytes() + scenes.ends.tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "7731e68786a645e8"
