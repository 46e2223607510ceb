"""Colours that can be told apart by everyone, and one style per label."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from paca_bench.report.theme import (
    DARK,
    DARK_BACKGROUND,
    LIGHT,
    LIGHT_BACKGROUND,
    MARKERS,
    dark_colors,
    label_order,
    label_styles,
    run_dashes,
)

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((float(linear(c) @ TO_XYZ[1]) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("colors", "background"), [(LIGHT, LIGHT_BACKGROUND), (DARK, DARK_BACKGROUND)]
)
def test_palettes_keep_contrast_and_distance(colors: tuple[str, ...], background: str) -> None:
    assert min(contrast(color, background) for color in colors) >= 3
    for name, vision in VISIONS.items():
        seen = [lab(vision @ linear(color)) for color in colors]
        nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
        assert nearest >= 12, name


def test_styles_differ_for_seventy_two_labels() -> None:
    styles = label_styles([f"m{i}" for i in range(72)])
    assert len({(style.color, style.marker) for style in styles.values()}) == 72
    assert all(style.path == MARKERS[style.marker] for style in styles.values())


def test_order_is_by_mechanism_then_clusters_whatever_the_rows_order() -> None:
    rows = [("vit", None), ("paca", 100), ("paca", 9), ("paca", 49), ("vit", None)]
    frame = pd.DataFrame(
        [{"mechanism": m, "num_clusters": c, "label": f"{m} {c}" if c else m} for m, c in rows]
    )
    order = ["paca 9", "paca 49", "paca 100", "vit"]
    assert label_order(frame) == order
    assert label_order(frame[::-1]) == order


def test_dark_colors_cover_the_light_scheme_one_to_one() -> None:
    assert set(LIGHT) <= set(dark_colors())
    assert len(set(dark_colors().values())) == len(dark_colors())


def test_first_run_is_solid() -> None:
    assert run_dashes(["a", "b"]) == {"a": "solid", "b": "dash"}
