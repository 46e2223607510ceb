"""The dense task: its loss, its confusions, and trainings of both heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paca_bench.analyse.dense import mean_iou
from paca_bench.complexity.count import agreed_counts
from paca_bench.data.dataset import ImageDataset, Split
from paca_bench.data.pathfinder import MASK_CLASSES as PATHFINDER_CLASSES
from paca_bench.errors import DataError, SpecError
from paca_bench.measure.accuracy import Checkpointing
from paca_bench.measure.recipe import Recipe, step_macs
from paca_bench.measure.seeding import build_seeded
from paca_bench.measure.segmentation import (
    AUXILIARY_WEIGHT,
    Segmentation,
    balanced_weights,
    confusions,
    segment_and_test,
)
from paca_bench.models.subject import MASK_CLASSES
from paca_bench.record import HEADS, Case
from paca_bench.train_budget import TrainBudget

pytestmark = pytest.mark.usefixtures("one_thread", "no_peak")

RECIPE = Recipe(budget=TrainBudget("steps", 3), batch_size=4, lr=2e-3, shift=1 / 14)


def make_case(head: str = "paca", mechanism: str = "pvt", **changes: object) -> Case:
    axes = {"level": "host", "host": "nano", "height": 32, "width": 32, "mode": "segment"}
    return Case(**{**axes, **changes}, mechanism=mechanism, head=head)


def blobs(count: int, seed: int) -> Split:
    """A bright square somewhere on noise: its pixels are of class 1."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 32, 32), dtype=np.uint8)
    for mask, (row, column) in zip(masks, rng.integers(0, 20, (count, 2)), strict=True):
        mask[row : row + 12, column : column + 12] = 1
    pixels = np.clip(60 + 140 * masks + rng.normal(0, 20, masks.shape), 0, 255).astype(np.uint8)
    images = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1)
    labels = np.zeros(count, dtype=np.int64)
    return Split(labels, lambda side: images, lambda side: torch.from_numpy(masks))


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    names = ("dark", "bright")
    return ImageDataset("blobs", ("one",), blobs(20, 0), blobs(10, 1), mask_classes=names)


@pytest.mark.parametrize("head", HEADS)
def test_a_head_learns_bright_pixels(dataset: ImageDataset, head: str) -> None:
    recipe = replace(RECIPE, budget=TrainBudget("steps", 25), batch_size=8, shift=0.0)
    result = segment_and_test(make_case(head), dataset, recipe, seed=0)
    assert result.confusions is not None
    assert result.confusions.shape == (10, 2, 2)
    assert (result.confusions.sum(dim=(1, 2)) == 32 * 32).all()
    # All dark would be 0.43.
    assert mean_iou(result.confusions.sum(dim=0).numpy()) > 0.6


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    dataset: ImageDataset, head: str
) -> None:
    torch.manual_seed(1)
    first = segment_and_test(make_case(head), dataset, RECIPE, seed=5)
    torch.manual_seed(2)
    second = segment_and_test(make_case(head), dataset, RECIPE, seed=5)
    other = segment_and_test(make_case(head), dataset, RECIPE, seed=6)
    assert first.confusions is not None
    assert second.confusions is not None
    assert torch.equal(first.confusions, second.confusions)
    assert first.train_loss == second.train_loss != other.train_loss
    assert first.weights_sha256 == second.weights_sha256 != other.weights_sha256
    assert first.macs == 3 * step_macs(make_case(head), RECIPE, 2)
    assert (first.steps, first.epochs, first.diverged) == (3, 12 / 20, False)


