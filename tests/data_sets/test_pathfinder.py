from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from paca_bench.data.dataset import ImageDataset
from paca_bench.data.pathfinder import LEVELS, MASK_CLASSES, Difficulty, load_pathfinder
from paca_bench.data.registry import check_dataset, load_dataset
from paca_bench.errors import DataError

Loaded = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return load_dataset("pathfinder:n=1600")


@pytest.fixture(scope="module")
def train(dataset: ImageDataset) -> Loaded:
    return dataset.train.load(64)


@pytest.fixture(scope="module")
def test(dataset: ImageDataset) -> Loaded:
    return dataset.test.load(64)


def test_shape_and_balance(dataset: ImageDataset, train: Loaded, test: Loaded) -> None:
    assert dataset.name == "pathfinder:n=1600"
    assert dataset.classes == ("apart", "joined")
    for (images, labels), count in ((train, 1600), (test, 400)):
        assert images.shape == (count, 3, 64, 64)
        assert images.dtype == torch.uint8
        assert torch.bincount(labels).tolist() == [count // 2] * 2
        # One of two neighbours is joined, now this one and now that.
        assert (labels.view(-1, 2).sum(1) == 1).all()
        assert 0.4 < labels[::2].float().mean() < 0.6


def test_default_is_four_thousand_and_one_thousand() -> None:
    dataset = load_dataset("pathfinder")
    assert (len(dataset.train), len(dataset.test)) == (4000, 1000)
    assert any("chance is 50%" in note for note in dataset.notes)


def test_no_image_is_in_both_parts(train: Loaded, test: Loaded) -> None:
    seen = {image.numpy().tobytes() for image in train[0]}
    assert len(seen) == 1600
    assert not any(image.numpy().tobytes() in seen for image in test[0])


def test_an_image_is_the_same_in_a_larger_data_set(dataset: ImageDataset, train: Loaded) -> None:
    few = load_dataset("pathfinder:n=40").train.load(64)
    assert torch.equal(few[0], train[0][:40])
    assert torch.equal(few[1], train[1][:40])


@pytest.mark.parametrize("spec", ["pathfinder:n=16", "pathfinder:hard,n=16"])
def test_the_same_picture_at_every_resolution_with_more_detail(spec: str) -> None:
    train = load_dataset(spec).train
    fine, fine_labels = train.load(256)
    coarse, labels = train.load(64)
    assert torch.equal(labels, fine_labels)
    shrunk = torch.nn.functional.avg_pool2d(fine.float(), 4)
    assert (shrunk - coarse).abs().mean() < 2.5
    enlarged = torch.nn.functional.interpolate(coarse.float(), scale_factor=4, mode="bilinear")
    # Drawn natively: far sharper than enlarged.
    assert (fine[..., 1:].float() - fine[..., :-1]).abs().max() > 200
    assert (enlarged[..., 1:] - enlarged[..., :-1]).abs().max() < 80


def test_the_pixels_never_change() -> None:
    pixels = load_dataset("pathfinder:n=40").train.load(64)[0].contiguous().numpy()
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "b77336d088e7a1f7"


def test_white_curves_share_one_channel_in_memory() -> None:
    images = load_dataset("pathfinder:hard,n=8").train.load(32)[0]
    assert images.stride(1) == 0
    assert images.unique().numel() > 2
    coloured = load_dataset("pathfinder:n=8").train.load(32)[0]
    assert not torch.equal(coloured[:, 0], coloured[:, 1])


# ---- nothing local gives the answer


def accuracy(features: Callable[[Tensor], Tensor], train: Loaded, test: Loaded) -> float:
    """Of ridge regression to +-1, the strength of which the test images choose: a bound."""
    x, tests = (features(images).double() for images, _ in (train, test))
    mean, std = x.mean(0), x.std(0) + 1e-9
    x, tests = (x - mean) / std, (tests - mean) / std
    y = train[1].double() * 2 - 1
    best = 0.0
    for strength in (1.0, 100.0, 10_000.0):
        gram = x.T @ x + strength * torch.eye(x.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(gram, x.T @ y)
        right = ((tests @ weights > 0) == (test[1] == 1)).double().mean()
        best = max(best, float(right))
    return best


def pooled(images: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(images.float(), 4).flatten(1)


def counts(images: Tensor) -> Tensor:
    """How many pixels are lit, and how brightly, of each colour and of white."""
    lit = [(images > level).float().mean((2, 3)) for level in (0, 64, 128, 192, 250)]
    white = (images.amin(1) > 128).float().mean((1, 2))[:, None]
    return torch.cat([images.float().mean((2, 3)), *lit, white], 1)


def patches(images: Tensor) -> Tensor:
    """How often each 2x2 pattern of lit quarter-resolution cells occurs: all that is local."""
    cells = (torch.nn.functional.max_pool2d(images.float().amax(1), 4) > 100).long()
    code = cells[:, :-1, :-1] + 2 * cells[:, 1:, :-1] + 4 * cells[:, :-1, 1:] + 8 * cells[:, 1:, 1:]
    return torch.nn.functional.one_hot(code, 16).flatten(1, 2).float().mean(1)


def dots(images: Tensor) -> Tensor:
    """Where the dots are and how far apart: moments of what is white and thick."""
    white = torch.nn.functional.avg_pool2d(images.float().amin(1)[:, None], 3, 1, 1)[:, 0] > 200
    weight = white.double()
    total = weight.sum((1, 2)) + 1e-9
    y, x = (axis / 63 for axis in torch.meshgrid(*[torch.arange(64.0)] * 2, indexing="ij"))
    means = [(weight * axis).sum((1, 2)) / total for axis in (x, y, x * x, y * y, x * y)]
    spread = means[2] - means[0] ** 2 + means[3] - means[1] ** 2
    return torch.stack([*means, spread, spread.clamp(0).sqrt(), total], 1)


@pytest.mark.parametrize("features", [pooled, counts, patches, dots])
def test_no_linear_or_counting_classifier_has_the_answer(
    features: Callable[[Tensor], Tensor], train: Loaded, test: Loaded
) -> None:
    # 400 test images: three standard errors are 7.5 points, and the best of three is taken.
    assert accuracy(features, train, test) < 0.60


def test_the_label_is_in_the_picture(train: Loaded, test: Loaded) -> None:
    """Whoever follows the curves, here by their colours around the dots, has the answer."""
    images, labels = test
    white = torch.nn.functional.avg_pool2d(images.float().amin(1)[:, None], 3, 1, 1)[:, 0]
    right = []
    for image, label, whiteness in zip(images.float(), labels, white, strict=True):
        y, x = torch.meshgrid(*[torch.arange(64.0)] * 2, indexing="ij")
        hues = []
        remaining = whiteness.clone()
        for _ in range(2):
            row, column = divmod(int(remaining.argmax()), 64)
            off = ((y - row) ** 2 + (x - column) ** 2).sqrt()
            remaining[off < 6] = 0
            ring = (off > 3) & (off < 6.5)
            coloured = image[:, ring]
            saturation = coloured.amax(0) - coloured.amin(0)
            hue = coloured[:, saturation.argmax()]
            hues.append(hue / hue.norm())
        right.append(bool(hues[0] @ hues[1] > 0.95) == bool(label))
    assert np.mean(right) > 0.85


# ---- masks


def test_masks_tell_curves_with_a_dot_from_those_without(dataset: ImageDataset) -> None:
    few = load_dataset("pathfinder:n=40")
    masks, (images, labels) = few.train.load_masks(64), few.train.load(64)
    assert few.mask_classes == MASK_CLASSES
    assert masks.shape == (40, 64, 64)
    assert masks.dtype == torch.uint8
    assert set(masks.unique().tolist()) == {0, 1, 2, 3}
    brightest = images.amax(1)
    assert (brightest[masks > 0] > 60).all()
    assert (brightest[masks == 0] < 140).all()
    assert (images.amin(1)[masks == 3] > 120).all()
    # Two long curves have a dot where they are apart, one where they are joined.
    dotted = (masks == 2).sum((1, 2)).float()
    plain = (masks == 1).sum((1, 2)).float()
    assert dotted[labels == 0].mean() > 1.7 * dotted[labels == 1].mean()
    assert plain[labels == 1].mean() > 1.7 * plain[labels == 0].mean()


def test_masks_belong_to_the_same_scene_at_every_resolution() -> None:
    train = load_dataset("pathfinder:n=16").train
    coarse, fine = train.load_masks(64), train.load_masks(256)
    lit = torch.nn.functional.max_pool2d((fine > 0).float(), 4) > 0
    assert lit[coarse > 0].float().mean() > 0.98
    for kind in (1, 2, 3):
        near = torch.nn.functional.max_pool2d((fine == kind).float(), 12, 4, 4) > 0
        assert near[coarse == kind].float().mean() > 0.99


def test_other_data_sets_have_no_masks() -> None:
    with pytest.raises(DataError, match=r"no masks.*choose from pathfinder"):
        load_dataset("mnist5k").test.load_masks(32)
    with pytest.raises(DataError, match="at least 1 pixel, not 0"):
        load_pathfinder("easy").test.load_masks(0)


# ---- the name


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", Difficulty()),
        ("easy", LEVELS["easy"]),
        ("hard", Difficulty(distractors=6, colours="white")),
        ("n=800", Difficulty(n=800)),
        ("hard,n=800,colours=own", Difficulty(n=800, distractors=6)),
        ("distractors=0,colours=white", Difficulty(distractors=0, colours="white")),
    ],
)
def test_the_name_says_how_hard(argument: str, expected: Difficulty) -> None:
    assert Difficulty.parse(argument) == expected
    if argument:
        check_dataset(f"pathfinder:{argument}")


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("hrad", "no level 'hrad'; did you mean 'hard'"),
        ("easy,m=3", "no option 'm'.*n, distractors, colours"),
        ("n=7", "n must be a whole number from 8 to 1,000,000, not '7'"),
        ("n=-4", "not '-4'"),
        ("n=1e3", "not '1e3'"),
        ("n=²", "not '²'"),
        ("n=", "option n has no value"),
        ("n=8,n=9", "option n is given twice"),
        ("distractors=9", "from 0 to 8, not '9'"),
        ("colours=red", "own or white, not 'red'"),
        ("easy,hard", "no option 'hard'"),
    ],
)
def test_a_wrong_name_is_explained(argument: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        check_dataset(f"pathfinder:{argument}")
    with pytest.raises(DataError, match=complaint):
        load_dataset(f"pathfinder:{argument}")
