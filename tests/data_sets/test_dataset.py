from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.data.dataset import Normalisation, Split, stratified_split
from paca_bench.errors import DataError


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=6),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32),
)
def test_split_is_disjoint_whole_and_stratified(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, held_out = stratified_split(labels, share, seed)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        given_up = int((labels[held_out] == label).sum())
        assert 1 <= given_up < count
        assert abs(given_up - share * count) <= 1


def test_split_depends_on_the_seed_only() -> None:
    labels = np.repeat(np.arange(3), 50)
    assert np.array_equal(stratified_split(labels)[1], stratified_split(labels)[1])
    assert not np.array_equal(
        stratified_split(labels, seed=1)[1], stratified_split(labels, seed=2)[1]
    )


def test_a_class_of_one_cannot_be_split() -> None:
    with pytest.raises(DataError, match="class 1 has a single image"):
        stratified_split(np.array([0, 0, 1]))


def test_normalisation_is_that_of_numpy() -> None:
    images = torch.randint(0, 256, (7, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    images = images.byte()
    normalisation = Normalisation.of(images)
    pixels = images.numpy().astype(np.float64)
    np.testing.assert_allclose(normalisation.mean, pixels.mean((0, 2, 3)))
    np.testing.assert_allclose(normalisation.std, pixels.std((0, 2, 3)))
    normal = normalisation.apply(images)
    assert normal.dtype == torch.float32
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3), correction=0), torch.ones(3))


def test_a_constant_channel_is_not_divided_by_zero() -> None:
    images = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
    assert torch.equal(Normalisation.of(images).apply(images), torch.zeros(2, 3, 4, 4))


def test_resolution_must_be_positive() -> None:
    split = Split(np.zeros(1, dtype=np.int64), lambda r: torch.zeros(1, 3, r, r).byte())
    assert split.load(1)[0].shape == (1, 3, 1, 1)
    with pytest.raises(DataError, match="at least 1 pixel, not 0"):
        split.load(0)
