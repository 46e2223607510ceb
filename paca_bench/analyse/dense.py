"""Mean intersection over union (mIoU) of the dense task, with its interval, and head beside head.

The IoU of a class is that of all test pixels together (Everingham et al., IJCV 2010): the
confusions of the images are summed, then the intersection is divided by the union. The mean is
over the classes that some test pixel has, or was said to have.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paca_bench.analyse.accuracy_pairs import MARGIN, Q, judge_accuracies
from paca_bench.analyse.curves import Row, groups, measured, records
from paca_bench.analyse.statistics import Estimate, check_confidence, student
from paca_bench.analyse.trainings import Training
from paca_bench.errors import SpecError, StoreError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

BOOTSTRAP_DRAWS = 2000
_BOOTSTRAP_SEED = 0

# What trainings of the dense task have in common where only their heads differ.
ALIKE = (
    *("run", "host", "height", "width", "batch", "dtype"),
    *("device", "execution", "dataset", "label"),
)
_COLUMNS = (
    *(*ALIKE, "head", "other", "miou", "other_miou"),
    *("difference", "difference_low", "difference_high", "verdict", "reason"),
    *("p", "adjusted_p", "detectable", "seeds_needed", "seeds", "method"),
)


def pack_confusions(confusions: Counts) -> str:
    """``[images, K, K]`` as text for a record; ``unpack_confusions`` is the inverse."""
    content = np.ascontiguousarray(confusions, dtype="<u4").tobytes()
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def unpack_confusions(text: str, num_classes: int) -> Counts:
    """The inverse of ``pack_confusions``.

    Raises:
        StoreError: the text is no confusions of so many classes.
    """
    try:
        flat = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<u4")
        return flat.reshape(-1, num_classes, num_classes).astype(np.int64)
    except (ValueError, zlib.error) as error:
        raise StoreError(f"not the confusions of {num_classes} classes: {error}") from error


def class_ious(confusion: NDArray[Any]) -> Floats:
    """IoU of each class, ``[..., K]``, from pixels by (true, said), ``[..., K, K]``.

    NaN for a class that no pixel has or was said to have.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    unions = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
    unknown = np.full_like(hits, math.nan)
    return np.asarray(np.divide(hits, unions, out=unknown, where=unions > 0))


def mean_iou(confusion: NDArray[Any]) -> Floats:
    """The mean of ``class_ious`` over the classes that there are, ``[...]``."""
    return np.asarray(np.nanmean(class_ious(confusion), axis=-1))


