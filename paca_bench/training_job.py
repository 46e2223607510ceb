"""A worker's job of one training: the data, the training itself, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paca_bench.analyse.dense import class_ious, mean_iou, pack_confusions
from paca_bench.data.dataset import ImageDataset
from paca_bench.data.registry import load_dataset
from paca_bench.measure.accuracy import (
    Checkpointing,
    Trained,
    TrainingResult,
    reproducibility,
    train_and_test,
)
from paca_bench.measure.recipe import Recipe
from paca_bench.measure.segmentation import SegmentationResult, segment_and_test
from paca_bench.models.subject import case_tokens
from paca_bench.record import Case, Status
from paca_bench.workers import Job, Outcome


def train(job: Job) -> Outcome:
    """Test top-1 of one training; of the dense task its confusions and mIoU."""
    case = Case.from_json(job["case"])
    recipe = Recipe.from_json(job["recipe"])
    dataset = load_dataset(job["data"], on_error=job.get("bad_images", "raise"))
    checkpointing = None
    if "checkpoint" in job:
        checkpointing = Checkpointing(
            path=Path(job["checkpoint"]), every_steps=job.get("checkpoint_every_steps")
        )
    seed = job["seed"]
    result: Trained
    if case.is_dense:
        result = dense = segment_and_test(case, dataset, recipe, seed, checkpointing=checkpointing)
        tested = _dense(dataset, dense)
    else:
        keep = job.get("keep_clusters", False)
        result = classified = train_and_test(
            case, dataset, recipe, seed, keep_clusters=keep, checkpointing=checkpointing
        )
        tested = _classified(seed, classified)
    if tested is None:
        reason = (
            f"the training of seed {seed} diverged at step {result.diverged_at}; take another "
            f"--seed or --accuracy-res"
        )
        return Outcome(status=Status.ERROR, reason=reason)
    return _outcome(job, case, recipe, dataset, result, tested)


@dataclass(frozen=True, slots=True)
class _Tested:
    """What the test of a task gave, as an outcome keeps it."""

    samples: dict[str, list[float]]
    details: dict[str, Any]


def _classified(seed: int, result: TrainingResult) -> _Tested | None:
    """Test top-1; None if the training diverged."""
    if result.test_accuracy is None:
        return None
    details: dict[str, Any] = {
        "num_test": result.num_test,
        # One digit a test image, for comparisons image by image.
        "test_outcomes": ["".join(map(str, result.outcomes))],
    }
    if result.clusters:
        details["clusters"] = {"seed": seed, "images": result.clusters}
    return _Tested({"accuracy": [result.test_accuracy]}, details)


def _dense(dataset: ImageDataset, result: SegmentationResult) -> _Tested | None:
    """mIoU, and what its interval is made of; None if the training diverged."""
    if result.confusions is None:
        return None
    confusions = result.confusions.numpy()
    whole = confusions.sum(axis=0)
    return _Tested(
        {"miou": [float(mean_iou(whole))]},
        {
            "num_test": len(confusions),
            # A text, as lists of processes are joined.
            "mask_classes": "; ".join(dataset.mask_classes),
            "class_weights": [list(result.class_weights)],
            "class_iou": [[None if iou != iou else iou for iou in class_ious(whole).tolist()]],
            "test_confusions": [pack_confusions(confusions)],
        },
    )


def _outcome(
    job: Job, case: Case, recipe: Recipe, dataset: ImageDataset, result: Trained, tested: _Tested
) -> Outcome:
    """The outcome of one training: what was tested, and all that any training says."""
    kept: dict[str, Any] = {}
    if result.notes:
        kept["train_notes"] = [f"seed {job['seed']}: {note}" for note in result.notes]
    if dataset.notes:
        kept["dataset_notes"] = "; ".join(dataset.notes)
    metrics = {}
    if result.peak_memory_bytes is not None:
        metrics["train_peak_memory_bytes"] = result.peak_memory_bytes
    return Outcome(
        status=Status.OK,
        metrics=metrics,
        samples={**tested.samples, "train_images_per_s": [result.images_per_s]},
        details={
            "tokens": case_tokens(case),
            "dataset": job["data"],
            "recipe": recipe.to_json(),
            "seeds": [job["seed"]],
            "train_loss": [result.train_loss],
            "train_loss_window": [result.loss_window],
            "train_steps": [result.steps],
            "train_epochs": [result.epochs],
            "train_macs": [result.macs],
            "train_s": [result.train_seconds],
            "weights_sha256": [result.weights_sha256],
            "data_sha256": result.data_sha256,
            "train_reproducible": reproducibility(case, recipe, result.not_deterministic),
            **tested.details,
            **kept,
        },
    )
