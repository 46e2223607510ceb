"""Images per second of one long pass, from the durations of its batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from paca_bench.analyse.statistics import Estimate, check_confidence, log_mean, student
from paca_bench.errors import SpecError

GROUPS = 10


def throughput_estimate(
    seconds: Sequence[float], images: Sequence[int], confidence: float = 0.95
) -> Estimate | None:
    """All images over all seconds, in images per second; None for fewer than two batches.

    A batch is not independent of the one before (clocks, caches, a queue of decoded images
    between them), so the interval is by batch means: consecutive batches form up to ten
    groups, and Student's t is taken over the logarithms of the groups' seconds per image
    (Law, "Simulation Modeling and Analysis", section 9.5). Another process may differ by
    more, which ``method`` says.

    Args:
        seconds: of each batch.
        images: in each batch.
        confidence: of the interval.

    Raises:
        SpecError: a duration is not positive, a batch is empty, or the lengths differ.
    """
    check_confidence(confidence)
    if len(seconds) != len(images) or any(s <= 0 for s in seconds) or any(n < 1 for n in images):
        raise SpecError("each batch needs a positive duration and at least one image")
    count = min(GROUPS, len(seconds))
    if count < 2:
        return None
    pairs = zip(np.array_split(seconds, count), np.array_split(images, count), strict=True)
    mean = log_mean([float(s.sum() / n.sum()) for s, n in pairs])
    half = student(confidence, mean.freedom) * mean.error
    value = sum(images) / math.fsum(seconds)
    return Estimate(
        value,
        min(math.exp(-mean.value - half), value),
        max(math.exp(-mean.value + half), value),
        f"{confidence:.0%} t over {count} groups of consecutive batches of one process, a lower "
        f"bound on the uncertainty",
        count,
        len(seconds),
    )
