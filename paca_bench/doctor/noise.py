"""The A/A experiment: the same case as A and as B, so that any difference is noise.

A and B, and where it is given the same case with the system's memory allocator, take turns in
processes of their own, in an order that is shuffled anew in each round.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from paca_bench.analyse.statistics import Estimate, ratio_estimate, student
from paca_bench.record import Case, Status
from paca_bench.workers import Execute, Outcome

MIN_ROUNDS = 3
MAX_ROUNDS = 20
SLICE_S = 0.3
TIMEOUT_S = 30.0
# A test of two cases finds a change of the smallest size 4 times out of 5.
CONFIDENCE = 0.95
POWER = 0.8
SYSTEM = "system"

Processes = list[list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The samples of an A/A experiment, and what they say.

    Attributes:
        case: the id of what was timed.
        first: A's samples in seconds, one list a process.
        second: B's.
        system: those with the system's allocator; empty if that was not tried.
    """

    case: str
    first: Processes
    second: Processes
    system: Processes

    @property
    def ratio(self) -> Estimate:
        """A's latency over B's, with its interval: 1, but for noise."""
        return ratio_estimate(self.first, self.second, CONFIDENCE)

    @property
    def system_ratio(self) -> Estimate | None:
        """The latency with the system's allocator over that with the tuned one."""
        if not self.system:
            return None
        return ratio_estimate(self.system, [*self.first, *self.second], CONFIDENCE)

    @property
    def latency_s(self) -> float:
        """The median of all process medians."""
        return statistics.median(self._medians())

    @property
    def between(self) -> float:
        """Coefficient of variation between processes: of their medians."""
        return _variation(self._medians())

    @property
    def within(self) -> float:
        """Coefficient of variation within a process, the median one's."""
        several = [process for process in (*self.first, *self.second) if len(process) > 1]
        return statistics.median(map(_variation, several)) if several else math.nan

    def smallest_change(self, processes: int) -> float:
        """The smallest relative change of a latency that two runs would show.

        Each with ``processes`` processes of a case, tested by t on the logarithms of their
        medians at 95% confidence, found with a probability of about 80%: ``(t_975 + t_80) s
        sqrt(2 / k)`` with the standard deviation ``s`` that the A/A interval is made of
        (Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, section 2.4).
        """
        logs = [[math.log(m) for m in _medians(side)] for side in (self.first, self.second)]
        spread = math.sqrt(statistics.fmean(statistics.variance(side) for side in logs))
        freedom = 2 * processes - 2
        # A one-sided quantile, as ``student`` gives it for a two-sided interval.
        errors = student(CONFIDENCE, freedom) + student(2 * POWER - 1, freedom)
        return math.expm1(errors * spread * math.sqrt(2 / processes))

    def to_json(self) -> dict[str, Any]:
        """Estimates and raw samples as JSON values."""
        system = self.system_ratio
        within = self.within
        return {
            "case": self.case,
            "latency_s": self.latency_s,
            "ratio": asdict(self.ratio),
            "system_allocator_ratio": None if system is None else asdict(system),
            "variation_between_processes": self.between,
            "variation_within_process": None if math.isnan(within) else within,
            "samples": {"a": self.first, "b": self.second, SYSTEM: self.system},
        }

    def _medians(self) -> list[float]:
        return _medians([*self.first, *self.second])


def small_case(device: str) -> Case:
    """What is timed: some milliseconds with threads that wait for each other."""
    return Case(
        level="layer",
        mechanism="paca",
        host="nano",
        height=224,
        width=224,
        mode="forward",
        stage=2,
        num_clusters=49,
        batch=4,
        device=device,
    )


def measure_noise(
    execute: Execute,
    case: Case,
    *,
    threads: int,
    seconds: float,
    clock: Callable[[], float],
    system_execute: Execute | None = None,
    after_each: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> Noise | str:
    """Run the experiment for about ``seconds``, at least three rounds.

    Args:
        execute: runs a job in a process of its own.
        case: what is timed.
        threads: of each worker; 0 leaves torch's choice.
        seconds: to end after.
        clock: seconds.
        system_execute: the same with the system's allocator.
        after_each: called after each process.
        seed: of the order.

    Returns:
        The samples, or why there are none.
    """
    arms: dict[str, Execute] = {"A": execute, "B": execute}
    if system_execute:
        arms[SYSTEM] = system_execute
    job = {
        "kind": "latency",
        "case": case.to_json(),
        "plugins": [],
        "threads": threads,
        "seed": seed,
        "slice_s": SLICE_S,
        "precision": 0.0,
    }
    start = clock()
    # The first process of each pool finds nothing in any cache; only here is the output checked.
    for one in dict.fromkeys(arms.values()):
        outcome = one({**job, "check": True}, TIMEOUT_S)
        if outcome.status is not Status.OK:
            return _failure(outcome)
    taken: dict[str, Processes] = {name: [] for name in arms}
    rng = random.Random(seed)
    began = clock()
    for done in count():
        per_round = (clock() - began) / done if done else 0.0
        if done == MAX_ROUNDS or (done >= MIN_ROUNDS and clock() + per_round > start + seconds):
            break
        for name in rng.sample(list(arms), len(arms)):
            outcome = arms[name]({**job, "check": False}, TIMEOUT_S)
            if outcome.status is not Status.OK:
                return _failure(outcome)
            taken[name].append(outcome.samples["latency_s"])
            after_each()
    return Noise(case=case.id, first=taken["A"], second=taken["B"], system=taken.get(SYSTEM, []))


def _failure(outcome: Outcome) -> str:
    return f"{outcome.status.value}: {outcome.reason}"


def _medians(processes: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(process) for process in processes]


def _variation(values: Sequence[float]) -> float:
    return statistics.stdev(values) / statistics.fmean(values)
