"""Two sides put together, case by case, and what follows from that for an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from paca_bench.analyse.compare import Change, Judgement, Q, judge
from paca_bench.compare.pairs import pair_cases
from paca_bench.compare.rules import (
    DEFAULT_FAIL_ON,
    GROUP_NAMES,
    LATENCY,
    STATIC_METRICS,
    Rule,
    parse_rules,
)
from paca_bench.compare.sides import CONDITIONS, Side, SideCase, load_side
from paca_bench.record import Status

CLEAN, REGRESSION, NOTHING, UNDECIDED = 0, 1, 3, 4

# Statuses of a measurement that broke; the others say that it was never tried.
BROKEN = frozenset({Status.CRASH, Status.ERROR, Status.WRONG, Status.TIMEOUT, Status.OUT_OF_MEMORY})
# Statics that depend on more than the shape -> the conditions that must be the same.
NEEDS = {
    # A convolution's workspace on a CPU is one a thread, in blocks of the vector unit.
    "memory": ("device", "dtype", "threads", "vector unit"),
    "moved_bytes": ("dtype",),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition that is not the same on both sides."""

    name: str
    base: str
    new: str

    def __str__(self) -> str:
        return f"{self.name}: {self.base} → {self.new}"


@dataclass(frozen=True, slots=True)
class StaticPair:
    """A deterministic metric on both sides, exact; ``rule`` is what may fail it, if any."""

    name: str
    base: float
    new: float
    rule: Rule | None

    @property
    def metric(self) -> str:
        """The name in a record, with the unit."""
        return STATIC_METRICS[self.name]

    @property
    def is_changed(self) -> bool:
        """Any change is a change."""
        return self.base != self.new

    @property
    def is_regression(self) -> bool:
        """True if a rule says so."""
        return self.rule is not None and self.rule.is_broken(self.base, self.new)

    @property
    def relative(self) -> float | None:
        """(NEW - BASE) / BASE; None where BASE is 0."""
        return (self.new - self.base) / self.base if self.base else None


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case on both sides.

    Attributes:
        base, new: the two sides of it.
        statics: the deterministic metrics that both have.
        differences: conditions that differ.
        judgement: of the latency; None where not timed on both sides, or refused.
        is_refused: timed on both sides, under conditions that differ.
        broken: what was measured on one side and broke on the other, in words.
        lost: names that a rule is about and that BASE has, and NEW has not, for no failure.
    """

    base: SideCase
    new: SideCase
    statics: tuple[StaticPair, ...]
    differences: tuple[Difference, ...]
    is_refused: bool
    broken: tuple[str, ...]
    lost: tuple[str, ...]
    judgement: Judgement | None = None

    @property
    def id(self) -> str:
        """NEW's name of it."""
        return self.new.id

    @property
    def changed(self) -> list[StaticPair]:
        """The deterministic metrics that are not equal."""
        return [pair for pair in self.statics if pair.is_changed]


