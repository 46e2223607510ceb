"""Two stages of blocks under one budget: all cases are screened, suspects are confirmed.

A block of a case is three processes in a row: of BASE, of HEAD and of BASE again, each from a
fork server of its own, in an order drawn from the seed; the case's next block has them the
other way round (A B A', then A' B A), so that a drift takes from both sides what it gives.
Cases are shuffled anew in each round of blocks. Half of what is left of the budget goes to
screening; a case leaves it once a change is ruled out, or is plain. What looks changed is then
measured in fresh processes of servers started anew, since those of one server share its memory
layout, and as often as the first stage says is needed.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from paca_bench.analyse.blocks import shift
from paca_bench.analyse.gate import (
    MIN_BLOCKS,
    Stages,
    Triple,
    blocks_to_confirm,
    head_blocks,
    is_fine,
    is_suspect,
)
from paca_bench.record import Status
from paca_bench.units import format_seconds
from paca_bench.workers import Outcome

BASE, HEAD, NULL = "base", "head", "null"
ARMS = (BASE, HEAD, NULL)
SCREENING_SHARE = 0.5
# What a process takes besides its slice, before it is known.
_START_S = 0.05
# Long enough for several samples of a call, and not longer: many processes say more than long
# ones, as they differ more than the samples of one.
_LEAST_SLICE_S, _LONGEST_SLICE_S, _CALLS = 0.05, 0.5, 8
# An interval needs two blocks, whatever the budget says.
_LEAST_BLOCKS = 2


class Measure(Protocol):
    """Runs a process of an arm."""

    def __call__(self, arm: str, case: int, *, slice_s: float, check: bool, number: int) -> Outcome:
        """One process's latency of the case with this index; ``number`` counts rounds."""


Start = Callable[[], AbstractContextManager[Measure]]
"""Starts fresh fork servers, one an arm."""


class State(Enum):
    """Where a case stands."""

    OPEN = auto()
    FINE = auto()
    SUSPECT = auto()
    DONE = auto()
    FAILED = auto()


@dataclass
class CaseRun:
    """One case's processes.

    Attributes:
        index: of the case.
        state: where it stands.
        screening, confirming: blocks, each arm -> its process's outcome.
        checked: the outcomes of the first process of each side, which checked the result and
            is not counted.
        failures: side -> the outcome that ended it.
    """

    index: int
    state: State = State.OPEN
    screening: list[Mapping[str, Outcome]] = field(default_factory=list)
    confirming: list[Mapping[str, Outcome]] = field(default_factory=list)
    checked: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, Outcome] = field(default_factory=dict)

    @property
    def stages(self) -> Stages:
        """The medians, for the verdict."""
        return Stages(_triples(self.screening), _triples(self.confirming))

    def outcomes(self, *arms: str) -> list[Outcome]:
        """All counted processes of ``arms``, in the order of their blocks."""
        blocks = [*self.screening, *self.confirming]
        return [block[arm] for block in blocks for arm in arms]

    @property
    def slice_s(self) -> float:
        """Seconds to spend sampling in one process."""
        known = [o for o in self.checked.values() if o.samples.get("latency_s")]
        if not known:
            return _LEAST_SLICE_S
        call_s = max(_median(outcome) for outcome in known)
        return max(_LEAST_SLICE_S, min(_CALLS * call_s, _LONGEST_SLICE_S))

    @property
    def block_s(self) -> float:
        """Seconds that the next block is expected to take."""
        blocks = [*self.screening, *self.confirming]
        if blocks:
            return sum(outcome.seconds for outcome in blocks[-1].values())
        return len(ARMS) * (self.slice_s + _START_S)


def _triples(blocks: Sequence[Mapping[str, Outcome]]) -> list[Triple]:
    return [(_median(b[BASE]), _median(b[HEAD]), _median(b[NULL])) for b in blocks]


def _median(outcome: Outcome) -> float:
    return statistics.median(outcome.samples["latency_s"])


