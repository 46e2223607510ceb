"""The task of telling which class an image is of: its loss, its augmentation, its test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paca_bench.data.dataset import Normalisation
from paca_bench.measure.recipe import Recipe

TEST_BATCH = 250

Autocast = Callable[[], AbstractContextManager[object]]


class Classification:
    """A ``training.Task`` on labelled images.

    Args:
        images: uint8 ``[n, 3, R, R]`` of the training split, on the model's device.
        labels: int64 ``[n]``, likewise.
        recipe: label smoothing and shift.
        autocast: makes the context that the forward passes run in.
    """

    def __init__(self, images: Tensor, labels: Tensor, recipe: Recipe, autocast: Autocast) -> None:
        self.num_train = len(labels)
        self.normalisation = Normalisation.of(images)
        self._images = images
        self._labels = labels
        self._recipe = recipe
        self._autocast = autocast

    def loss(self, model: nn.Module, chosen: Tensor, draw: torch.Generator) -> Tensor:
        """See ``training.Task``: cross-entropy, of images that are shifted."""
        reach = round(self._recipe.shift * self._images.shape[-1])
        shifts = torch.randint(-reach, reach + 1, (len(chosen), 2), generator=draw)
        device = self._images.device
        chosen, shifts = chosen.to(device), shifts.to(device)
        logits = self.logits(model, shift_images(self._images[chosen], shifts))
        return cross_entropy(
            logits, self._labels[chosen], label_smoothing=self._recipe.label_smoothing
        )

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """uint8 ``[B, 3, R, R]`` -> float32 ``[B, classes]``."""
        with self._autocast():
            logits: Tensor = model(self.normalisation.apply(images))
        return logits.float()

    @torch.inference_mode()
    def test(self, model: nn.Module, images: Tensor, labels: Tensor) -> list[int] | None:
        """1 for each image whose class has the largest logit, or 0; None if one is not finite.

        ``model`` is to be in evaluation mode.
        """
        right = []
        for batch, expected in zip(images.split(TEST_BATCH), labels.split(TEST_BATCH), strict=True):
            logits = self.logits(model, batch)
            if not logits.isfinite().all():
                return None
            right.append(logits.argmax(1) == expected)
        outcomes: list[int] = torch.cat(right).int().tolist()
        return outcomes


def shift_images(images: Tensor, shifts: Tensor) -> Tensor:
    """``[B, 3, R, R]`` moved by ``[B, 2]`` pixels (down, right), the edge repeated."""
    batch, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) - shifts[:, :1]
    columns = torch.arange(width, device=images.device) - shifts[:, 1:]
    return images[
        torch.arange(batch, device=images.device)[:, None, None, None],
        torch.arange(channels, device=images.device)[None, :, None, None],
        rows.clamp_(0, height - 1)[:, None, :, None],
        columns.clamp_(0, width - 1)[:, None, None, :],
    ]
