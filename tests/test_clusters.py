"""Clusters from an assignment, what a record keeps of them, and the way back."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.clusters import (
    KEPT_BYTES,
    KEPT_IMAGES,
    Grid,
    ImageClusters,
    StageClusters,
    allowance,
    image_from_json,
    image_to_json,
    stage_clusters,
)
from paca_bench.errors import StoreError


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def random_weights(clusters: int, tokens: int, seed: int = 0, spread: float = 3.0) -> np.ndarray:
    return softmax(np.random.default_rng(seed).normal(0, spread, (clusters, tokens)))


def make_image(clusters: int = 5, name: str = "cat", seed: int = 0) -> ImageClusters:
    rng = np.random.default_rng(seed)
    return ImageClusters(
        name=name,
        pixels=rng.integers(0, 256, (16, 24, 3), dtype=np.uint8),
        stages=(
            stage_clusters(1, (4, 6), random_weights(clusters, 24, seed)),
            stage_clusters(2, (2, 3), None),
        ),
    )


def test_a_worked_example() -> None:
    weights = np.array([[0.5, 0.25, 0.25, 0.0], [0.1, 0.3, 0.3, 0.3], [0.2, 0.2, 0.3, 0.3]])
    stage = stage_clusters(3, (2, 2), weights)
    assert stage.num_clusters == 3
    # The third token is a tie of clusters 1 and 2, and so is the fourth.
    assert stage.strongest.tolist() == [0, 1, 1, 1]
    assert stage.indices.tolist() == [1, 0, 2]
    assert stage.tokens.tolist() == [3, 1, 0]
    assert stage.peaks.tolist() == [0.3, 0.5, 0.3]
    assert stage.levels.tolist() == [[85, 255, 255, 255], [255, 128, 128, 0], [170, 170, 255, 255]]
    assert stage.spreads[1] == pytest.approx(2 ** (0.5 * 1 + 2 * 0.25 * 2))


@given(st.integers(1, 7), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_against_loops(clusters: int, tokens: int, seed: int) -> None:
    weights = random_weights(clusters, tokens, seed)
    stage = stage_clusters(1, (1, tokens), weights)
    assert sorted(stage.indices) == list(range(clusters))
    assert stage.tokens.sum() == tokens
    assert (np.diff(stage.tokens) <= 0).all()
    for token in range(tokens):
        assert weights[stage.strongest[token], token] == max(weights[:, token])
    for place, index in enumerate(stage.indices):
        row = [float(w) for w in weights[index]]
        entropy = -sum(w * math.log(w) for w in row if w)
        assert stage.spreads[place] == pytest.approx(math.exp(entropy))
        assert 1 - 1e-6 <= stage.spreads[place] <= tokens * (1 + 1e-6)
        assert stage.peaks[place] == max(row)
        np.testing.assert_allclose(stage.levels[place] / 255 * max(row), row, atol=max(row) / 500)


def test_alike_weights_spread_over_all_tokens_and_one_hot_ones_over_one() -> None:
    stage = stage_clusters(1, (2, 2), np.array([[0.25] * 4, [0.0, 0.0, 1.0, 0.0]]))
    spreads = dict(zip(stage.indices.tolist(), stage.spreads, strict=True))
    assert spreads == {0: pytest.approx(4.0), 1: 1.0}


def test_fewer_maps_leave_the_segmentation_alone() -> None:
    weights = random_weights(9, 40)
    whole, few = stage_clusters(1, (5, 8), weights), stage_clusters(1, (5, 8), weights, keep=3)
    assert (few.strongest == whole.strongest).all()
    assert few.indices.tolist() == whole.indices[:3].tolist()
    assert few.tokens.tolist() == whole.tokens[:3].tolist()
    assert (few.levels == whole.levels[:3]).all()
    assert few.num_clusters == 9


def test_a_stage_without_clusters() -> None:
    stage = stage_clusters(4, (2, 3), None)
    assert stage.num_clusters == 0
    arrays = (stage.strongest, stage.indices, stage.peaks, stage.spreads, stage.levels)
    assert not any(len(array) for array in (*arrays, stage.tokens))


def same(a: StageClusters, b: StageClusters) -> bool:
    exact = (a.stage, a.grid, a.num_clusters) == (b.stage, b.grid, b.num_clusters)
    arrays = ("strongest", "indices", "levels", "tokens")
    equal = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)
    close = all(np.allclose(getattr(a, n), getattr(b, n), rtol=1e-6) for n in ("peaks", "spreads"))
    return exact and equal and close


@pytest.mark.parametrize("clusters", [1, 5, 300])
def test_a_record_gives_back_what_it_was_given(clusters: int) -> None:
    image = make_image(clusters)
    back = image_from_json(json.loads(json.dumps(image_to_json(image))))
    assert back.name == image.name
    assert np.array_equal(back.pixels, image.pixels)
    assert all(same(a, b) for a, b in zip(image.stages, back.stages, strict=True))


def damaged(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data = json.loads(json.dumps(image_to_json(make_image())))
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pixels",), None),
        (("pixels",), "AAAA"),
        (("pixels",), "not base64!"),
        (("height",), 17),
        (("stages",), 3),
        (("stages", 0, "grid"), [4]),
        (("stages", 0, "grid"), [5, 5]),
        (("stages", 0, "num_clusters"), 2),
        (("stages", 0, "levels"), None),
        (("stages", 0, "peaks"), "eJwDAAAAAAE="),
    ],
)
def test_damage_is_one_clear_error(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(StoreError, match="learned clusters are damaged"):
        image_from_json(damaged(path, value))


def pyramid(height: int, width: int, clusters: int) -> list[tuple[Grid, int]]:
    grids = [(height // 2**s, width // 2**s) for s in (2, 3, 4, 5)]
    return list(zip(grids, (clusters, clusters, clusters, 0), strict=True))


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 9, 25, 49, 100, 196]))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_never_exceeds_its_bytes(rows: int, columns: int, clusters: int) -> None:
    height, width = 32 * rows, 32 * columns
    stages = pyramid(height, width, clusters)
    allowed = allowance(height, width, stages)
    tokens = sum(math.prod(grid) for grid, count in stages if count)
    fixed = 3 * min(height, 64) * min(width, 64) + 2 * tokens
    if allowed is None:
        assert fixed > KEPT_BYTES
        return
    assert 1 <= allowed.images <= KEPT_IMAGES
    assert 0 <= allowed.maps <= clusters
    assert allowed.images * (fixed + allowed.maps * tokens) <= KEPT_BYTES
    # Nothing more would fit.
    assert allowed.maps == clusters or fixed + (allowed.maps + 1) * tokens > KEPT_BYTES


def test_the_usual_training_keeps_everything_of_four_images() -> None:
    allowed = allowance(32, 32, pyramid(32, 32, 100))
    assert allowed is not None
    assert (allowed.images, allowed.maps) == (4, 100)


def test_nothing_is_kept_without_clusters_or_of_huge_images() -> None:
    assert allowance(32, 32, pyramid(32, 32, 0)) is None
    assert allowance(1024, 1024, pyramid(1024, 1024, 49)) is None


@pytest.mark.parametrize("side", [32, 64, 224])
def test_even_noise_makes_a_record_of_at_most_about_100_kb(side: int) -> None:
    stages = pyramid(side, side, 100)
    allowed = allowance(side, side, stages)
    assert allowed is not None
    rng = np.random.default_rng(0)
    images = [
        ImageClusters(
            name="noise",
            pixels=rng.integers(0, 256, (min(side, 64), min(side, 64), 3), dtype=np.uint8),
            stages=tuple(
                stage_clusters(
                    number,
                    grid,
                    random_weights(count, math.prod(grid), number, 0.5) if count else None,
                    allowed.maps,
                )
                for number, (grid, count) in enumerate(stages, start=1)
            ),
        )
        for _ in range(allowed.images)
    ]
    assert len(json.dumps([image_to_json(image) for image in images])) < 105_000
