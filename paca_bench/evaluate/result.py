"""What an evaluation found, as values and as JSON. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paca_bench.analyse.statistics import Estimate
from paca_bench.data.stream import BadImage
from paca_bench.evaluate.published import PublishedTop1

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One resolution.

    Attributes:
        side: of the square images, in pixels.
        preprocessing: how they were resized and cut, in words.
        published: the top-1 to compare with.
        images: that were classified.
        bad: files that could not be read.
        top1: share of images whose class has the largest logit.
        top5: share whose class is among the five largest; None for five classes or fewer,
            where it says nothing.
        model_images_per_s: forward passes alone; None for too few batches.
        images_per_s: decoding and all; likewise.
        kernel: the attention kernel that ran.
        notes: what a reader must know besides.
        reason: why nothing was measured; empty where it was.
    """

    side: int
    preprocessing: str
    published: PublishedTop1
    images: int = 0
    bad: tuple[BadImage, ...] = ()
    top1: Estimate | None = None
    top5: Estimate | None = None
    model_images_per_s: Estimate | None = None
    images_per_s: Estimate | None = None
    kernel: str = ""
    notes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def difference(self) -> float | None:
        """Top-1 less the published one, in percentage points."""
        if self.top1 is None or self.published.percent is None:
            return None
        return 100 * self.top1.value - self.published.percent

    def to_json(self) -> dict[str, Any]:
        """JSON values; shares are from 0 to 1, the published top-1 is in percent as printed."""
        return {
            "resolution": self.side,
            "images": self.images,
            "skipped": [{"path": str(one.path), "reason": one.reason} for one in self.bad],
            "top1": _estimate(self.top1),
            "top5": _estimate(self.top5),
            "model_images_per_s": _estimate(self.model_images_per_s),
            "images_per_s": _estimate(self.images_per_s),
            "kernel_path": self.kernel or None,
            "published_top1_percent": self.published.percent,
            "published_source": self.published.source or None,
            "published_why_none": self.published.why_none or None,
            "difference_points": self.difference,
            "preprocessing": self.preprocessing,
            "notes": list(self.notes),
            "reason": self.reason or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was evaluated, and on what.

    Attributes:
        model: its name.
        options: settings that differ from the published ones.
        checkpoint: the file.
        sha256: of the file.
        data: the folder whose folders are the classes.
        num_classes: outputs of the classifier.
        classes_present: class folders with images.
        images: files to classify.
        preprocessing: how images are normalised, and which published evaluation says so.
        computing: dtype and autocast, in words.
        batch: images a call.
        environment: machine and versions.
        notes: what a reader must know besides.
    """

    model: str
    options: Mapping[str, Any]
    checkpoint: str
    sha256: str
    data: str
    num_classes: int
    classes_present: int
    images: int
    preprocessing: str
    computing: str
    batch: int
    environment: Mapping[str, Any]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "model": self.model,
            "options": dict(self.options),
            "checkpoint": self.checkpoint,
            "checkpoint_sha256": self.sha256,
            "data": self.data,
            "num_classes": self.num_classes,
            "classes_present": self.classes_present,
            "images_found": self.images,
            "preprocessing": self.preprocessing,
            "computing": self.computing,
            "batch": self.batch,
            "environment": dict(self.environment),
            "notes": list(self.notes),
        }


def evaluation_json(header: Header, rows: list[Row], *, complete: bool) -> dict[str, Any]:
    """An evaluation as JSON values; ``complete`` is False if it was interrupted."""
    return {
        "schema": SCHEMA,
        **header.to_json(),
        "complete": complete,
        "rows": [row.to_json() for row in rows],
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "method": estimate.method,
    }
