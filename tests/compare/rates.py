"""How often ``compare`` is wrong, on made-up processes: false alarms, and power.

Run as ``python -m tests.compare.rates [TRIALS]``; the tests run a few trials of the same.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from paca_bench.analyse.compare import Change, judge

CASES = 8


@dataclass(frozen=True)
class Noise:
    """How processes differ: a log-normal spread, and a slow state ``gap`` above with chance."""

    spread: float
    gap: float = 0.0
    slow_share: float = 0.0

    def __str__(self) -> str:
        states = f", {self.slow_share:.0%} of processes {self.gap:.0%} slower" if self.gap else ""
        return f"CV {self.spread:.0%}{states}"


NOISES = (
    Noise(0.01),
    Noise(0.03),
    Noise(0.16),
    Noise(0.01, gap=0.37, slow_share=0.5),
    Noise(0.03, gap=0.17, slow_share=0.5),
    Noise(0.03, gap=0.37, slow_share=0.3),
)


def side(rng: np.random.Generator, processes: int, noise: Noise, slowdown: float = 0.0):
    """The samples of one case: one a process, as medians are all that counts."""
    slow = rng.random(processes) < noise.slow_share
    values = np.exp(rng.normal(0, noise.spread, processes)) * np.where(slow, 1 + noise.gap, 1)
    return [[float(value)] for value in values * (1 + slowdown)]


def rates(
    trials: int,
    processes: int,
    noise: Noise,
    *,
    cases: int = CASES,
    threshold: float = 0.05,
    slowdown: float = 0.0,
    seed: int = 0,
) -> tuple[float, float]:
    """(share of comparisons with an unchanged case called slower, share that find the change).

    ``slowdown`` is put into the first of the cases.
    """
    rng = np.random.default_rng(seed)
    alarms = found = 0
    for _ in range(trials):
        pairs = [
            (side(rng, processes, noise), side(rng, processes, noise, slowdown * (case == 0)))
            for case in range(cases)
        ]
        first, *others = [judgement.change for judgement in judge(pairs, threshold)]
        found += first is Change.SLOWER
        unchanged = others if slowdown else [first, *others]
        alarms += Change.SLOWER in unchanged
    return alarms / trials, found / trials


def main(trials: int) -> None:
    """Print the rates of all settings."""
    print(f"A/A, {CASES} cases, latency>5%: comparisons of {trials} with a false alarm")
    for processes in (3, 5, 10):
        for noise in NOISES:
            alarms, _ = rates(trials, processes, noise)
            print(f"  {processes:2d} processes a side, {noise!s:40s} {alarms:.2%}", flush=True)
    print(f"Power: one case slower, comparisons of {trials // 5} that find it")
    for cases, processes, spread, threshold, slowdown in (
        (8, 5, 0.01, 0.05, 0.10),
        (8, 10, 0.03, 0.05, 0.10),
        (8, 5, 0.01, 0.02, 0.05),
        (8, 10, 0.01, 0.02, 0.05),
        (8, 20, 0.03, 0.02, 0.05),
        (1, 10, 0.01, 0.015, 0.03),
    ):
        _, found = rates(
            trials // 5,
            processes,
            Noise(spread),
            cases=cases,
            threshold=threshold,
            slowdown=slowdown,
        )
        print(
            f"  {slowdown:.0%} in one of {cases}, {processes} processes a side, "
            f"CV {spread:.0%}, latency>{threshold:.1%}: {found:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