def test_a_training_that_was_killed_is_gone_on_with_to_the_same_bits(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    case, undisturbed = make_case(), segment_and_test(make_case(), dataset, RECIPE, seed=3)
    checkpointing = Checkpointing(path=tmp_path / "a.pt", every_steps=2)

    def kill(steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_and_test(
            case, dataset, RECIPE, 3,
            lambda steps: kill(steps) if steps == 2 else None, checkpointing=checkpointing,
        )  # fmt: skip
    resumed = segment_and_test(case, dataset, RECIPE, 3, checkpointing=checkpointing)
    assert resumed.notes == ("gone on with after step 2",)
    assert resumed.weights_sha256 == undisturbed.weights_sha256
    assert resumed.train_loss == undisturbed.train_loss
    # The same file is of no use to the other head.
    other = segment_and_test(make_case("linear"), dataset, RECIPE, 3, checkpointing=checkpointing)
    assert "another case" in other.notes[0]


def test_heads_start_on_equal_backbones() -> None:
    first, second = (build_seeded(make_case(head), 4, seed=1).state_dict() for head in HEADS)
    shared = first.keys() & second.keys()
    assert {name for name in first if name.startswith("backbone.")} <= shared
    assert any(name.startswith("decode_head.convs.") for name in shared)
    same_shape = {name for name in shared if first[name].shape == second[name].shape}
    assert shared - same_shape == {"decode_head.conv_seg.weight"}
    for name in same_shape - {"decode_head.conv_seg.bias"}:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("mechanism", "clusters"), [("vit", None), ("swin", None), ("paca", 9)])
def test_the_closed_form_counts_every_operation_and_parameter(
    head: str, mechanism: str, clusters: int | None
) -> None:
    agreed = agreed_counts(make_case(head, mechanism, num_clusters=clusters, width=96))
    assert agreed.method == "closed form and count of operators agree"
    assert agreed.counts.backward is not None


def test_predictions_assume_as_many_classes_as_pathfinder_has() -> None:
    assert len(PATHFINDER_CLASSES) == MASK_CLASSES


# ---- the loss and the test, by hand


class Fixed(nn.Module):
    """Says the same whatever it is shown."""

    def __init__(self, *scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        batch = [one.expand(len(images), -1, -1, -1) for one in self.scores]
        return batch[0] if len(batch) == 1 else tuple(batch)


def make_task(masks: Tensor, classes: int) -> Segmentation:
    images = torch.zeros(len(masks), 3, *masks.shape[1:], dtype=torch.uint8)
    recipe = replace(RECIPE, shift=0.0)
    return Segmentation(
        images, masks, classes, recipe, lambda: torch.autocast("cpu", enabled=False)
    )


def test_confusions_are_counted_by_hand() -> None:
    masks = torch.tensor([[[0, 1], [2, 2]], [[0, 0], [0, 1]]], dtype=torch.uint8)
    said = torch.tensor([[[0, 2], [2, 0]], [[0, 0], [1, 1]]])
    expected = [[[1, 0, 0], [0, 0, 1], [1, 0, 1]], [[2, 1, 0], [0, 1, 0], [0, 0, 0]]]
    assert confusions(masks, said, 3).tolist() == expected


def test_weights_are_the_root_of_the_inverse_frequency() -> None:
    masks = torch.zeros(1, 10, 10, dtype=torch.uint8)
    masks[0, 0, :4] = 1  # 96 of class 0, 4 of class 1, none of class 2
    weights = balanced_weights(masks, 3)
    assert weights[1] / weights[0] == pytest.approx((96 / 4) ** 0.5)
    assert weights[2] == 0
    assert 0.96 * weights[0] + 0.04 * weights[1] == pytest.approx(1)


def test_the_loss_is_that_of_enlarged_scores_and_of_the_assignment() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.uint8)
    masks[:, 2:] = 1
    task = make_task(masks, 2)
    torch.testing.assert_close(task.class_weights, torch.ones(2))
    flat, sure = torch.zeros(1, 2, 1, 1), torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    chosen, draw = torch.tensor([0, 1]), torch.Generator()
    equal = np.log(2)
    # Half of the pixels are of class 0, of which it is sure with e^2 to 1.
    half_right = (np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 2
    assert task.loss(Fixed(flat), chosen, draw).item() == pytest.approx(equal)
    assert task.loss(Fixed(sure), chosen, draw).item() == pytest.approx(half_right)
    both = task.loss(Fixed(flat, sure), chosen, draw).item()
    assert both == pytest.approx(equal + AUXILIARY_WEIGHT * half_right)


def test_a_logit_that_is_not_finite_ends_the_test() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.uint8)
    task = make_task(masks, 2)
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    assert task.test(Fixed(torch.full((1, 2, 1, 1), float("nan"))), images, masks) is None
    found = task.test(Fixed(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)), images, masks)
    assert found is not None
    assert found.tolist() == [[[16, 0], [0, 0]]] * 3


def test_what_cannot_be_trained_is_named(dataset: ImageDataset) -> None:
    with pytest.raises(SpecError, match="no segmentation head"):
        segment_and_test(make_case("none"), dataset, RECIPE, 0)
    bare = replace(dataset, train=replace(dataset.train, read_masks=None))
    with pytest.raises(DataError, match="no masks"):
        segment_and_test(make_case(), bare, RECIPE, 0)
