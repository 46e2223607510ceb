"""The dense task: which class each pixel is of. Its loss, its test, and one seed's training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from paca_bench.data.dataset import ImageDataset, Normalisation
from paca_bench.errors import SpecError
from paca_bench.measure.accuracy import (
    Checkpointing,
    Trained,
    autocast_of,
    check_trainable,
    data_sha256,
    train,
)
from paca_bench.measure.classification import TEST_BATCH, Autocast, shift_images
from paca_bench.measure.recipe import Recipe
from paca_bench.record import Case

# Of the loss of a head's assignment beside that of its scores, as in the official training.
AUXILIARY_WEIGHT = 0.4
# Logits of so many numbers at once, which bounds the memory of a test.
_LOGITS_AT_ONCE = 2**26


class Segmentation:
    """A ``training.Task`` on images whose every pixel has a class.

    Args:
        images: uint8 ``[n, 3, R, R]`` of the training split, on the model's device.
        masks: uint8 ``[n, R, R]``, likewise.
        num_classes: classes of the masks.
        recipe: label smoothing and shift.
        autocast: makes the context that the forward passes run in.

    Attributes:
        class_weights: of the loss, float32 ``[num_classes]``; see ``balanced_weights``.
    """

    def __init__(
        self, images: Tensor, masks: Tensor, num_classes: int, recipe: Recipe, autocast: Autocast
    ) -> None:
        self.num_train = len(images)
        self.normalisation = Normalisation.of(images)
        self.class_weights = balanced_weights(masks, num_classes)
        self._images = images
        self._masks = masks
        self._recipe = recipe
        self._autocast = autocast

    def loss(self, model: nn.Module, chosen: Tensor, draw: torch.Generator) -> Tensor:
        """See ``training.Task``: weighted cross-entropy of all pixels, of images that are shifted.

        Where the head gives its assignment too, that is learned as well, ``AUXILIARY_WEIGHT``.
        """
        reach = round(self._recipe.shift * self._images.shape[-1])
        shifts = torch.randint(-reach, reach + 1, (len(chosen), 2), generator=draw)
        device = self._images.device
        chosen, shifts = chosen.to(device), shifts.to(device)
        masks = shift_images(self._masks[chosen, None], shifts)[:, 0].long()
        scores = self._scores(model, shift_images(self._images[chosen], shifts))
        if isinstance(scores, Tensor):
            return self._cross_entropy(scores, masks)
        main, assignment = (self._cross_entropy(one, masks) for one in scores)
        return main + AUXILIARY_WEIGHT * assignment

    def _cross_entropy(self, scores: Tensor, masks: Tensor) -> Tensor:
        return cross_entropy(
            at_size(scores, masks),
            masks,
            weight=self.class_weights,
            label_smoothing=self._recipe.label_smoothing,
        )

    def _scores(self, model: nn.Module, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """What the model says of uint8 ``[B, 3, R, R]``, each ``[B, classes, h, w]``."""
        with self._autocast():
            scores: Tensor | tuple[Tensor, Tensor] = model(self.normalisation.apply(images))
        return scores

    @torch.inference_mode()
    def test(self, model: nn.Module, images: Tensor, masks: Tensor) -> Tensor | None:
        """The confusion of each image, int64 ``[n, classes, classes]``: pixels by (true, said).

        None if a logit is not finite. ``model`` is to be in evaluation mode.
        """
        classes = len(self.class_weights)
        step = max(min(_LOGITS_AT_ONCE // (classes * masks[0].numel()), TEST_BATCH), 1)
        found = []
        for batch, expected in zip(images.split(step), masks.split(step), strict=True):
            scores = self._scores(model, batch)
            assert isinstance(scores, Tensor)
            logits = at_size(scores, expected)
            if not logits.isfinite().all():
                return None
            found.append(confusions(expected, logits.argmax(1), classes))
        return torch.cat(found).cpu()


def at_size(scores: Tensor, masks: Tensor) -> Tensor:
    """``[B, classes, h, w]`` -> float32 ``[B, classes, R, R]``, bilinear, as masks are."""
    return interpolate(scores.float(), size=masks.shape[-2:], mode="bilinear", align_corners=False)


def balanced_weights(masks: Tensor, num_classes: int) -> Tensor:
    """Weights against imbalance, float32 ``[num_classes]``: the root of the inverse frequency.

    Scaled so that the mean over all pixels is 1, and 0 for a class without a pixel. Thin curves
    cover a few percent of an image: unweighted, background alone is a good answer; weighted by
    the whole inverse, curves come out too wide for a good mIoU.
    """
    counts = torch.bincount(masks.flatten(), minlength=num_classes).cpu().double()
    roots = counts.clamp(min=1).rsqrt() * (counts > 0)
    return (roots * counts.sum() / (roots @ counts)).float().to(masks.device)


def confusions(masks: Tensor, said: Tensor, num_classes: int) -> Tensor:
    """Pixels of each image by (true, said) class: two ``[B, R, R]`` -> int64 ``[B, K, K]``."""
    batch, square = len(masks), num_classes**2
    cells = masks.long() * num_classes + said
    cells = cells.flatten(1) + square * torch.arange(batch, device=masks.device)[:, None]
    counts = torch.bincount(cells.flatten(), minlength=batch * square)
    return counts.view(batch, num_classes, num_classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationResult(Trained):
    """One seed's training and test on the dense task.

    Attributes:
        confusions: of each test image, int64 ``[n, classes, classes]``, pixels by (true, said);
            None if the training diverged.
        class_weights: of the loss.
    """

    confusions: Tensor | None
    class_weights: tuple[float, ...]


def segment_and_test(
    case: Case,
    dataset: ImageDataset,
    recipe: Recipe,
    seed: int,
    progress: Callable[[int], None] | None = None,
    *,
    checkpointing: Checkpointing | None = None,
) -> SegmentationResult:
    """Train the case's host and head on the masks of ``dataset.train``; test on ``dataset.test``.

    All else is as in ``train_and_test``: at a seed all mechanisms and heads see the same images
    in the same order, and whatever two models have in common outside attention starts equal.

    Raises:
        SpecError: the case is not of the dense task, or of images that are not square or no
            multiple of 32 pixels.
        UnsupportedError: the dtype, or the mechanism at this resolution.
        DataError: the data set has no masks.
    """
    check_trainable(case)
    if not case.is_dense:
        raise SpecError(f"{case.id} has no segmentation head; choose --head paca or linear")
    device = torch.device(case.device)
    masks = dataset.train.load_masks(case.height)
    images, _ = dataset.train.load(case.height)
    num_classes = len(dataset.mask_classes)
    task = Segmentation(images.to(device), masks.to(device), num_classes, recipe, autocast_of(case))

    def test(model: nn.Module) -> Tensor | None:
        test_images, _ = dataset.test.load(case.height)
        test_masks = dataset.test.load_masks(case.height)
        return task.test(model, test_images.to(device), test_masks.to(device))

    found, trained = train(
        case,
        task,
        recipe,
        seed,
        test,
        num_classes=num_classes,
        data_sha256=data_sha256(images, masks),
        progress=progress,
        checkpointing=checkpointing,
    )
    weights = tuple(task.class_weights.tolist())
    return SegmentationResult(**trained, confusions=found, class_weights=weights)
