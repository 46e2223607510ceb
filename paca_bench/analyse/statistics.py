"""Raw samples to estimates with intervals.

The independent unit is the process (for time) or the seed (for accuracy), never the sample:
samples inside one process share its memory layout, clocks and neighbours, so ten thousand of
them say little about what the next process will do (Kalibera and Jones, "Rigorous
Benchmarking in Reasonable Time", 2013). Times are positive and compared by ratio, so
intervals are made on logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from paca_bench.errors import SpecError

Processes = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with the interval around it.

    Attributes:
        value: the estimate; always within ``low`` to ``high``.
        low: lower end of the confidence interval, in the unit of ``value``.
        high: upper end.
        method: how the interval was made, in words.
        units: independent units behind it: processes or seeds.
        samples: raw samples behind it.
    """

    value: float
    low: float
    high: float
    method: str
    units: int
    samples: int

    @property
    def relative_half_width(self) -> float:
        """Half the interval's width over the value; infinite for a value of zero."""
        return (self.high - self.low) / 2 / self.value if self.value else math.inf

    @property
    def is_bounded(self) -> bool:
        """False if nothing bounds the value, because it was seen once."""
        return math.isfinite(self.high)

    def overlaps(self, other: Estimate) -> bool:
        """True if the two intervals have a point in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True)
class LogMean:
    """The mean of a logarithm, its standard error, and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    def minus(self, other: LogMean) -> LogMean:
        """The difference of two independent means: Welch's t, Satterthwaite's freedom."""
        difference = self.value - other.value
        error = math.hypot(self.error, other.error)
        if error == 0:
            return LogMean(difference, 0.0, math.inf)
        # As shares of the total, so that tiny variances do not underflow when squared.
        a, b = (self.error / error) ** 2, (other.error / error) ** 2
        return LogMean(difference, error, 1 / (a**2 / self.freedom + b**2 / other.freedom))

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Values that the true mean may have: Student's t around the estimate, [count]."""
        if self.error == 0:
            return np.full(count, self.value)
        # Of infinite freedom numpy's t is a NaN, and from a thousand on it is the normal.
        return self.value + self.error * rng.standard_t(min(self.freedom, 1e3), count)


def log_latency(processes: Processes) -> LogMean | None:
    """The mean log latency of a case over its processes' medians; None for a single process.

    Raises:
        SpecError: as ``latency_estimate``.
    """
    logs = np.log(_process_medians(processes))
    if len(logs) < 2:
        return None
    return LogMean(
        float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(len(logs)), len(logs) - 1
    )


def latency_estimate(processes: Processes, confidence: float = 0.95) -> Estimate:
    """The latency of one case from the samples of its processes, in their unit.

    The value is the median of the process medians: within a process the median ignores the
    operating system's interruptions, between processes it ignores one unlucky process.
    The interval is Student's t on the logarithms of the process medians (k - 1 degrees of
    freedom), widened where the median of an asymmetric few lies outside it.

    A single process cannot show how processes differ. Its interval is the distribution-free
    one for the median (order statistics at binomial ranks; Conover, "Practical Nonparametric
    Statistics", section 3.2), and ``method`` says that it is a lower bound on the
    uncertainty; where there are too few samples even for that, it is their range. A single
    sample bounds nothing: its interval is 0 to infinity.

    Raises:
        SpecError: no process, a process without samples, a sample that is not a positive
            finite number, or a confidence outside 0 to 1.
    """
    check_confidence(confidence)
    medians = _process_medians(processes)
    samples = sum(len(process) for process in processes)
    if len(medians) == 1:
        low, high, how = _within_process(np.asarray(processes[0], dtype=float), confidence)
        return Estimate(float(medians[0]), low, high, how, 1, samples)
    value = float(np.median(medians))
    mean = log_mean(medians)
    half = student(confidence, mean.freedom) * mean.error
    low, high = _around(mean.value, half, value)
    how = f"{confidence:.0%} t over {len(medians)} processes"
    return Estimate(value, low, high, how, len(medians), samples)


def ratio_estimate(
    numerator: Processes, denominator: Processes, confidence: float = 0.95
) -> Estimate:
    """How many times the latency of one case is that of another, from their samples.

    The value is the ratio of the two medians of process medians; the interval is Welch's t
    on the logarithms of the process medians (unequal variances, Welch-Satterthwaite degrees
    of freedom), widened where needed to contain the value. Swapping the two sides inverts
    value and interval exactly.

    With a single process on either side there is no variance between its processes. Then the
    sides' own intervals (``latency_estimate``) are combined in log space, root-sum-square,
    and ``method`` says so.

    Raises:
        SpecError: as ``latency_estimate``, for either side.
    """
    check_confidence(confidence)
    top, bottom = _process_medians(numerator), _process_medians(denominator)
    value = float(np.median(top) / np.median(bottom))
    units = len(top) + len(bottom)
    samples = sum(len(process) for process in (*numerator, *denominator))
    if min(len(top), len(bottom)) == 1:
        low, high = _combined(
            latency_estimate(numerator, confidence), latency_estimate(denominator, confidence)
        )
        how = (
            "root-sum-square of the two latency intervals in log space; one side is a single "
            "process, so a lower bound on the uncertainty"
        )
        return Estimate(value, low, high, how, units, samples)
    difference = log_mean(top).minus(log_mean(bottom))
    half = student(confidence, difference.freedom) * difference.error
    low, high = _around(difference.value, half, value)
    how = f"{confidence:.0%} Welch t over {len(top)} and {len(bottom)} processes"
    return Estimate(value, low, high, how, units, samples)


