"""How often a gate is wrong, by the code that runs one, with made-up processes.

python -m tests.gate.rates [TRIALS]            false alarms of A/A gates, and power
python -m tests.gate.power_real --help         the same with real gates on this machine
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from paca_bench.analyse.compare import Change
from paca_bench.analyse.gate import judge
from paca_bench.gate.stages import TwoStages
from tests.gate.fakes import FakeArms, Noise

CASES = 8
BUDGET_S = 120.0
THRESHOLD = 0.02
NOISES = (
    Noise(0.01),
    Noise(0.02),
    Noise(0.03),
    Noise(0.05),
    Noise(0.02, server=0.005),
    Noise(0.035, server=0.01),
    Noise(0.04, server=0.02),
    Noise(0.02, drift=0.10),
    Noise(0.015, burst=6),
    Noise(0.02, gap=math.log(1.4), slow=0.1),
    Noise(0.02, gap=math.log(1.4), slow=0.3),
    Noise(0.03, gap=math.log(1.17), slow=0.5),
    Noise(0.01, gap=math.log(1.37), slow=0.5),
    Noise(0.20),
)


@dataclass(frozen=True)
class Rates:
    """Shares of gates: with an unchanged case called slower, that find the change; seconds."""

    alarms: float
    found: float
    suspected: float
    inconclusive: float
    seconds: float


def rates(
    trials: int,
    noise: Noise,
    *,
    cases: int = CASES,
    slowdown: float = 0.0,
    budget_s: float = BUDGET_S,
    threshold: float = THRESHOLD,
    seed: int = 0,
) -> Rates:
    """``slowdown`` is put into HEAD of the first case."""
    alarms = found = suspected = undecided = 0
    seconds = 0.0
    for trial in range(trials):
        changes, run, confirmed = gate(
            noise, cases, slowdown, budget_s, threshold, seed=seed + trial
        )
        found += changes[0] is Change.SLOWER
        alarms += Change.SLOWER in (changes[1:] if slowdown else changes)
        suspected += confirmed
        undecided += sum(change is Change.INCONCLUSIVE for change in changes)
        seconds += run.seconds
    return Rates(
        alarms / trials,
        found / trials,
        suspected / trials,
        undecided / trials / cases,
        seconds / trials,
    )


def gate(
    noise: Noise, cases: int, slowdown: float, budget_s: float, threshold: float, seed: int
) -> tuple[Sequence[Change], TwoStages, bool]:
    """The verdicts of one gate, and whether it went into a second stage."""
    arms = FakeArms(noise, slower={0: 1 + slowdown}, seed=seed)
    run = TwoStages(
        arms.start,
        cases,
        limit=math.log1p(threshold),
        budget_s=budget_s,
        seed=seed,
        clock=arms.clock,
    )
    verdicts = judge([case.stages for case in run.run()], threshold)
    return (
        [verdict.judgement.change for verdict in verdicts],
        run,
        any(verdict.is_confirmed for verdict in verdicts),
    )


def main(trials: int) -> None:
    """Print the rates of all settings."""
    settings = (
        (f"A/A, {CASES} cases, 120 s", CASES, 0.0, 120.0, trials),
        (f"5% in one of {CASES}, 120 s", CASES, 0.05, 120.0, trials // 2),
        ("3% in a single case, 60 s", 1, 0.03, 60.0, trials),
    )
    for title, cases, slowdown, budget_s, count in settings:
        print(f"{title}, latency>{THRESHOLD:.0%}, {count} gates each")
        for noise in NOISES:
            got = rates(count, noise, cases=cases, slowdown=slowdown, budget_s=budget_s)
            print(
                f"  {noise!s:44s} false alarms {got.alarms:5.1%}  found {got.found:6.1%}  second "
                f"stage {got.suspected:4.0%}  inconclusive cases {got.inconclusive:4.0%}  "
                f"{got.seconds:4.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
