"""Test accuracy after a training of fixed budget: the same recipe for all.

At a given seed every mechanism sees the same images in the same order under the same shifts,
and all weights of a host outside attention start equal. Nothing is selected on the test
images: what is tested is the model after the last step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from paca_bench.data.dataset import ImageDataset
from paca_bench.errors import SpecError, UnsupportedError
from paca_bench.measure.checkpoint_file import EVERY_S, CheckpointFile
from paca_bench.measure.classification import Autocast, Classification
from paca_bench.measure.clusters import kept_clusters
from paca_bench.measure.recipe import Recipe, step_macs, training_length
from paca_bench.measure.seeding import build_seeded, reproducible, weights_sha256
from paca_bench.measure.training import Task, Training
from paca_bench.record import Case

RESOLUTION_STEP = 32
_HASHED_AT_ONCE = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointing:
    """Where a training keeps its state, and when; see ``CheckpointFile``."""

    path: Path
    every_s: float = EVERY_S
    every_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What is kept of one seed's training, whatever was learned.

    Attributes:
        train_loss: means over windows of ``loss_window`` steps, before their updates; up to
            divergence.
        loss_window: see ``train_loss``.
        steps: optimizer steps made.
        epochs: passes over the training images, in fractions.
        macs: multiply-accumulates of all steps.
        train_seconds: of all steps; loading, testing and checkpoints not included.
        images_per_s: training images, over ``train_seconds``.
        peak_memory_bytes: most bytes of live tensors in a step over weights, optimizer state
            and data; None if the training diverged or torch cannot tell.
        weights_sha256: of the weights that were tested; see ``seeding.weights_sha256``.
        data_sha256: of the training images and what is to be learned of them.
        not_deterministic: operators that had no deterministic algorithm.
        diverged_at: the step (from 0) whose loss was not finite; ``steps`` if only the test
            showed it; None if all is well.
        notes: what a checkpoint did to the training, and why there is no peak.
    """

    train_loss: tuple[float, ...]
    loss_window: int
    steps: int
    epochs: float
    macs: int
    train_seconds: float
    images_per_s: float
    peak_memory_bytes: int | None
    weights_sha256: str
    data_sha256: str
    not_deterministic: tuple[str, ...]
    diverged_at: int | None
    notes: tuple[str, ...]

    @property
    def diverged(self) -> bool:
        """True if a loss or a logit was not finite; there is nothing to show for it then."""
        return self.diverged_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult(Trained):
    """One seed's training and test.

    Attributes:
        test_accuracy: share of test images whose class is the largest logit; None if the
            training diverged.
        outcomes: 1 where that is right and 0 where not, in the test split's order, so that
            mechanisms can be compared image by image; empty if the training diverged.
        clusters: what the host learned to cluster by, on a few test images; see
            ``kept_clusters``. Empty unless asked for.
    """

    test_accuracy: float | None
    outcomes: tuple[int, ...]
    clusters: list[dict[str, Any]]

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
    progress: Callable[[int], None] | None = None,
    *,
    keep_clusters: bool = False,
    checkpointing: Checkpointing | None = None,
) -> TrainingResult:
    """Train the case's module on ``dataset.train`` and test it on ``dataset.test``.

    The result is the same to the bit on one CPU with the same number of threads and the same
    torch, unless the budget is of time; also where the training was interrupted and gone on
    with from a checkpoint. The case's batch is not used: the batch is the recipe's.

    Args:
        case: of level ``host`` or ``model``, square, a multiple of 32 pixels; with dtype or
            autocast ``bfloat16`` it trains under autocast with float32 weights.
        dataset: where the images come from.
        recipe: how it is trained, and how long.
        seed: of weights, data order and shifts.
        progress: called with the number of steps done after each.
        keep_clusters: look at the clusters after the test; it changes nothing before.
        checkpointing: goes on with the training whose state is there, and keeps its own.

    Raises:
        SpecError: the case is not of square images of a multiple of 32 pixels, or a layer.
        UnsupportedError: the dtype, or the mechanism at this resolution.
        DataError: an image cannot be read.
    """
    check_trainable(case)
    device = torch.device(case.device)
    images, labels = dataset.train.load(case.height)
    autocast = autocast_of(case)
    task = Classification(images.to(device), labels.to(device), recipe, autocast)
    clusters: list[dict[str, Any]] = []

    def test(model: nn.Module) -> list[int] | None:
        test_images, test_labels = (t.to(device) for t in dataset.test.load(case.height))
        outcomes = task.test(model, test_images, test_labels)
        if keep_clusters and outcomes is not None:
            with autocast():
                clusters.extend(
                    kept_clusters(
                        model, test_images, test_labels, dataset.classes, task.normalisation.apply
                    )
                )
        return outcomes

    outcomes, trained = train(
        case,
        task,
        recipe,
        seed,
        test,
        num_classes=len(dataset.classes),
        data_sha256=data_sha256(images, labels),
        progress=progress,
        checkpointing=checkpointing,
    )
    return TrainingResult(
        **trained,
        test_accuracy=None if outcomes is None else sum(outcomes) / len(outcomes),
        outcomes=tuple(outcomes or ()),
        clusters=clusters,
    )


