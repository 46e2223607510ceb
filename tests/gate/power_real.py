"""Real gates on this machine: false alarms with equal code, and power against a known slowdown.

    python -m tests.gate.power_real --gates 100                       A/A, eight cases
    python -m tests.gate.power_real --gates 40 --slowdown 5%          5% in one of eight cases
    python -m tests.gate.power_real --gates 40 --slowdown 3% --cases 1 --budget 60s

The two revisions are of a made-up project whose plugin keeps one attention module busy for
that much longer, in HEAD alone. Counts are taken once; each gate then starts its own servers.
Beside the gate's errors stands, on the same processes, what ``--benchmark-compare-fail=mean:5%``
of pytest-benchmark would have said of one process of each side.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import binomtest

from paca_bench.analyse.compare import Change
from paca_bench.analyse.gate import judge
from paca_bench.axes import parse_duration
from paca_bench.gate.arms import Arms
from paca_bench.gate.repository import Repository
from paca_bench.gate.side import NAMES, GateSide
from paca_bench.gate.stages import BASE, HEAD, CaseRun, TwoStages
from paca_bench.gate.static import count_both
from paca_bench.spec import make_spec
from paca_bench.store import RunFolder
from tests.gate.project import make_project

# The case that is slowed: the stage's grid at 160 pixels is 40 x 40 tokens.
SLOWED, GRID = "layer-nano-s1/pvt/160/", (40, 40)
PLUGIN = """
import time
from paca_bench.attention.pvt import SpatialReductionAttention

plain = SpatialReductionAttention.forward

def slowed(self, x, grid, shared=None):
    start = time.perf_counter()
    out = plain(self, x, grid, shared)
    if tuple(grid) == {grid}:
        end = start + (time.perf_counter() - start) * (1 + {slowdown})
        while time.perf_counter() < end:
            pass
    return out

SpatialReductionAttention.forward = slowed
"""


def settings(cases: int) -> dict[str, object]:
    """Eight layers of some milliseconds, or the slowed one alone."""
    many = {"mechanism": "vit,swin,pvt,paca", "res": "160,192"}
    one = {"mechanism": "pvt", "res": "160"}
    common = {"clusters": "49", "level": "layer", "mode": "forward", "batch": "4"}
    return {**common, **(one if cases == 1 else many)}


def wilson(hits: int, trials: int) -> str:
    found = binomtest(hits, trials).proportion_ci(method="wilson")
    return f"{hits}/{trials} = {hits / trials:.1%} [{found.low:.1%}, {found.high:.1%}]"


def by_mean(cases: Sequence[CaseRun]) -> list[bool]:
    """Whether one process of each side fails at mean:5%, for each case."""
    return [
        statistics.mean(case.screening[0][0][HEAD].samples["latency_s"])
        > 1.05 * statistics.mean(case.screening[0][0][BASE].samples["latency_s"])
        for case in cases
        if case.screening
    ]


def main() -> None:
    """Run the gates that the options ask for, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gates", type=int, default=20)
    parser.add_argument("--slowdown", default="0%", help="of HEAD in one case, such as 5%%")
    parser.add_argument("--cases", type=int, choices=(1, 8), default=8)
    parser.add_argument("--budget", default="2m", help="of one gate")
    parser.add_argument("--threshold", default="2%", help="as in latency>2%%")
    parser.add_argument("--threads", default="0", help="of each worker; 0 for all cores")
    parser.add_argument("--seed", type=int, default=0, help="of the first gate's orders")
    options = parser.parse_args()
    slowdown, threshold = (
        float(text.removesuffix("%")) / 100 for text in (options.slowdown, options.threshold)
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        versions = [{"plugin.py": PLUGIN.format(grid=GRID, slowdown=s)} for s in (0.0, slowdown)]
        repository = Repository.around(make_project(folder / "project", *versions))
        revisions = {BASE: repository.revision("v1"), HEAD: repository.revision("v2")}
        with repository.checked_out(revisions) as folders:
            sides = [GateSide.importing(NAMES[arm], revisions[arm], folders[arm]) for arm in NAMES]
            plugin = str(repository.root / "plugin.py")
            given = {
                **settings(options.cases),
                "plugin": [plugin],
                "threads": options.threads,
            }
            own = {side.name: side.settings(given, repository) for side in sides}
            runs = {name: folder / name for name in own}
            started = time.monotonic()
            count_both(sides, own, runs)
            print(f"counts of both sides in {time.monotonic() - started:.0f} s", flush=True)
            cases = [record.case for record in RunFolder.open(runs["NEW"]).records()]
            arms = Arms(sides, {name: make_spec(one) for name, one in own.items()}, cases)
            alarms = found = 0
            naive: list[list[bool]] = []
            for number in range(options.gates):
                begun = time.monotonic()
                stages = TwoStages(
                    arms.start,
                    len(cases),
                    limit=math.log1p(threshold),
                    budget_s=parse_duration(options.budget),
                    seed=options.seed + number,
                )
                done = stages.run()
                verdicts = judge([case.stages for case in done], threshold)
                slower = {
                    case.id
                    for case, verdict in zip(cases, verdicts, strict=True)
                    if verdict.judgement.change is Change.SLOWER
                }
                hit = {name for name in slower if slowdown and name.startswith(SLOWED)}
                found += bool(hit)
                alarms += bool(slower - hit)
                naive.append(by_mean(done))
                still_open = sum(
                    verdict.judgement.change is Change.INCONCLUSIVE for verdict in verdicts
                )
                largest = max(abs(verdict.null.value) for verdict in verdicts)
                print(
                    f"gate {number}: slower {sorted(slower) or '-'}, {still_open} inconclusive, "
                    f"null up to {math.expm1(largest):.2%}, {stages.seconds:.0f} s of measuring, "
                    f"{time.monotonic() - begun:.0f} s with the starts",
                    flush=True,
                )
    print(f"gates with a false alarm: {wilson(alarms, options.gates)}")
    if slowdown:
        print(f"gates that found {options.slowdown}: {wilson(found, options.gates)}")
    else:
        singles = [one for gate in naive for one in gate]
        print(f"mean:5%, one process a side, cases: {wilson(sum(singles), len(singles))}")
        print(f"mean:5%, any case of a gate: {wilson(sum(map(any, naive)), len(naive))}")


if __name__ == "__main__":
    main()