@dataclass(frozen=True)
class Comparison:
    """BASE and NEW, compared.

    Attributes:
        base, new: the sides.
        cases: the cases of both, in BASE's order.
        only_base, only_new: ids of the cases of one side.
        rules: name -> what may fail.
        q: false discovery rate of the latency's verdicts.
        allow_different: latencies under different conditions were compared nevertheless.
        strict: what stays open, or was not compared, is an exit code of its own.
        interleaved: the sides were measured side by side, in turns, by a gate.
    """

    base: Side
    new: Side
    cases: Sequence[CasePair]
    only_base: Sequence[str]
    only_new: Sequence[str]
    rules: Mapping[str, Rule]
    q: float
    allow_different: bool = False
    strict: bool = False
    interleaved: bool = False

    def with_judgements(self, judgements: Mapping[str, Judgement]) -> Comparison:
        """The same with the latencies judged: NEW's key of a case -> what is known of it."""
        judged = [replace(case, judgement=judgements.get(case.new.key)) for case in self.cases]
        return replace(self, cases=judged)

    @cached_property
    def slower(self) -> list[CasePair]:
        """The cases whose latency regressed, if that may fail; the slowest first."""
        return self._judged(Change.SLOWER) if LATENCY in self.rules else []

    @cached_property
    def static_regressions(self) -> list[tuple[CasePair, StaticPair]]:
        """Deterministic metrics beyond their rule."""
        return [(c, s) for c in self.cases for s in c.statics if s.is_regression]

    @cached_property
    def static_changes(self) -> list[tuple[CasePair, StaticPair]]:
        """Every deterministic metric that changed, whether a rule forbids it or not."""
        return [(case, static) for case in self.cases for static in case.changed]

    @cached_property
    def refused(self) -> list[CasePair]:
        """Cases whose latencies were not compared because conditions differ."""
        return [case for case in self.cases if case.is_refused]

    @cached_property
    def broken(self) -> list[CasePair]:
        """Cases that broke on one side only."""
        return [case for case in self.cases if case.broken]

    @cached_property
    def judged(self) -> list[tuple[CasePair, Judgement]]:
        """The cases whose latency has a verdict."""
        return [(case, case.judgement) for case in self.cases if case.judgement]

    def _judged(self, change: Change) -> list[CasePair]:
        found = [(j.ratio.value, case) for case, j in self.judged if j.change is change]
        return [case for _, case in sorted(found, key=lambda item: -item[0])]

    def count(self, change: Change) -> int:
        """How many latencies have this verdict."""
        return len(self._judged(change))

    @property
    def compared(self) -> int:
        """Numbers that some rule is about and that were compared; 0 can never pass."""
        timed = len(self.judged) if LATENCY in self.rules else 0
        return timed + sum(static.rule is not None for c in self.cases for static in c.statics)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 regression, 3 not comparable, 4 undecided (only if ``strict``)."""
        if self.slower or self.static_regressions:
            return REGRESSION
        refused = LATENCY in self.rules and bool(self.refused)
        if not self.compared or self.broken or refused:
            return NOTHING
        inconclusive = LATENCY in self.rules and self.count(Change.INCONCLUSIVE) > 0
        is_open = inconclusive or bool(self.only_base) or any(case.lost for case in self.cases)
        return UNDECIDED if self.strict and is_open else CLEAN

    @property
    def detectable(self) -> tuple[float, float] | None:
        """The smallest slowdown that would have been seen: median and largest over cases."""
        found = sorted(j.detectable for _, j in self.judged if j.detectable is not None)
        return (found[len(found) // 2], found[-1]) if found else None


def compare(
    base: Path,
    new: Path,
    *,
    fail_on: str = DEFAULT_FAIL_ON,
    q: float = Q,
    allow_different: bool = False,
    strict: bool = False,
) -> Comparison:
    """Compare NEW with BASE: each a run folder, a pytest-benchmark file, or a folder of either.

    Raises:
        SpecError: ``fail_on`` or ``q`` makes no sense.
        NothingMeasuredError: a side is missing or holds no case.
        StoreError: a side cannot be read, or mixes revisions.
    """
    rules = parse_rules(fail_on)
    return _with_judgements(
        pair_sides(
            load_side(base, "BASE"),
            load_side(new, "NEW"),
            rules,
            q=q,
            allow_different=allow_different,
            strict=strict,
        )
    )


def _with_judgements(paired: Comparison) -> Comparison:
    """The comparison with every latency judged that both sides have."""
    threshold = paired.rules.get(LATENCY, parse_rules(DEFAULT_FAIL_ON)[LATENCY]).threshold
    timed = [case for case in paired.cases if _is_timed(case) and not case.is_refused]
    samples = [(case.base.processes, case.new.processes) for case in timed]
    found = judge(samples, threshold, paired.q)
    return paired.with_judgements(
        {case.new.key: judgement for case, judgement in zip(timed, found, strict=True)}
    )


def pair_sides(
    base: Side,
    new: Side,
    rules: Mapping[str, Rule],
    *,
    q: float = Q,
    allow_different: bool = False,
    strict: bool = False,
) -> Comparison:
    """Two sides put together and their counts compared; no latency is judged yet."""
    pairs, only_base, only_new = pair_cases(base.cases, new.cases)
    return Comparison(
        base=base,
        new=new,
        cases=[_case_pair(old, now, rules, allow_different) for old, now in pairs],
        only_base=[case.id for case in only_base],
        only_new=[case.id for case in only_new],
        rules=rules,
        q=q,
        allow_different=allow_different,
        strict=strict,
    )


def _case_pair(
    base: SideCase, new: SideCase, rules: Mapping[str, Rule], allow_different: bool
) -> CasePair:
    differences = tuple(_differences(base, new))
    differing = {difference.name for difference in differences}
    broken = tuple(_broken(base, new, rules))
    return CasePair(
        base=base,
        new=new,
        statics=tuple(
            StaticPair(name, base.statics[name], new.statics[name], rules.get(name))
            for name in STATIC_METRICS
            if name in base.statics
            and name in new.statics
            and differing.isdisjoint(NEEDS.get(name, ()))
        ),
        differences=differences,
        is_refused=bool(differences and base.processes and new.processes and not allow_different),
        broken=broken,
        lost=() if broken else tuple(_lost(base, new, rules)),
    )


def _is_timed(case: CasePair) -> bool:
    return bool(case.base.processes and case.new.processes)


def _differences(base: SideCase, new: SideCase) -> Iterator[Difference]:
    for name in CONDITIONS:
        old, now = base.condition(name), new.condition(name)
        if len(old | now) > 1:
            yield Difference(name, " and ".join(sorted(old)), " and ".join(sorted(now)))


def _broken(base: SideCase, new: SideCase, rules: Mapping[str, Rule]) -> Iterator[str]:
    """Groups that some rule needs, and that broke on one side only."""
    for group, names in GROUP_NAMES.items():
        if rules.keys().isdisjoint(names):
            continue
        old, now = base.failures.get(group), new.failures.get(group)
        for side, failure, other in (("BASE", old, now), ("NEW", now, old)):
            if failure and failure[0] in BROKEN and (other is None or other[0] not in BROKEN):
                status, reason = failure
                why = f" ({reason})" if reason else ""
                yield f"{group} on {side}: {status.value.replace('_', ' ')}{why}"


def _lost(base: SideCase, new: SideCase, rules: Mapping[str, Rule]) -> Iterator[str]:
    for name in rules:
        if name == LATENCY:
            if base.processes and not new.processes:
                yield name
        elif name in base.statics and name not in new.statics:
            yield name
