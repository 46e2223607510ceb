"""Trainings as they were sampled: an accuracy per seed, an outcome per seed and test image.

Two things make an accuracy random, the training and the choice of test images. Mechanisms
that are trained alike share both: the same seeds (data order, and all weights outside
attention) and the same images. So they are compared seed by seed and image by image, and what
is common to both sides cancels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from paca_bench.analyse.curves import Row

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Training:
    """One case's trainings.

    Attributes:
        accuracies: ``[seeds]``, from 0 to 1.
        seeds: which they are; empty where they were not recorded.
        outcomes: ``[seeds, images]``, 1 where the answer is right; None where not recorded.
        num_test: test images; None where not recorded.
        losses: of each step of each seed; None where not recorded.
    """

    accuracies: Array
    seeds: tuple[int, ...] = ()
    outcomes: Array | None = None
    num_test: int | None = None
    losses: Sequence[Sequence[float]] | None = None

    @classmethod
    def of(cls, row: Row) -> Training:
        """From a row of ``load_results`` whose accuracy was measured."""
        accuracies = np.asarray(row["accuracy_samples"], dtype=float)
        details: Mapping[str, Any] = row["details"]
        seeds = tuple(details.get("seeds", ()))
        outcomes = _outcomes(details.get("test_outcomes"), accuracies)
        num_test = details.get("num_test") if outcomes is None else outcomes.shape[1]
        return cls(
            accuracies,
            seeds if len(seeds) == len(accuracies) else (),
            outcomes,
            num_test,
            details.get("train_loss"),
        )

    def is_bitwise(self, other: Training) -> bool:
        """True if both did the same to the bit: the same losses, and the same outcomes."""
        return (
            self.losses is not None
            and self.losses == other.losses
            and self.seeds == other.seeds
            and self.outcomes is not None
            and other.outcomes is not None
            and np.array_equal(self.outcomes, other.outcomes)
        )

    def at(self, seeds: Sequence[int]) -> Training:
        """The part with these seeds, in this order."""
        places = [self.seeds.index(seed) for seed in seeds]
        outcomes = None if self.outcomes is None else self.outcomes[places]
        return Training(self.accuracies[places], tuple(seeds), outcomes, self.num_test)


def _outcomes(texts: Any, accuracies: Array) -> Array | None:
    """Digits to ``[seeds, images]``; None unless they are what the accuracies were made of."""
    if not isinstance(texts, list) or len(texts) != len(accuracies) or not texts:
        return None
    if len({len(text) for text in texts}) > 1 or not texts[0] or set("".join(texts)) - {"0", "1"}:
        return None
    digits = [np.frombuffer(text.encode(), dtype=np.uint8) - ord("0") for text in texts]
    outcomes = np.array(digits, dtype=float)
    return outcomes if np.allclose(outcomes.mean(axis=1), accuracies, atol=1e-6) else None


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean difference of two accuracies, with its variance by source.

    Attributes:
        value: of the means over seeds and images.
        seed_variance: of ``value``, as it varies over trainings.
        image_variance: of ``value``, as it varies over the choice of test images.
        seeds: that a side has; the fewer of the two.
        seed_freedom: degrees of freedom of ``seed_variance``; 0 where a side has one seed.
        method: in words.
    """

    value: float
    seed_variance: float
    image_variance: float
    seeds: int
    seed_freedom: float
    method: str

    @property
    def error(self) -> float:
        """The standard error of ``value``."""
        return math.sqrt(self.seed_variance + self.image_variance)

    def quantile(self, share: float) -> float:
        """How far from ``value`` a true difference beyond it is with probability ``share``.

        Student's t of the seeds' error and the normal of the images', root-sum-square: the
        two are independent, and Satterthwaite's one t for both is too narrow where three
        seeds happen to agree.
        """
        seeds = math.sqrt(self.seed_variance)
        images = math.sqrt(self.image_variance)
        known = float(special.stdtrit(self.seed_freedom, share)) * seeds if seeds else 0.0
        return math.hypot(known, float(special.ndtri(share)) * images)

    def half_width(self, confidence: float) -> float:
        """Of the two-sided interval."""
        return self.quantile((1 + confidence) / 2)

    @property
    def p(self) -> float:
        """Of no difference, two-sided: where the interval would end at zero.

        Without any scatter, blind to the images, nothing is known: 1.
        """
        if self.error == 0 or self.value == 0:
            return 1.0
        low, high = -100.0, 0.0
        # On a logarithmic scale; the width falls as p rises.
        for _ in range(32):
            middle = (low + high) / 2
            wide = self.quantile(math.exp(middle) / 2) > abs(self.value)
            low, high = (middle, high) if wide else (low, middle)
        return math.exp(high)

    def with_seeds(self, seeds: int) -> Difference:
        """What it would be with more seeds of the same scatter."""
        factor = self.seeds / seeds
        freedom = self.seed_freedom * (seeds - 1) / (self.seeds - 1)
        return Difference(
            self.value, self.seed_variance * factor, self.image_variance, seeds, freedom, ""
        )


