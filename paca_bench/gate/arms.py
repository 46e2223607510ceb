"""Real workers as the three arms of a gate: BASE, HEAD, and BASE again, a fork server each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from paca_bench.gate.side import NAMES, GateSide
from paca_bench.gate.stages import BASE, HEAD, NULL, Measure
from paca_bench.record import Case
from paca_bench.spec import SweepSpec
from paca_bench.workers import Execute, Outcome, WorkerPool

# Finer than any process needs, so that samples span the whole slice: in less time than that
# they would show one state of the machine only.
PRECISION = 0.001
_SIDES = {BASE: NAMES[BASE], HEAD: NAMES[HEAD], NULL: NAMES[BASE]}


class Arms:
    """Starts the servers of both sides, and runs processes of cases in them.

    Args:
        sides: both.
        specs: of each side, by its name: threads, allocator, plugins, seed, timeout.
        cases: what is measured.
        make_pool: makes the workers of a side.
    """

    def __init__(
        self,
        sides: Sequence[GateSide],
        specs: Mapping[str, SweepSpec],
        cases: Sequence[Case],
        make_pool: Callable[[GateSide, SweepSpec], WorkerPool] = GateSide.pool,
    ) -> None:
        self._sides = {side.name: side for side in sides}
        self._specs = specs
        self._cases = cases
        self._make_pool = make_pool
        self._starts = 0

    @contextmanager
    def start(self) -> Iterator[Measure]:
        """See ``stages.Start``; in an order of its own each time, as the last may be worse off."""
        self._starts += 1
        with ExitStack() as stack:
            run: dict[str, Execute] = {}
            for arm, name in random.Random(self._starts).sample([*_SIDES.items()], len(_SIDES)):
                pool: AbstractContextManager[WorkerPool] = self._make_pool(
                    self._sides[name], self._specs[name]
                )
                run[arm] = stack.enter_context(pool).execute

            def measure(
                arm: str, case: int, *, slice_s: float, check: bool, number: int
            ) -> Outcome:
                spec = self._specs[_SIDES[arm]]
                job: dict[str, Any] = {
                    "kind": "latency",
                    "case": self._cases[case].to_json(),
                    "plugins": list(spec.plugins),
                    "threads": spec.threads,
                    "seed": spec.seed,
                    "slice_s": slice_s,
                    "precision": PRECISION,
                    "check": check,
                    "round": number,
                }
                return run[arm](job, spec.timeout_s)

            yield measure