def train(
    case: Case,
    task: Task,
    recipe: Recipe,
    seed: int,
    test: Callable[[nn.Module], T | None],
    *,
    num_classes: int,
    data_sha256: str,
    progress: Callable[[int], None] | None = None,
    checkpointing: Checkpointing | None = None,
) -> tuple[T | None, dict[str, Any]]:
    """Train the case's module on ``task``, and call ``test`` with it in evaluation mode.

    Returns:
        What ``test`` says, which is None if a logit is not finite, as where the training
        diverged; and the fields of ``Trained``.
    """
    device = torch.device(case.device)
    with reproducible(device) as not_deterministic:
        model = build_seeded(case, num_classes, seed).to(device)
        length = training_length(case, recipe, num_classes)
        training = Training(model, task, recipe, length, seed)
        keeper = None
        if checkpointing is not None:
            keeper = CheckpointFile(
                checkpointing.path,
                _identity(case, recipe, seed, data_sha256),
                every_s=checkpointing.every_s,
                every_steps=checkpointing.every_steps,
            )
        training.run(keeper, progress)
        notes = list(keeper.notes) if keeper else []
        weights = weights_sha256(model)

        found, peak = None, None
        if not training.diverged:
            found = test(model.eval())
        if found is not None:
            try:
                peak = training.peak_bytes()
            except UnsupportedError as error:
                notes.append(str(error))
    images = training.steps * recipe.batch_size
    return found, {
        "train_loss": training.losses.points,
        "loss_window": training.losses.window,
        "steps": training.steps,
        "epochs": images / task.num_train,
        "macs": training.steps * step_macs(case, recipe, num_classes),
        "train_seconds": training.seconds,
        "images_per_s": images / training.seconds,
        "peak_memory_bytes": peak,
        "weights_sha256": weights,
        "data_sha256": data_sha256,
        "not_deterministic": tuple(sorted(not_deterministic)),
        "diverged_at": training.steps if found is None else None,
        "notes": tuple(notes),
    }


def autocast_of(case: Case) -> Autocast:
    """Makes the context of the case's forward passes: bfloat16, or as they are."""
    kind, half = torch.device(case.device).type, case.compute_dtype == "bfloat16"
    return lambda: torch.autocast(kind, torch.bfloat16, enabled=half)


def reproducibility(case: Case, recipe: Recipe, not_deterministic: tuple[str, ...]) -> str:
    """How far a training can be repeated, in words, for the record."""
    if recipe.budget.unit == "time":
        return "no: a budget of time ends after as many steps as the machine makes in it"
    if not_deterministic:
        return f"not to the bit: {', '.join(not_deterministic)} has no deterministic algorithm"
    if case.device == "cpu":
        return "to the bit on this CPU, with as many threads and the same torch"
    return "with deterministic algorithms, on the same GPU with the same torch"


def _identity(case: Case, recipe: Recipe, seed: int, data_sha256: str) -> dict[str, str]:
    """All that decides the bits of a training; see ``CheckpointFile``."""
    return {
        "case": json.dumps(case.to_json(), sort_keys=True),
        "recipe": json.dumps(recipe.to_json(), sort_keys=True),
        "seed": str(seed),
        "data set": data_sha256,
        "version of torch": str(torch.__version__),
        "number of threads": str(torch.get_num_threads()),
    }


def data_sha256(images: Tensor, targets: Tensor) -> str:
    """Of images uint8 ``[n, 3, R, R]``, and labels ``[n]`` or masks ``[n, R, R]``."""
    digest = hashlib.sha256(f"{tuple(images.shape)}".encode())
    for batch in images.split(_HASHED_AT_ONCE):
        digest.update(batch.contiguous().numpy().tobytes())
    digest.update(targets.numpy().tobytes())
    return digest.hexdigest()


def check_trainable(case: Case) -> None:
    """Raise ``SpecError`` or ``UnsupportedError`` unless the case can be trained."""
    if case.level == "layer":
        raise SpecError(f"accuracy is of a host or a model, not of level 'layer' ({case.id})")
    if case.height != case.width or case.height < 1 or case.height % RESOLUTION_STEP:
        raise SpecError(
            f"accuracy needs square images of a multiple of {RESOLUTION_STEP} pixels, not "
            f"{case.height}x{case.width}; choose 32, 64, 96, ..."
        )
    if case.compute_dtype not in ("float32", "bfloat16"):
        raise UnsupportedError(
            f"accuracy in {case.compute_dtype} is not offered; choose float32, or bfloat16 "
            f"(autocast)"
        )