def difference(a: Training, b: Training) -> Difference:
    """The accuracy of ``a`` minus that of ``b``, both trained and tested alike.

    With outcomes the design is crossed, every seed with every image, both random. Then the
    variance of the mean difference is that over seeds plus that over images, less what both
    contain, the variance of the residual (Dorfman, Berbaum and Metz, 1992). As few images tell
    little of the scatter over images, half an image won and half an image lost are added
    (Agresti and Min, 2005).

    Seeds are paired where both sides have two or more in common. Without outcomes the images'
    part is as large as it can be: that of two independent binomials.
    """
    common = [seed for seed in a.seeds if seed in b.seeds]
    paired = len(common) > 1 or (common and min(len(a.accuracies), len(b.accuracies)) == 1)
    if paired:
        a, b = a.at(common), b.at(common)
        gaps = a.accuracies - b.accuracies
        seed_variance, freedom = _mean_variance(gaps), len(gaps) - 1.0
    else:
        seed_variance, freedom = _welch(a.accuracies, b.accuracies)
    counts = len(a.accuracies), len(b.accuracies)
    value = float(a.accuracies.mean() - b.accuracies.mean())
    images, how = _image_variance(a, b, bool(paired))
    method = f"{_seeds_text(counts, bool(paired))}{how}"
    return Difference(value, seed_variance, images, min(counts), freedom, method)


def _seeds_text(counts: tuple[int, int], paired: bool) -> str:
    if min(counts) == 1:
        return "one seed"
    return (
        f"t over {counts[0]} paired seeds"
        if paired
        else f"t over {counts[0]} and {counts[1]} seeds"
    )


def residual(outcomes: Array) -> Array:
    """What neither the seed nor the image explains, as ``outcomes`` ``[seeds, images]``."""
    rest = outcomes - outcomes.mean(axis=0) - outcomes.mean(axis=1, keepdims=True)
    return np.asarray(rest + outcomes.mean())


def _residual_variance(outcomes: Array) -> float:
    """Of the mean: what its variance over seeds and that over images both contain."""
    seeds, images = outcomes.shape
    if min(seeds, images) < 2:
        return 0.0
    freedom = (seeds - 1) * (images - 1)
    variance: float = (residual(outcomes) ** 2).sum() / freedom / (seeds * images)
    return variance


def _image_variance(a: Training, b: Training, paired: bool) -> tuple[float, str]:
    if a.outcomes is not None and b.outcomes is not None and a.num_test == b.num_test:
        images = a.outcomes.shape[1]
        gaps = a.outcomes.mean(axis=0) - b.outcomes.mean(axis=0)
        if paired:
            rest = _residual_variance(a.outcomes - b.outcomes)
        else:
            rest = _residual_variance(a.outcomes) + _residual_variance(b.outcomes)
        variance = max(_mean_variance(gaps) - rest, 0.0) + 1 / images**2
        return variance, f" and normal over {images} test images, image by image"
    if a.num_test and b.num_test:
        variance = sum(
            binomial_variance(float(side.accuracies.mean()), side.num_test or 1) for side in (a, b)
        )
        return variance, f" and normal over {a.num_test} test images, as if each side had its own"
    return 0.0, ", blind to the choice of test images"


def binomial_variance(share: float, trials: int) -> float:
    """Of a share of ``trials``; not zero at 0 and 1, as ``difference`` explains."""
    return share * (1 - share) / trials + 0.5 / trials**2


def _mean_variance(values: Array) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _welch(a: Array, b: Array) -> tuple[float, float]:
    parts = [_mean_variance(side) for side in (a, b)]
    total = sum(parts)
    if min(len(a), len(b)) < 2:
        return total, 0.0
    if total == 0:
        return 0.0, len(a) + len(b) - 2.0
    # As shares of the total, so that tiny variances do not underflow when squared.
    shares = ((part / total) ** 2 / (len(s) - 1) for part, s in zip(parts, (a, b), strict=True))
    return total, 1 / sum(shares)
