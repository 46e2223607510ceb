"""Two stages of launches under one budget: all cases are screened, suspects are confirmed.

A launch starts three fork servers, of BASE, of HEAD and of BASE again, and takes blocks of the
cases in them. A block of a case is a process of each server in a row, in an order drawn from the
seed; the case's next block has them the other way round (A B A', then A' B A), so that a drift
takes from both sides what it gives. Cases are shuffled anew in each round of blocks. Half of what
is left of the budget goes to screening, over several launches, as what processes of one server
have in common would pass for a change; a case leaves it once a change is ruled out, or is plain.
What looks changed is then measured in further launches, as many as the first stage says are
needed.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from paca_bench.analyse.blocks import shift
from paca_bench.analyse.gate import (
    CONFIRMING_LAUNCHES,
    MIN_LAUNCHES,
    Stages,
    Triple,
    head_blocks,
    is_fine,
    is_steady,
    is_suspect,
    launches_to_confirm,
    typical,
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
# An interval needs two launches, whatever the budget says.
_LEAST_LAUNCHES = 2
# More blocks of a case in one launch would say less than another launch.
_MOST_BLOCKS = 24


class Measure(Protocol):
    """Runs a process of an arm."""

    def __call__(self, arm: str, case: int, *, slice_s: float, check: bool, number: int) -> Outcome:
        """One process's latency of the case with this index; ``number`` counts rounds."""


Start = Callable[[], AbstractContextManager[Measure]]
"""Starts fresh fork servers, one an arm."""