def seed_estimate(
    values: Sequence[float], trials: int | None = None, confidence: float = 0.95
) -> Estimate:
    """The mean of a proportion (accuracy, 0 to 1) over trainings with different seeds.

    Two things are random: the training and the choice of test images. Student's t over the
    seeds measures the first only, because all seeds are tested on the same images, and its
    width is zero when seeds happen to agree, as they do near 100%. So, where the number of
    test images is known, the interval is the union with the Wilson interval of the mean
    accuracy over ``trials`` images. One seed has the Wilson interval alone, which knows
    nothing about other trainings; ``method`` says so. All intervals are clipped to 0..1.

    Args:
        values: one accuracy per seed.
        trials: test images that each accuracy was counted over.
        confidence: of the interval.

    Raises:
        SpecError: no value, a value outside 0 to 1, fewer than one trial, or one seed
            without ``trials``.
    """
    check_confidence(confidence)
    outside = [value for value in values if not 0 <= value <= 1]
    if not values or outside:
        given = outside[0] if outside else "none"
        raise SpecError(f"accuracies of seeds must be numbers from 0 to 1, given: {given}")
    if trials is not None and trials < 1:
        raise SpecError(f"trials (test images) must be at least 1, given: {trials}")
    value = min(max(float(np.mean(values)), 0.0), 1.0)
    ends = [value]
    hows = []
    if len(values) > 1:
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        half = student(confidence, len(values) - 1) * error
        ends += [max(value - half, 0.0), min(value + half, 1.0)]
        hows.append(f"{confidence:.0%} t interval over {len(values)} seeds")
    if trials is not None:
        ends += wilson_interval(round(value * trials), trials, confidence)
        hows.append(f"{confidence:.0%} Wilson interval over {trials} test images")
    if not hows:
        raise SpecError(
            "one seed alone has no interval: give the number of test images (trials) or "
            "train more seeds"
        )
    how = ", widened to the ".join(hows)
    if len(values) == 1:
        how += " of one seed, a lower bound on the uncertainty"
    return Estimate(value, min(ends), max(ends), how, len(values), len(values))


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Ends of the interval that inverts the score test of a share of independent trials.

    It holds its level near 0 and 1 too, where an accuracy may lie (Wilson, JASA 1927; Brown,
    Cai and DasGupta, Statistical Science 2001).
    """
    z2 = float(special.ndtri((1 + confidence) / 2)) ** 2
    share, shrink = successes / trials, 1 + z2 / trials
    centre = (share + z2 / (2 * trials)) / shrink
    half = math.sqrt(z2 * share * (1 - share) / trials + (z2 / (2 * trials)) ** 2) / shrink
    # Exactly 0 and 1 at the ends, where rounding would leave the share itself outside.
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def _process_medians(processes: Processes) -> NDArray[np.float64]:
    """The median of each process, after checking that all samples are usable."""
    if not len(processes):
        raise SpecError("no process has latency samples; measure at least one process")
    medians = np.empty(len(processes))
    for index, process in enumerate(processes):
        samples = np.asarray(process, dtype=float)
        if not samples.size:
            raise SpecError(f"process {index + 1} has no latency samples; leave it out")
        wrong = samples[~(np.isfinite(samples) & (samples > 0))]
        if wrong.size:
            raise SpecError(
                f"process {index + 1} has the latency sample {wrong[0]}; samples must be "
                "positive and finite, so the clock or the run is broken: measure again"
            )
        medians[index] = np.median(samples)
    return medians


def log_mean(medians: Sequence[float] | NDArray[np.float64]) -> LogMean:
    """The mean of the logarithms of several processes' medians, with its standard error."""
    logs = np.log(medians)
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return LogMean(float(logs.mean()), error, len(logs) - 1)


def check_confidence(confidence: float) -> None:
    """Raise ``SpecError`` unless ``confidence`` lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise SpecError(f"confidence must lie between 0 and 1 (such as 0.95), given: {confidence}")


def student(confidence: float, freedom: float) -> float:
    """Half-width of a two-sided t interval, in standard errors."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def _around(log_centre: float, half: float, value: float) -> tuple[float, float]:
    low, high = math.exp(log_centre - half), math.exp(log_centre + half)
    return min(low, value), max(high, value)


def _within_process(samples: NDArray[np.float64], confidence: float) -> tuple[float, float, str]:
    """Interval for the median of one process: low, high, and how it was made."""
    ordered = np.sort(samples)
    # P(median below the r-th smallest) = P(Binomial(n, 1/2) < r): the largest rank r from 1
    # for which this stays within (1 - confidence) / 2 on either side.
    tails = special.bdtr(np.arange(len(ordered) // 2 + 1.0), len(ordered), 0.5)
    rank = int(np.count_nonzero(tails <= (1 - confidence) / 2))
    bound = "within one process, a lower bound on the uncertainty"
    if len(ordered) == 1:
        return 0.0, math.inf, "no interval: a single sample"
    if rank == 0:
        how = f"range of {len(ordered)} samples (too few for a {confidence:.0%} interval) {bound}"
        return float(ordered[0]), float(ordered[-1]), how
    how = f"{confidence:.0%} order-statistic interval of the median of {len(ordered)} samples "
    return float(ordered[rank - 1]), float(ordered[-rank]), how + bound


def _combined(top: Estimate, bottom: Estimate) -> tuple[float, float]:
    value = top.value / bottom.value
    if not (top.is_bounded and bottom.is_bounded):
        return 0.0, math.inf
    down = math.hypot(math.log(top.value / top.low), math.log(bottom.high / bottom.value))
    up = math.hypot(math.log(top.high / top.value), math.log(bottom.value / bottom.low))
    return value * math.exp(-down), value * math.exp(up)
