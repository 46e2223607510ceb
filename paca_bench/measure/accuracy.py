"""Test accuracy after a fixed-budget training of the host: the same budget for all.

At a given seed every mechanism sees the same images in the same order under the same shifts,
and all weights outside attention start equal. Nothing is selected on the test images: what
is tested is the model after the last step.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paca_bench.attention.base import Attention
from paca_bench.data.dataset import ImageDataset, Normalisation
from paca_bench.errors import SpecError, UnsupportedError
from paca_bench.measure.clusters import kept_clusters
from paca_bench.measure.recipe import Recipe
from paca_bench.models.subject import build_subject
from paca_bench.record import Case

Progress = Callable[[int, int], None]
Classify = Callable[[Tensor], Tensor]

RESOLUTION_STEP = 32
TEST_BATCH = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """One seed's training and test.

    Attributes:
        test_accuracy: share of test images whose class is the largest logit; None if the
            training diverged.
        outcomes: 1 where that is right and 0 where not, in the test split's order, so that
            mechanisms can be compared image by image; empty if the training diverged.
        train_loss: of each step, before its update; up to divergence.
        steps: optimiser steps made.
        epochs: passes over the training images, in fractions.
        train_seconds: of all steps, loading and testing not included.
        images_per_s: training images, over ``train_seconds``.
        diverged_at: the step (from 0) whose loss was not finite; ``steps`` if only the test
            showed it; None if all is well.
        clusters: what the host learned to cluster by, on a few test images; see
            ``kept_clusters``. Empty unless asked for.
    """

    test_accuracy: float | None
    outcomes: tuple[int, ...]
    train_loss: tuple[float, ...]
    steps: int
    epochs: float
    train_seconds: float
    images_per_s: float
    diverged_at: int | None
    clusters: list[dict[str, Any]]

    @property
    def diverged(self) -> bool:
        """True if a loss or a logit was not finite; there is no accuracy then."""
        return self.diverged_at is not None

    @property
    def correct(self) -> int:
        """Test images classified rightly."""
        return sum(self.outcomes)

    @property
    def num_test(self) -> int:
        """Test images classified; 0 if the training diverged."""
        return len(self.outcomes)


def train_and_test(
    case: Case,
    dataset: ImageDataset,
    recipe: Recipe,
    seed: int,
    progress: Progress | None = None,
    *,
    keep_clusters: bool = False,
) -> TrainingResult:
    """Train the case's host on ``dataset.train`` and test it on ``dataset.test``.

    The result is the same to the bit on one CPU with the same number of threads and the same
    torch. The case's batch is not used: the batch is the recipe's.

    Args:
        case: of level ``host``, square, a multiple of 32 pixels; ``bfloat16`` trains under
            autocast with float32 weights.
        dataset: where the images come from.
        recipe: the budget.
        seed: of weights, data order and shifts.
        progress: called as ``progress(steps done, steps)`` after each step.
        keep_clusters: look at the clusters after the test; it changes nothing before.

    Raises:
        SpecError: the case is not a host on square images of a multiple of 32 pixels.
        UnsupportedError: the dtype, or the mechanism at this resolution.
        DataError: an image cannot be read.
    """
    _check(case)
    device = torch.device(case.device)
    model = build_seeded(case, len(dataset.classes), seed).to(device)
    images, labels = (t.to(device) for t in dataset.train.load(case.height))
    normalisation = Normalisation.of(images)
    schedule = make_schedule(recipe, len(labels), case.height, seed).to(device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=case.dtype == "bfloat16")

    def classify(pixels: Tensor) -> Tensor:
        with autocast:
            logits: Tensor = model(normalisation.apply(pixels))
        return logits.float()

    start = time.perf_counter()
    losses = []
    for loss in _train(model, classify, images, labels, schedule, recipe):
        losses.append(loss)
        if progress:
            progress(len(losses), recipe.steps)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start

    outcomes = None
    clusters = []
    if len(losses) == recipe.steps:
        test_images, test_labels = (t.to(device) for t in dataset.test.load(case.height))
        model.eval()
        outcomes = _test(classify, test_images, test_labels)
        if keep_clusters and outcomes is not None:
            with autocast:
                clusters = kept_clusters(
                    model, test_images, test_labels, dataset.classes, normalisation.apply
                )
    trained = len(losses) * recipe.batch_size
    return TrainingResult(
        test_accuracy=None if outcomes is None else sum(outcomes) / len(outcomes),
        outcomes=tuple(outcomes or ()),
        train_loss=tuple(losses),
        steps=len(losses),
        epochs=trained / len(labels),
        train_seconds=seconds,
        images_per_s=trained / seconds,
        diverged_at=len(losses) if outcomes is None else None,
        clusters=clusters,
    )


@dataclass(frozen=True)
class Schedule:
    """What every mechanism sees at a seed.

    Attributes:
        order: int64 ``[steps, batch]``, indices of training images.
        shifts: int64 ``[steps, batch, 2]``, pixels down and right.
    """

    order: Tensor
    shifts: Tensor

    def to(self, device: torch.device) -> Schedule:
        """The same on ``device``."""
        return Schedule(self.order.to(device), self.shifts.to(device))


def make_schedule(recipe: Recipe, num_train: int, resolution: int, seed: int) -> Schedule:
    """Shuffled passes over the training images, one after the other, cut into batches.

    It depends on the arguments alone, not on the mechanism or on torch's global generator.
    """
    total = recipe.steps * recipe.batch_size
    order = _generator(seed, "order")
    passes = [torch.randperm(num_train, generator=order) for _ in range(-(-total // num_train))]
    reach = round(recipe.shift * resolution)
    shape = (recipe.steps, recipe.batch_size, 2)
    shifts = torch.randint(-reach, reach + 1, shape, generator=_generator(seed, "shifts"))
    return Schedule(torch.cat(passes)[:total].view(recipe.steps, recipe.batch_size), shifts)


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


def build_seeded(case: Case, num_classes: int, seed: int) -> nn.Module:
    """The case's module with weights that depend on the seed and on each module's own name.

    Attention starts as its constructor leaves it. The rest is drawn again, each module from a
    generator seeded by its name, so that it does not depend on how many random numbers the
    mechanism used: whatever two mechanisms have in common starts equal.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_derive(seed, "attention"))
        model = build_subject(case, num_classes)
        for name, module in _outside_attention(model, ""):
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                torch.manual_seed(_derive(seed, name))
                reset()
    return model


