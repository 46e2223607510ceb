"""mIoU against figures by hand, its interval, and heads beside each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.analyse.dense import (
    class_ious,
    head_pairs,
    image_shares,
    mean_iou,
    miou_estimate,
    pack_confusions,
    unpack_confusions,
)
from paca_bench.errors import SpecError, StoreError
from paca_bench.results import load_results
from tests.builders import make_dense_record, make_run


def random_confusions(seed: int, *shape: int, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, (*shape, classes, classes))


def test_iou_by_hand() -> None:
    # Class 0: 3 hit of 3 + 1 + 2; class 1: 4 of 4 + 1 + 2; class 2 is nowhere.
    confusion = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    ious = class_ious(confusion)
    assert ious[:2].tolist() == [3 / 6, 4 / 7]
    assert np.isnan(ious[2])
    assert mean_iou(confusion) == pytest.approx((3 / 6 + 4 / 7) / 2)
    # A class that is only said, wrongly, counts as 0.
    assert mean_iou(np.array([[3, 1], [0, 0]])) == pytest.approx(3 / 8)


def test_the_interval_is_over_seeds_and_over_images() -> None:
    one_image = np.array([[8, 2], [1, 9]])
    same = np.broadcast_to(one_image, (3, 40, 2, 2))
    exact = miou_estimate(same)
    assert exact.low == pytest.approx(exact.high)
    assert exact.value == pytest.approx((8 / 11 + 9 / 12) / 2)
    seeds = np.stack([same[0], same[0] + [[4, 0], [0, 0]], same[0] + [[0, 4], [0, 0]]])
    apart = miou_estimate(seeds)
    values = mean_iou(seeds.sum(axis=1))
    half = 4.302653 * values.std(ddof=1) / 3**0.5
    assert apart.high - apart.value == pytest.approx(half, rel=1e-5)
    assert "3 seeds" in apart.method
    images = np.stack([one_image, [[2, 8], [9, 1]]]).repeat(20, axis=0)[None]
    single = miou_estimate(images)
    assert "of one seed, a lower bound" in single.method
    assert single.low < single.value - 0.05 < single.value + 0.05 < single.high
    assert miou_estimate(images) == single
    with pytest.raises(SpecError, match="a test image"):
        miou_estimate(np.zeros((1, 0, 2, 2), dtype=int))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 12))
def test_shares_of_images_have_the_miou_as_their_mean(seed: int, seeds: int, images: int) -> None:
    confusions = random_confusions(seed, seeds, images)
    confusions[..., 2, :] = confusions[..., :, 2] = 0
    shares = image_shares(confusions)
    np.testing.assert_allclose(shares.mean(axis=1), mean_iou(confusions.sum(axis=1)))
    estimate = miou_estimate(confusions)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert np.array_equal(unpack_confusions(pack_confusions(confusions[0]), 3), confusions[0])


def test_the_scatter_of_shares_is_that_of_the_bootstrap() -> None:
    confusions = random_confusions(0, 1, 300)
    error = image_shares(confusions)[0].std(ddof=1) / 300**0.5
    estimate = miou_estimate(confusions)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


@pytest.mark.parametrize("text", ["", "?", "AAAA", pack_confusions(random_confusions(0, 1))[:-8]])
def test_damaged_confusions_are_named(text: str) -> None:
    with pytest.raises(StoreError, match="not the confusions of 3 classes"):
        unpack_confusions(text, 3)


def test_heads_are_compared_on_their_own_backbone_in_the_words_for_accuracy(tmp_path: Path) -> None:
    records = [
        make_dense_record("vit", head="paca", skill=0.9),
        make_dense_record("vit", head="linear", skill=0.7),
        make_dense_record("paca", 16, head="paca", skill=0.8),
        make_dense_record("paca", 16, head="linear", skill=0.8),
    ]
    pairs = head_pairs(load_results(make_run(tmp_path / "run", records).path))
    assert pairs[["label", "head", "other"]].to_numpy().tolist() == [
        ["vit", "paca", "linear"],
        ["paca (M=16)", "paca", "linear"],
    ]
    assert pairs["verdict"].tolist() == ["higher", "same"]
    higher = pairs.iloc[0]
    assert 0 < higher["difference_low"] < higher["difference"] < higher["difference_high"]
    assert higher["difference"] == pytest.approx(higher["miou"] - higher["other_miou"])
    assert "3 paired seeds" in higher["method"]
