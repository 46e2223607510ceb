"""How often the printed 95% interval contains the truth, where the truth is known to be one.

    python -m tests.robustness.coverage --measurements 200

One layer case is measured many times over, each as a sweep measures a case: processes of its
own, all measurements interleaved in rounds of shuffled order. Any difference between them is
noise, so each interval should contain the pooled median, up to that median's own error. Exits
with 1 where fewer than ``--least`` of them do. For a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paca_bench.analyse.statistics import Estimate, latency_estimate
from paca_bench.doctor.noise import small_case
from paca_bench.record import Case, Status
from paca_bench.workers import Execute, WorkerPool

TIMEOUT_S = 60.0
LEAST = 0.90


@dataclass(frozen=True, slots=True)
class Coverage:
    """Intervals of the same thing, and what they should contain.

    ``pooled`` is the median of all process medians.
    """

    estimates: Sequence[Estimate]
    pooled: float

    @property
    def share(self) -> float:
        """Of the intervals that contain ``pooled``."""
        return statistics.fmean(e.low <= self.pooled <= e.high for e in self.estimates)

    @property
    def half_width(self) -> float:
        """The median relative half-width of the intervals."""
        return statistics.median(e.relative_half_width for e in self.estimates)

    def to_json(self) -> dict[str, Any]:
        """The figures."""
        return {
            "measurements": len(self.estimates),
            "processes_each": self.estimates[0].units,
            "share": self.share,
            "median_relative_half_width": self.half_width,
            "pooled_median_s": self.pooled,
            "method": self.estimates[0].method,
        }


def measure(
    execute: Execute, case: Case, *, measurements: int, processes: int, slice_s: float, seed: int
) -> Coverage:
    """Measure ``case`` ``measurements`` times, with ``processes`` processes each.

    Raises:
        RuntimeError: a process did not end well.
    """
    taken: list[list[list[float]]] = [[] for _ in range(measurements)]
    rng = random.Random(seed)
    job = {
        "kind": "latency", "case": case.to_json(), "plugins": [], "threads": 0, "seed": seed,
        "slice_s": slice_s, "precision": 0.02,
    }  # fmt: skip
    for number in range(processes):
        for one in rng.sample(range(measurements), measurements):
            check = number == 0 and not any(taken)
            outcome = execute({**job, "check": check, "round": number}, TIMEOUT_S)
            if outcome.status is not Status.OK:
                raise RuntimeError(f"{outcome.status.value}: {outcome.reason}")
            taken[one].append(outcome.samples["latency_s"])
    medians = [statistics.median(process) for one in taken for process in one]
    return Coverage([latency_estimate(one) for one in taken], statistics.median(medians))


def main() -> None:
    """Measure on this machine and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--measurements", type=int, default=200)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--slice", type=float, default=0.2, help="seconds of a process")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--least", type=float, default=LEAST)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with WorkerPool(given.threads) as pool:
        found = measure(
            pool.execute,
            small_case(given.device),
            measurements=given.measurements,
            processes=given.processes,
            slice_s=given.slice,
            seed=given.seed,
        )
    print(json.dumps(found.to_json(), indent=2))
    sys.exit(int(found.share < given.least))


if __name__ == "__main__":
    main()
