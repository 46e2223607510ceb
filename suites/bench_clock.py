"""Our medians beside those of torch.utils.benchmark, and on a GPU of triton's do_bench.

    python suites/bench_clock.py --device cpu

The same call in the same process, timed by each in turns, in a new shuffled order every round.
What is compared is the ratio of both clocks' medians within a round, and of those the median over
rounds: a neighbour that comes and goes meets both of a round alike. Prints one row a case with the
interval of that median, and exits with 1 where it strays by more than 3%.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer as TorchTimer

from paca_bench.analyse.statistics import latency_estimate
from paca_bench.measure.latency import make_call, make_timer, sample_latency
from paca_bench.measure.prepare import prepare
from paca_bench.record import Case

WITHIN = 0.03
MAX_CALLS = 50

Clock = Callable[[float], float]


def cases(device: str) -> list[Case]:
    """Layers and a host of some milliseconds, in both modes."""
    common = {"host": "nano", "height": 224, "width": 224, "device": device, "batch": 4}
    paca = {"mechanism": "paca", "num_clusters": 49}
    return [
        Case(level="layer", stage=2, mode="forward", **paca, **common),
        Case(level="layer", stage=2, mode="train", **paca, **common),
        Case(level="layer", stage=3, mode="forward", mechanism="vit", **common),
        Case(level="host", mode="forward", mechanism="swin", **{**common, "batch": 1}),
    ]


def clocks(case: Case) -> dict[str, Clock]:
    """Name of a clock -> median seconds of the case's call over a slice of seconds."""
    prepared = prepare(case)
    call, between = make_call(prepared.module, prepared.x, case.mode)
    timer = make_timer(case.device)

    def both() -> None:
        # The other clocks know no time between calls, so here it is timed by all.
        between()
        call()

    def ours(slice_s: float) -> float:
        taken = sample_latency(timer, both, lambda: None, slice_s=slice_s, precision=0.001)
        return statistics.median(taken.samples_s)

    def torchs(slice_s: float) -> float:
        theirs = TorchTimer("both()", globals={"both": both}, num_threads=torch.get_num_threads())
        once = theirs.timeit(1).median
        number = min(max(int(slice_s / once), 3), MAX_CALLS)
        return statistics.median(theirs.timeit(1).median for _ in range(number))

    def tritons(slice_s: float) -> float:
        from triton.testing import do_bench

        return 1e-3 * float(do_bench(both, rep=int(1e3 * slice_s), return_mode="median"))

    if case.device.startswith("cuda"):
        return {"ours": ours, "triton": tritons}
    return {"ours": ours, "torch": torchs}


def compare(case: Case, rounds: int, slice_s: float, rng: random.Random) -> dict[str, list[float]]:
    """Name of a clock -> its median in each round; the order within a round is shuffled."""
    known = clocks(case)
    taken: dict[str, list[float]] = {name: [] for name in known}
    for clock in known.values():
        clock(slice_s)  # warm
    for _ in range(rounds):
        for name in rng.sample(list(known), len(known)):
            taken[name].append(known[name](slice_s))
    return taken


def main() -> None:
    """Compare on this machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--slice", type=float, default=0.2, help="seconds of each clock a round")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(given.seed)
    rng = random.Random(given.seed)
    worst = 0.0
    for case in cases(given.device):
        found = compare(case, given.rounds, given.slice, rng)
        ours = found.pop("ours")
        for name, theirs in found.items():
            ratio = latency_estimate([[a / b for a, b in zip(ours, theirs, strict=True)]])
            worst = max(worst, abs(ratio.value - 1))
            ends = ", ".join(f"{100 * (end - 1):+.2f}%" for end in (ratio.low, ratio.high))
            print(
                f"{case.id}: ours {1e3 * statistics.median(ours):.3f} ms, "
                f"{name} {1e3 * statistics.median(theirs):.3f} ms, "
                f"{100 * (ratio.value - 1):+.2f}% [{ends}]",
                flush=True,
            )
    print(f"largest difference {100 * worst:.2f}%, allowed {100 * WITHIN:.0f}%")
    sys.exit(int(worst > WITHIN))


if __name__ == "__main__":
    main()
