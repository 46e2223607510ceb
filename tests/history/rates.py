"""How often ``history`` is wrong, on made-up series: false steps, power, places, intervals.

Run as ``python -m tests.history.rates [TRIALS]``; the tests run a few trials of the same.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paca_bench.analyse.steps import find_steps

SPIKE = 0.30
PROCESSES = 0.01
# A step is found if it is said to be within so many runs of where it is.
WITHIN = 2


@dataclass(frozen=True)
class Noise:
    """How runs of one commit differ.

    ``spread`` is the standard deviation from run to run, Student's t of ``freedom`` if given;
    ``spikes`` the share of runs 30% slower; ``memory`` the correlation of neighbours.
    A run has so many ``processes``, 1% apart; ``slow`` is the share of them that are ``gap``
    slower because a process as a whole falls into one of two states.
    """

    spread: float
    spikes: float = 0.0
    freedom: int | None = None
    memory: float = 0.0
    processes: int = 5
    slow: float = 0.0
    gap: float = 0.0

    def __str__(self) -> str:
        parts = [f"CV {self.spread:.0%}"]
        parts += [f"{self.spikes:.0%} of runs {SPIKE:.0%} slower"] if self.spikes else []
        parts += [f"tails of t with {self.freedom}"] if self.freedom else []
        parts += [f"correlation {self.memory}"] if self.memory else []
        parts += [f"{self.processes} process a run"] if self.processes == 1 else []
        parts += [f"{self.slow:.0%} of processes {self.gap:.0%} slower"] if self.slow else []
        return ", ".join(parts)

    def series(self, rng: np.random.Generator, runs: int) -> NDArray[np.float64]:
        """Medians of processes in seconds, around 10 ms: [runs, processes]."""
        if self.freedom:
            own = rng.standard_t(self.freedom, runs) / math.sqrt(self.freedom / (self.freedom - 2))
        else:
            own = rng.standard_normal(runs)
        for i in range(1, runs):
            own[i] = self.memory * own[i - 1] + math.sqrt(1 - self.memory**2) * own[i]
        spiked = np.where(rng.random(runs) < self.spikes, 1 + SPIKE, 1.0)
        shape = runs, self.processes
        slowed = np.where(rng.random(shape) < self.slow, 1 + self.gap, 1.0)
        of_runs = 0.010 * np.exp(self.spread * own) * spiked
        return of_runs[:, None] * np.exp(PROCESSES * rng.standard_normal(shape)) * slowed


REALISTIC = (
    Noise(0.02),
    Noise(0.05),
    Noise(0.02, spikes=0.03),
    Noise(0.05, spikes=0.03),
    Noise(0.02, spikes=0.05),
    Noise(0.03, freedom=4),
    Noise(0.02, processes=1),
    Noise(0.01, processes=1, slow=0.3, gap=0.17),
    Noise(0.01, slow=0.3, gap=0.37),
)
# What the method does not promise anything for.
WORSE = (
    Noise(0.02, spikes=0.10),
    Noise(0.02, memory=0.3),
    Noise(0.02, memory=0.6),
)


def false_rate(noise: Noise, runs: int, trials: int, seed: int = 0) -> float:
    """The share of series without a step in which one is found."""
    rng = np.random.default_rng(seed)
    return sum(bool(find_steps(noise.series(rng, runs)).steps) for _ in range(trials)) / trials


@dataclass(frozen=True)
class Found:
    """Of series with a step: shares.

    ``found``: the step is found near its place; and of those, ``placed``: the interval of
    places holds the true one; ``covered``: that of the ratio holds the true ratio;
    ``more``: of all series, those with another step beside it.
    """

    found: float
    placed: float
    covered: float
    more: float
    ratio: float


def power(noise: Noise, runs: int, after: int, size: float, trials: int, seed: int = 1) -> Found:
    """A step of ``size`` (0.05: 5% slower) with ``after`` runs after it."""
    rng = np.random.default_rng(seed)
    place = runs - after
    found = placed = covered = more = 0
    ratios = []
    for _ in range(trials):
        series = noise.series(rng, runs)
        series[place:] *= 1 + size
        course = find_steps(series)
        near = [step for step in course.steps if abs(step.index - place) <= WITHIN]
        more += len(course.steps) > len(near)
        for step in near[:1]:
            found += 1
            placed += step.first <= place <= step.last
            covered += step.ratio.low <= 1 + size <= step.ratio.high
            ratios.append(step.ratio.value)
    count = max(found, 1)
    return Found(
        found / trials,
        placed / count,
        covered / count,
        more / trials,
        float(np.median(ratios)) if ratios else math.nan,
    )


def single_spike(noise: Noise, runs: int, size: float, trials: int, seed: int = 2) -> float:
    """The share of series with one run ``size`` slower, anywhere, in which a step is found."""
    rng = np.random.default_rng(seed)
    alarms = 0
    for _ in range(trials):
        series = noise.series(rng, runs)
        series[rng.integers(runs)] *= 1 + size
        alarms += bool(find_steps(series).steps)
    return alarms / trials


def last_run(noise: Noise, runs: int, size: float, trials: int, seed: int = 3) -> float:
    """The share in which a last run that is ``size`` slower is flagged as standing apart."""
    rng = np.random.default_rng(seed)
    flagged = 0
    for _ in range(trials):
        series = noise.series(rng, runs)
        series[-1] *= 1 + size
        flagged += find_steps(series).last is not None
    return flagged / trials


def report(trials: int) -> Iterator[str]:
    """The lines of the report."""
    yield f"False steps: series of {trials} without a step in which one is found"
    lengths = (4, 6, 8, 10, 15, 30, 100)
    yield " " * 50 + "".join(f"{f'{n} runs':>10}" for n in lengths)
    for noise in REALISTIC:
        rates = [false_rate(noise, n, trials) for n in lengths]
        yield f"  {noise!s:48}" + "".join(f"{rate:>10.2%}" for rate in rates)
    yield "The same under noise that is not promised anything, 30 runs"
    for noise in WORSE:
        yield f"  {noise!s:48}{false_rate(noise, 30, trials):>10.2%}"
    yield "One run slower, 30 runs: series in which a step is found"
    for size in (0.1, 0.3, 1.0):
        rate = single_spike(Noise(0.02), 30, size, trials)
        yield f"  CV 2%, one run {size:.0%} slower: {rate:.2%}"
    yield f"Power: series of {trials // 4} with one step"
    yield f"  {'':34}{'found':>8}{'place in':>10}{'ratio in':>10}{'others':>8}{'median':>8}"
    for noise, runs, after, size in (
        (Noise(0.02), 30, 15, 0.05),
        (Noise(0.02, spikes=0.03), 30, 15, 0.05),
        (Noise(0.02), 30, 8, 0.05),
        (Noise(0.02), 30, 5, 0.05),
        (Noise(0.02), 30, 3, 0.05),
        (Noise(0.02), 30, 2, 0.10),
        (Noise(0.02), 100, 50, 0.03),
        (Noise(0.02), 12, 6, 0.05),
        (Noise(0.02), 8, 4, 0.10),
        (Noise(0.02), 6, 3, 0.20),
        (Noise(0.05), 30, 15, 0.10),
        (Noise(0.01), 30, 5, 0.05),
    ):
        one = power(noise, runs, after, size, trials // 4)
        text = f"{size:.0%} with {after} of {runs} runs after it"
        yield (
            f"  {text:34}{one.found:>8.1%}{one.placed:>10.1%}{one.covered:>10.1%}"
            f"{one.more:>8.1%}{one.ratio:>8.3f}   {noise}"
        )
    yield "The last run alone, 30 runs, CV 2%: series in which it is flagged"
    for size in (0.0, 0.05, 0.10):
        yield f"  {size:.0%} slower: {last_run(Noise(0.02), 30, size, trials // 4):.1%}"


def main(trials: int) -> None:
    """Print the report."""
    for line in report(trials):
        print(line, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