Block = Mapping[str, Outcome]
"""Each arm -> its process's outcome."""


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
        screening, confirming: the blocks of each launch.
        checked: the outcomes of the first process of each side, which checked the result and
            is not counted.
        failures: side -> the outcome that ended it.
    """

    index: int
    state: State = State.OPEN
    screening: list[list[Block]] = field(default_factory=list)
    confirming: list[list[Block]] = field(default_factory=list)
    checked: dict[str, Outcome] = field(default_factory=dict)
    failures: dict[str, Outcome] = field(default_factory=dict)

    @property
    def stages(self) -> Stages:
        """What is typical of each launch, for the verdict."""
        return Stages(_launches(self.screening), _launches(self.confirming))

    @property
    def blocks(self) -> list[Block]:
        """All blocks, in the order taken."""
        return [block for launch in (*self.screening, *self.confirming) for block in launch]

    def outcomes(self, *arms: str) -> list[Outcome]:
        """All counted processes of ``arms``, in the order of their blocks."""
        return [block[arm] for block in self.blocks for arm in arms]

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
        if blocks := self.blocks:
            return sum(outcome.seconds for outcome in blocks[-1].values())
        return len(ARMS) * (self.slice_s + _START_S)


def _launches(launches: Sequence[Sequence[Block]]) -> list[Triple]:
    return [typical(_triples(blocks)) for blocks in launches]


def _triples(blocks: Sequence[Block]) -> list[Triple]:
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
        while self._in(State.OPEN):
            left = self._screen(left)
            suspects = self._affordable(left)
            if not suspects:
                break
            left = self._confirm(suspects, left)
        self.seconds = self._budget_s - left
        return self.cases

    def _in(self, state: State) -> list[CaseRun]:
        return [case for case in self.cases if case.state is state]

    def _screen(self, left: float) -> float:
        """Launches of the open cases in half of the time that is left, and again half of it.

        Until there are suspects that can be confirmed, or no time for another launch; what is
        then left.
        """
        self._say(f"screening {len(self._in(State.OPEN))} cases")
        reserved = left * (1 - SCREENING_SHARE)
        each = left * SCREENING_SHARE / MIN_LAUNCHES
        while opened := self._in(State.OPEN):
            least = sum(case.block_s for case in opened)
            is_due = any(len(case.screening) < _LEAST_LAUNCHES for case in opened)
            if is_due or left - least >= reserved:
                left -= self._launch(opened, min(each, left - reserved), confirming=False)
                self._sort(opened, at_end=False)
                continue
            self._sort(opened, at_end=True)
            if self._affordable(left) or left < least:
                break
            reserved = min(left * (1 - SCREENING_SHARE), left - least)
        return left

    def _sort(self, opened: Sequence[CaseRun], *, at_end: bool) -> None:
        """Say of each case whether it is fine or suspect by now."""
        for case in opened:
            triples = case.stages.screening
            if case.state is State.OPEN and is_fine(triples, self._limit):
                case.state = State.FINE
            elif case.state is State.OPEN and is_suspect(triples, self._limit, at_end=at_end):
                case.state = State.SUSPECT

    def _affordable(self, left: float) -> list[CaseRun]:
        """The plainest suspects, as many as can be confirmed in ``left`` seconds."""
        chosen = []
        for case in sorted(self._in(State.SUSPECT), key=self._errors, reverse=True):
            # A block and its mirror image in each launch.
            seconds = 2 * CONFIRMING_LAUNCHES * case.block_s
            if seconds <= left:
                left -= seconds
                chosen.append(case)
        return chosen

    def _errors(self, case: CaseRun) -> float:
        found = shift(head_blocks(case.stages.screening))
        return abs(found.value) / found.error if found.error else math.inf

    def _confirm(self, suspects: Sequence[CaseRun], left: float) -> float:
        """The second stage: as many launches as the first one says, while there is time.

        What is then left.
        """
        wanted = {
            case.index: launches_to_confirm(case.stages.screening, self._limit) for case in suspects
        }
        self._say(
            f"confirming {len(suspects)} suspected cases in fresh launches, "
            f"{format_seconds(left)} left"
        )
        each = left / CONFIRMING_LAUNCHES
        while todo := [
            case
            for case in suspects
            if not case.failures and len(case.confirming) < wanted[case.index]
        ]:
            if sum(case.block_s for case in todo) > left:
                break
            left -= self._launch(todo, min(each, left), confirming=True)
        for case in suspects:
            if case.state is State.SUSPECT:
                case.state = State.DONE
        return left

    def _launch(self, cases: Sequence[CaseRun], seconds: float, *, confirming: bool) -> float:
        """Start servers and take a block of each case, and more while ``seconds`` last.

        Returns:
            What it took without the start.
        """
        taken: dict[int, list[Block]] = {case.index: [] for case in cases}
        with self._start() as measure:
            self._warm(measure, cases[0])
            begin = self._clock()
            self._check(measure, [case for case in cases if not case.checked])
            until = self._clock() + seconds
            todo = list(cases)
            while todo := [case for case in todo if self._wants(case, taken[case.index])]:
                self._rounds += 1
                for case in self._shuffled(todo, f"round {self._rounds}"):
                    blocks = taken[case.index]
                    if not blocks or self._clock() + case.block_s <= until:
                        self._block(measure, case, blocks, confirming)
                    else:
                        todo.remove(case)
            spent = self._clock() - begin
        for case in cases:
            if blocks := taken[case.index]:
                (case.confirming if confirming else case.screening).append(blocks)
        return spent

    def _wants(self, case: CaseRun, blocks: Sequence[Block]) -> bool:
        """True unless the case failed, or more blocks of the launch would say little."""
        is_enough = len(blocks) >= _MOST_BLOCKS or is_steady(_triples(blocks), self._limit)
        return not (case.failures or is_enough)

    def _warm(self, measure: Measure, case: CaseRun) -> None:
        """Let all servers fork once; neither that nor their start is counted."""
        order = random.Random(f"{self._seed} warm {self._rounds}").sample(ARMS, len(ARMS))
        for arm in order:
            measure(arm, case.index, slice_s=_LEAST_SLICE_S, check=False, number=0)

    def _check(self, measure: Measure, cases: Sequence[CaseRun]) -> None:
        """Look whether each side's result is right, and how long a call takes."""
        for case in self._shuffled(cases, "check"):
            for arm in (BASE, HEAD):
                outcome = measure(arm, case.index, slice_s=_LEAST_SLICE_S, check=True, number=0)
                case.checked[arm] = outcome
                self._keep_failure(case, arm, outcome)

    def _block(
        self, measure: Measure, case: CaseRun, blocks: list[Block], confirming: bool
    ) -> None:
        """Three processes in a row; a case that fails in one of them is measured no further."""
        done = {}
        for arm in self._order(case, len(blocks), confirming):
            outcome = measure(
                arm, case.index, slice_s=case.slice_s, check=False, number=self._rounds
            )
            if self._keep_failure(case, arm, outcome):
                return
            done[arm] = outcome
        blocks.append(done)

    def _order(self, case: CaseRun, block: int, confirming: bool) -> list[str]:
        """A random order, and for the next block of the launch its mirror image."""
        launch = len(case.confirming if confirming else case.screening)
        place = f"{case.index} {confirming} {launch} {block // 2}"
        order = random.Random(f"{self._seed} {place}").sample(ARMS, len(ARMS))
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
