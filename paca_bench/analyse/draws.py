"""Values that true latencies and accuracies may have, drawn around their estimates.

What two numbers share is drawn once: the seeds and the test images of trainings that are
compared, and a latency that stands behind several points. So the scatter of a difference is
that of the paired comparison (``analyse.trainings``), not that of two unrelated numbers.
The generators are seeded by what is drawn, never by its place in a table: the same cases give
the same draws in any order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping

import numpy as np

from paca_bench.analyse.statistics import Processes, latency_estimate, log_latency
from paca_bench.analyse.trainings import Array, Training, binomial_variance, residual

DRAWS = 4000
# Half-width of a 95% interval over the standard error of the normal distribution.
_NORMAL_95 = 1.959964


def latency_draws(processes: Processes, name: str, count: int = DRAWS) -> Array:
    """Latencies that a case may have, ``[count]``: log-t over its processes.

    Of a single process the interval within it is taken for that of a normal logarithm; it
    knows nothing of other processes, so the draws scatter too little. A single sample has no
    known scatter, and is drawn as it is.

    Args:
        processes: samples, a list per process.
        name: of the case, which seeds the draws.
        count: of draws.

    Raises:
        SpecError: as ``latency_estimate``.
    """
    rng = _generator("latency", name)
    mean = log_latency(processes)
    if mean is not None:
        return np.exp(mean.draw(count, rng))
    estimate = latency_estimate(processes)
    if not (estimate.low > 0 and math.isfinite(estimate.high)):
        return np.full(count, estimate.value)
    error = math.log(estimate.high / estimate.low) / 2 / _NORMAL_95
    return estimate.value * np.exp(error * rng.standard_normal(count))


def accuracy_draws(trainings: Mapping[str, Training], count: int = DRAWS) -> Array:
    """Accuracies that trainings may have, ``[trainings, count]``, drawn together.

    The seeds' part is Student's t with the seeds' own deviations, so that a contrast of two
    trainings of the same seeds is the paired t of their differences. The images' part is
    normal, with the covariance of the outcomes image by image; a training without outcomes
    has a binomial of its own. Of one seed there is the images' part alone, which scatters too
    little. Draws are not clipped to 0..1, because at an edge their order would be lost.

    Args:
        trainings: name -> training, trained and tested alike.
        count: of draws.
    """
    means = [float(training.accuracies.mean()) for training in trainings.values()]
    seeds, images = _seed_parts(trainings, count), _image_parts(trainings, count)
    return np.reshape(means, (-1, 1)) + seeds + images


def _seed_parts(trainings: Mapping[str, Training], count: int) -> Array:
    parts = np.zeros((len(trainings), count))
    for part, (name, training) in zip(parts, trainings.items(), strict=True):
        seeds = len(training.accuracies)
        if seeds < 2:
            continue
        # As in ``_image_covariance``.
        unknown = tuple(f"{name}:{place}" for place in range(seeds))
        keys: tuple[Hashable, ...] = training.seeds or unknown
        shared = np.array([_generator("seed", key).standard_normal(count) for key in keys])
        scale = np.sqrt((seeds - 1) / _generator("freedom", seeds).chisquare(seeds - 1, count))
        deviations = training.accuracies - training.accuracies.mean()
        part += scale * (deviations @ shared) / math.sqrt(seeds * (seeds - 1))
    return parts


def _image_parts(trainings: Mapping[str, Training], count: int) -> Array:
    noise = [_generator("images", name).standard_normal(count) for name in trainings]
    parts = np.zeros((len(trainings), count))
    tested = {
        name: training for name, training in trainings.items() if training.outcomes is not None
    }
    places = list(trainings)
    for members in _alike({name: _images(training) for name, training in tested.items()}):
        rows = [places.index(name) for name in members]
        root = _root(_image_covariance({name: tested[name] for name in members}))
        parts[rows] = root @ np.array([noise[row] for row in rows])
    for row, training in enumerate(trainings.values()):
        if training.outcomes is None and training.num_test:
            share = float(training.accuracies.mean())
            parts[row] = math.sqrt(binomial_variance(share, training.num_test)) * noise[row]
    return parts


def _image_covariance(trainings: Mapping[str, Training]) -> Array:
    """Of the mean accuracies, over the choice of images: ``difference`` has it for two."""
    outcomes = {name: one.outcomes for name, one in trainings.items() if one.outcomes is not None}
    shares = np.array([of_one.mean(axis=0) for of_one in outcomes.values()])
    images = shares.shape[1]
    covariance = np.diag(np.full(len(shares), 0.5 / images**2))
    if images < 2:
        return covariance
    covariance += np.cov(shares).reshape(covariance.shape) / images
    names = list(trainings)
    # Seeds that were not recorded are nobody else's.
    for members in _alike({name: one.seeds or name for name, one in trainings.items()}):
        seeds = len(outcomes[members[0]])
        if seeds > 1:
            rest = np.array([residual(outcomes[name]).ravel() for name in members])
            rows = np.ix_(*2 * [[names.index(name) for name in members]])
            covariance[rows] -= rest @ rest.T / ((seeds - 1) * (images - 1)) / (seeds * images)
    return covariance


def _images(training: Training) -> int:
    return 0 if training.outcomes is None else training.outcomes.shape[1]


def _root(covariance: Array) -> Array:
    """The symmetric root, without what estimation made negative."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _alike(keys: Mapping[str, Hashable]) -> list[list[str]]:
    """The names that have the same key, together."""
    found: dict[Hashable, list[str]] = {}
    for name, key in keys.items():
        found.setdefault(key, []).append(name)
    return list(found.values())


def _generator(*what: Hashable) -> np.random.Generator:
    digest = hashlib.sha256(":".join(map(str, what)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