def miou_estimate(confusions: Counts, confidence: float = 0.95) -> Estimate:
    """The mean mIoU over trainings with different seeds, all tested on the same images.

    As in ``seed_estimate`` two things are random. The interval is the union of Student's t over
    the seeds and of the percentile bootstrap over test images, which are drawn for all seeds
    alike, as mIoU is no mean over images. One seed has the latter alone, and ``method`` says so.

    Args:
        confusions: ``[seeds, images, K, K]``, pixels by (true, said).
        confidence: of the interval.

    Raises:
        SpecError: no seed or no image, or a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    seeds, images = confusions.shape[:2]
    if not seeds or not images:
        raise SpecError(f"mIoU needs a seed and a test image, given: {seeds} and {images}")
    values = mean_iou(confusions.sum(axis=1))
    value = float(values.mean())
    ends, hows = [value], []
    if seeds > 1:
        half = student(confidence, seeds - 1) * float(values.std(ddof=1)) / math.sqrt(seeds)
        ends += [max(value - half, 0.0), min(value + half, 1.0)]
        hows.append(f"{confidence:.0%} t interval over {seeds} seeds")
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    ends += np.quantile(_bootstrap(confusions), tails).tolist()
    hows.append(f"{confidence:.0%} bootstrap interval over {images} test images")
    how = ", widened to the ".join(hows)
    if seeds == 1:
        how += " of one seed, a lower bound on the uncertainty"
    return Estimate(value, min(ends), max(ends), how, seeds, seeds)


def _bootstrap(confusions: Counts) -> Floats:
    """The mean mIoU over seeds of images drawn with replacement, ``[BOOTSTRAP_DRAWS]``."""
    seeds, images, classes, _ = confusions.shape
    rng = np.random.Generator(np.random.PCG64(_BOOTSTRAP_SEED))
    times = rng.multinomial(images, np.full(images, 1 / images), size=BOOTSTRAP_DRAWS)
    flat = confusions.transpose(1, 0, 2, 3).reshape(images, -1).astype(float)
    drawn = (times.astype(float) @ flat).reshape(-1, seeds, classes, classes)
    return np.asarray(mean_iou(drawn).mean(axis=1))


def image_shares(confusions: Counts) -> Floats:
    """What each image adds to the mIoU of its seed, ``[seeds, images]``, to first order.

    Their mean over images is the mIoU itself, and their scatter that of the mIoU over the
    choice of images (the delta method), so that they can stand where the outcomes of a
    classification do.
    """
    hits = np.diagonal(confusions, axis1=-2, axis2=-1).astype(float)
    unions = confusions.sum(axis=-1) + confusions.sum(axis=-2) - hits
    whole = unions.sum(axis=1, keepdims=True)
    known = whole > 0
    safe = np.where(known, whole, 1.0)
    ious = hits.sum(axis=1, keepdims=True) / safe
    pulls = confusions.shape[1] * (hits - ious * unions) / safe
    count = known.sum(axis=-1)
    return np.asarray(((ious + pulls) * known).sum(axis=-1) / count)


def dense_trainings(df: pd.DataFrame) -> pd.DataFrame:
    """The rows of mode ``segment`` whose mIoU was measured."""
    trained = df[df["mode"] == "segment"]
    return measured(trained, "miou") if len(trained) else trained


def confusions_of(row: Row) -> Counts:
    """``[seeds, images, K, K]`` of a row of ``dense_trainings``.

    Raises:
        StoreError: the record is damaged.
    """
    details: Mapping[str, Any] = row["details"]
    return joined_confusions(details["test_confusions"], len(mask_classes(row)))


def joined_confusions(texts: Sequence[str], num_classes: int) -> Counts:
    """``pack_confusions`` of each seed to ``[seeds, images, K, K]``; raises ``StoreError``."""
    return np.stack([unpack_confusions(text, num_classes) for text in texts])


def mask_classes(row: Row) -> list[str]:
    """The names of the classes, in the order of ``class_ious``."""
    return str(row["details"]["mask_classes"]).split("; ")


def head_pairs(df: pd.DataFrame, margin: float = MARGIN, q: float = Q) -> pd.DataFrame:
    """The heads of each backbone that were trained alike, compared over seeds.

    As in ``accuracy_pairs``, of which these are the words and the methods, with ``miou`` in
    place of ``accuracy``; false discoveries are controlled among all pairs of a run.

    Returns:
        One row per pair with the axes that both share (``ALIKE``), ``head`` and ``other``,
        ``miou`` and ``other_miou``, and the attributes of ``AccuracyJudgement``,
        ``difference`` (``head`` minus ``other``) among them.

    Raises:
        SpecError: as ``judge_accuracies``.
    """
    rows = []
    trained = dense_trainings(df)
    named = trained.assign(dataset=[str(d.get("dataset", "")) for d in trained["details"]])
    for _, run in groups(named, ("run",)):
        pairs = [
            (axes, *pair)
            for axes, alike in groups(run, ALIKE)
            for pair in combinations(sorted(records(alike), key=lambda r: str(r["head"])), 2)
        ]
        # PaCa's head is the first of each pair.
        pairs = [(axes, b, a) if b["head"] == "paca" else (axes, a, b) for axes, a, b in pairs]
        judged = judge_accuracies([(_training(a), _training(b)) for _, a, b in pairs], margin, q)
        for (axes, a, b), found in zip(pairs, judged, strict=True):
            rows.append(
                {
                    **axes,
                    **{"head": a["head"], "other": b["head"]},
                    **{"miou": a["miou"], "other_miou": b["miou"]},
                    **{"difference": found.difference, "difference_low": found.low},
                    **{"difference_high": found.high, "verdict": found.verdict.value},
                    **{name: getattr(found, name) for name in _COLUMNS[-7:]},
                }
            )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _training(row: Row) -> Training:
    confusions = confusions_of(row)
    details = row["details"]
    return Training(
        mean_iou(confusions.sum(axis=1)),
        tuple(details.get("seeds", ())),
        image_shares(confusions),
        confusions.shape[1],
        details.get("train_loss"),
    )
