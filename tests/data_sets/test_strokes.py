from __future__ import annotations

import numpy as np
import pytest

from paca_bench.data.strokes import Stroke, paint


def drawn(
    start: tuple[float, float], end: tuple[float, float], radius: float, side: int
) -> np.ndarray:
    canvas = np.zeros((1, side, side), dtype=np.float32)
    stroke = Stroke(np.array([start]), np.array([end]), radius)
    paint(canvas, stroke, np.maximum)
    return canvas[0]


def distance(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """From points to a segment, the long way: the least over many of its points."""
    along = start + np.linspace(0, 1, 2001)[:, None] * (end - start)
    return np.sqrt((x[..., None] - along[:, 0]) ** 2 + (y[..., None] - along[:, 1]) ** 2).min(-1)


@pytest.mark.parametrize("side", [32, 51])
@pytest.mark.parametrize("end", [(0.7, 0.2), (0.31, 0.55), (0.3, 0.6)])
def test_coverage_falls_over_a_pixel_at_the_rim(side: int, end: tuple[float, float]) -> None:
    start = (0.3, 0.6)
    y, x = (np.indices((side, side)) + 0.5) / side
    off = distance(x, y, np.array(start), np.array(end)) * side
    expected = np.clip(0.06 * side + 0.5 - off, 0, 1)
    np.testing.assert_allclose(drawn(start, end, 0.06, side), expected, atol=2e-3)


def test_area_of_a_dot() -> None:
    for side in (32, 64, 200):
        assert drawn((0.4, 0.45), (0.4, 0.45), 0.1, side).sum() / side**2 == pytest.approx(
            np.pi * 0.01, rel=0.03
        )


def test_thin_strokes_stay_a_pixel_wide() -> None:
    line = drawn((0.2, 0.5), (0.8, 0.5), 1e-4, 32)
    assert line[:, 16].sum() == pytest.approx(1)
    assert drawn((0.2, 0.5), (0.8, 0.5), 0.05, 32)[:, 16].sum() == pytest.approx(3.2)


@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 0.5), (0.99, 1.02), (0.5, -0.01)])
def test_what_sticks_out_is_cut_off(place: tuple[float, float]) -> None:
    canvas = drawn(place, place, 0.1, 40)
    y, x = np.indices((40, 40)) + 0.5
    off = np.hypot(x - place[0] * 40, y - place[1] * 40)
    np.testing.assert_allclose(canvas, np.clip(4.5 - off, 0, 1), atol=1e-5)


def test_images_smaller_than_a_stroke() -> None:
    assert drawn((0.5, 0.5), (0.5, 0.5), 0.5, 2).min() > 0.7
    assert drawn((0.5, 0.5), (0.5, 0.5), 0.1, 1).shape == (1, 1)