def _outside_attention(module: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    """``module`` and all modules in it that are no part of an ``Attention``, with names."""
    if isinstance(module, Attention):
        return []
    found = [(name, module)]
    for child_name, child in module.named_children():
        found += _outside_attention(child, f"{name}.{child_name}")
    return found


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; tensors of one dimension, the biases and norms, are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in parameters if p.dim() > 1],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def _train(
    model: nn.Module,
    classify: Classify,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    recipe: Recipe,
) -> Iterator[float]:
    """Train, yielding the loss of each step after its update; end at one that is not finite."""
    optimizer = make_optimizer(model, recipe)
    model.train()
    for step, (chosen, shifts) in enumerate(zip(schedule.order, schedule.shifts, strict=True)):
        logits = classify(shift_images(images[chosen], shifts))
        loss = cross_entropy(logits, labels[chosen], label_smoothing=recipe.label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            return
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_at(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        yield value


@torch.inference_mode()
def _test(classify: Classify, images: Tensor, labels: Tensor) -> list[int] | None:
    """1 or 0 for each image; None if a logit is not finite."""
    right = []
    for batch, expected in zip(images.split(TEST_BATCH), labels.split(TEST_BATCH), strict=True):
        logits = classify(batch)
        if not logits.isfinite().all():
            return None
        right.append(logits.argmax(1) == expected)
    outcomes: list[int] = torch.cat(right).int().tolist()
    return outcomes


def _generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(_derive(seed, purpose))


def _derive(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, unrelated to those of the neighbouring seeds."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _check(case: Case) -> None:
    if case.level != "host":
        raise SpecError(f"accuracy is of a host, not of level {case.level!r} ({case.id})")
    if case.height != case.width or case.height < 1 or case.height % RESOLUTION_STEP:
        raise SpecError(
            f"accuracy needs square images of a multiple of {RESOLUTION_STEP} pixels, not "
            f"{case.height}x{case.width}; choose 32, 64, 96, ..."
        )
    if case.dtype not in ("float32", "bfloat16"):
        raise UnsupportedError(
            f"accuracy in {case.dtype} is not offered; choose float32, or bfloat16 (autocast)"
        )
