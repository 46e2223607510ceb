"""A worker's job of one training: the data, the training itself, and what is kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paca_bench.analyse.dense import class_ious, mean_iou, pack_confusions
from paca_bench.data.dataset import ImageDataset
from paca_bench.data.registry import load_dataset
from paca_bench.measure.accuracy import (
    Checkpointing,
    Trained,
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
    if case.is_dense:
        dense = segment_and_test(case, dataset, recipe, job["seed"], checkpointing=checkpointing)
        return _dense_outcome(job, case, recipe, dataset, dense)
    result = train_and_test(
        case,
        dataset,
        recipe,
        job["seed"],
        keep_clusters=job.get("keep_clusters", False),
        checkpointing=checkpointing,
    )
    if result.test_accuracy is None:
        return _diverged(job, result)
    kept: dict[str, Any] = {}
    if result.clusters:
        kept["clusters"] = {"seed": job["seed"], "images": result.clusters}
    return _trained(
        job,
        case,
        recipe,
        dataset,
        result,
        samples={"accuracy": [result.test_accuracy]},
        details={
            "num_test": result.num_test,
            # One digit a test image, for comparisons image by image.
            "test_outcomes": ["".join(map(str, result.outcomes))],
            **kept,
        },
    )


def _dense_outcome(
    job: Job, case: Case, recipe: Recipe, dataset: ImageDataset, result: SegmentationResult
) -> Outcome:
    """mIoU of one training, and what its interval is made of."""
    if result.confusions is None:
        return _diverged(job, result)
    confusions = result.confusions.numpy()
    whole = confusions.sum(axis=0)
    return _trained(
        job,
        case,
        recipe,
        dataset,
        result,
        samples={"miou": [float(mean_iou(whole))]},
        details={
            "num_test": len(confusions),
            # A text, as lists of processes are joined.
            "mask_classes": "; ".join(dataset.mask_classes),
            "class_weights": [list(result.class_weights)],
            "class_iou": [[None if iou != iou else iou for iou in class_ious(whole).tolist()]],
            "test_confusions": [pack_confusions(confusions)],
        },
    )


def _diverged(job: Job, result: Trained) -> Outcome:
    reason = (
        f"the training of seed {job['seed']} diverged at step {result.diverged_at}; take "
        f"another --seed or --accuracy-res"
    )
    return Outcome(status=Status.ERROR, reason=reason)


def _trained(
    job: Job,
    case: Case,
    recipe: Recipe,
    dataset: ImageDataset,
    result: Trained,
    *,
    samples: dict[str, list[float]],
    details: dict[str, Any],
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
        samples={**samples, "train_images_per_s": [result.images_per_s]},
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
            **details,
            **kept,
        },
    )