class TwoStages:
    """Measures cases until each is decided or the budget is spent.

    Args:
        start: starts fresh servers.
        cases: how many cases there are.
        limit: the smallest log ratio that matters.
        budget_s: seconds for both stages, the start of servers not counted.
        seed: of all orders.
        say: is told in a sentence what happens.
        clock: seconds.
    """

    def __init__(
        self,
        start: Start,
        cases: int,
        *,
        limit: float,
        budget_s: float,
        seed: int,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._limit = limit
        self._budget_s = budget_s
        self._seed = seed
        self._say = say
        self._clock = clock
        self._rounds = 0
        self.cases = [CaseRun(index) for index in range(cases)]
        self.seconds = 0.0

    def run(self) -> list[CaseRun]:
        """Both stages, again and again while cases are open and time is left."""
        left = self._budget_s
        first = True
        while opened := self._in(State.OPEN):
            with self._ready(opened) as measure:
                begin = self._clock()
                if first:
                    self._check(measure, opened)
                self._screen(measure, begin + left)
            first = False
            left -= self._clock() - begin
            suspects = self._affordable(self._in(State.SUSPECT), left)
            if not suspects:
                break
            with self._ready(suspects) as measure:
                begin = self._clock()
                self._confirm(measure, suspects, begin + left)
            left -= self._clock() - begin
        self.seconds = self._budget_s - left
        return self.cases

    def _in(self, state: State) -> list[CaseRun]:
        return [case for case in self.cases if case.state is state]

    @contextmanager
    def _ready(self, cases: Sequence[CaseRun]) -> Iterator[Measure]:
        """Servers that have all forked once; neither that nor their start is counted."""
        with self._start() as measure:
            for arm in ARMS:
                measure(arm, cases[0].index, slice_s=_LEAST_SLICE_S, check=False, number=0)
            yield measure

    def _check(self, measure: Measure, cases: Sequence[CaseRun]) -> None:
        """Look whether each side's result is right, and how long a call takes."""
        for case in self._shuffled(cases, "check"):
            for arm in (BASE, HEAD):
                outcome = measure(arm, case.index, slice_s=_LEAST_SLICE_S, check=True, number=0)
                case.checked[arm] = outcome
                self._keep_failure(case, arm, outcome)

    def _screen(self, measure: Measure, end: float) -> None:
        """Rounds over the open cases, half of what is left and again half of it.

        Until there are suspects that can be confirmed, or no time for another block.
        """
        self._say(f"screening {len(self._in(State.OPEN))} cases")
        while opened := self._in(State.OPEN):
            until = self._clock() + SCREENING_SHARE * (end - self._clock())
            before = self._rounds
            while opened and self._round(measure, opened, until, confirming=False):
                self._sort(opened, at_end=False)
                opened = self._in(State.OPEN)
            self._sort(opened, at_end=True)
            suspects = self._affordable(self._in(State.SUSPECT), end - self._clock())
            if suspects or self._rounds == before:
                return

    def _sort(self, opened: Sequence[CaseRun], *, at_end: bool) -> None:
        """Say of each case whether it is fine or suspect by now, after blocks both ways round."""
        for case in opened:
            if len(case.screening) % 2 and not at_end:
                continue
            triples = case.stages.screening
            if is_fine(triples, self._limit):
                case.state = State.FINE
            elif is_suspect(triples, self._limit, at_end=at_end):
                case.state = State.SUSPECT

    def _affordable(self, suspects: Sequence[CaseRun], left: float) -> list[CaseRun]:
        """The plainest suspects, as many as can be confirmed in ``left`` seconds."""
        chosen = []
        for case in sorted(suspects, key=self._errors, reverse=True):
            seconds = 2 * MIN_BLOCKS * case.block_s
            if seconds <= left:
                left -= seconds
                chosen.append(case)
        return chosen

    def _errors(self, case: CaseRun) -> float:
        found = shift(head_blocks(case.stages.screening))
        return abs(found.value) / found.error if found.error else math.inf

    def _confirm(self, measure: Measure, suspects: Sequence[CaseRun], end: float) -> None:
        """The second stage: as many blocks as the first one says, while there is time."""
        wanted = {
            case.index: blocks_to_confirm(case.stages.screening, self._limit) for case in suspects
        }
        self._say(
            f"confirming {len(suspects)} suspected cases in fresh processes, "
            f"{format_seconds(end - self._clock())} left"
        )
        while todo := [c for c in suspects if len(c.confirming) < wanted[c.index]]:
            todo = [case for case in todo if not case.failures]
            if not self._round(measure, todo, end, confirming=True):
                break
        for case in suspects:
            if case.state is State.SUSPECT:
                case.state = State.DONE

    def _round(
        self, measure: Measure, cases: Sequence[CaseRun], until: float, *, confirming: bool
    ) -> bool:
        """A block of each case in a new order; False if there was no time for any."""
        number = self._rounds + 1
        ran = False
        for case in self._shuffled(cases, f"round {number}"):
            blocks = case.confirming if confirming else case.screening
            must = not confirming and len(blocks) < _LEAST_BLOCKS
            if self._clock() + case.block_s <= until or must:
                self._block(measure, case, blocks, number)
                ran = True
        self._rounds += ran
        return ran

    def _block(
        self, measure: Measure, case: CaseRun, blocks: list[Mapping[str, Outcome]], number: int
    ) -> None:
        """Three processes in a row; a case that fails in one of them is measured no further."""
        done = {}
        for arm in self._order(case, len(blocks)):
            outcome = measure(arm, case.index, slice_s=case.slice_s, check=False, number=number)
            if self._keep_failure(case, arm, outcome):
                return
            done[arm] = outcome
        blocks.append(done)

    def _order(self, case: CaseRun, block: int) -> list[str]:
        """A random order, and for the next block of the case its mirror image."""
        stage = "confirming" if case.state is State.SUSPECT else "screening"
        order = list(ARMS)
        random.Random(f"{self._seed} {case.index} {stage} {block // 2}").shuffle(order)
        return order[::-1] if block % 2 else order

    def _keep_failure(self, case: CaseRun, arm: str, outcome: Outcome) -> bool:
        if outcome.status is Status.OK:
            return False
        case.failures[HEAD if arm == HEAD else BASE] = outcome
        case.state = State.FAILED
        return True

    def _shuffled(self, cases: Sequence[CaseRun], what: str) -> list[CaseRun]:
        order = list(cases)
        random.Random(f"{self._seed} {what}").shuffle(order)
        return order
