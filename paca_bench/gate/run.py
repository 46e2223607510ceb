"""A gate from two revisions to verdicts: the steps in their order."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from paca_bench.analyse.gate import Q, Verdict, judge
from paca_bench.compare.comparison import CLEAN, UNDECIDED, CasePair, Comparison, pair_sides
from paca_bench.compare.rules import LATENCY, Rule, parse_rules
from paca_bench.compare.sides import Side, load_side
from paca_bench.errors import NothingMeasuredError
from paca_bench.gate.arms import Arms
from paca_bench.gate.output import noted
from paca_bench.gate.records import add_latencies
from paca_bench.gate.repository import Repository, Revision
from paca_bench.gate.side import NAMES, GateSide
from paca_bench.gate.stages import BASE, HEAD, CaseRun, TwoStages
from paca_bench.gate.static import count_both
from paca_bench.record import Case
from paca_bench.spec import SweepSpec, make_spec, read_suite
from paca_bench.store import RunFolder, check_free
from paca_bench.units import format_seconds

DEFAULT_SUITE = "gate"
DEFAULT_BUDGET = "2m"
# Half of what a comparison of stored runs can tell: here both sides meet the same machine.
GATE_FAIL_ON = "latency>2%,macs>0,params>0,memory>1%"

Say = Callable[[str], None]
MakeArms = Callable[[Sequence[GateSide], Mapping[str, SweepSpec], Sequence[Case]], Arms]


@dataclass(frozen=True)
class Gate:
    """What a gate found.

    Attributes:
        comparison: BASE and NEW (the head), as of two runs; exit code and outputs are its.
        verdicts: key of a case -> how its latency was judged.
        base, head: the revisions.
        seed: of all orders.
        budget_s: of measuring latencies.
        measured_s: what it took; 0 where nothing was timed.
        counted_s: what counting took.
    """

    comparison: Comparison
    verdicts: Mapping[str, Verdict]
    base: Revision
    head: Revision
    seed: int
    budget_s: float
    measured_s: float
    counted_s: float

    @property
    def exit_code(self) -> int:
        """As of ``paca-bench compare``."""
        return self.comparison.exit_code


def gate(
    base: str,
    head: str | None = None,
    *,
    suite: str | None = None,
    fail_on: str = GATE_FAIL_ON,
    q: float = Q,
    static_only: bool = False,
    install: bool = False,
    allow_different: bool = False,
    strict: bool = False,
    out: str | PathLike[str] | None = None,
    folder: str | PathLike[str] = ".",
    say: Say = lambda _: None,
    make_arms: MakeArms = Arms,
    **settings: Any,
) -> Gate:
    """Measure two revisions of the repository around ``folder`` in turns, and judge each case.

    Args:
        base: a branch, tag or hash.
        head: the same; None is the working tree as it is, uncommitted changes included.
        suite: a TOML file, or the name of a suite that ships; ``settings`` override it. With
            neither a suite nor ``res``, the suite ``gate``.
        fail_on: what is a regression, see ``compare.rules``.
        q: false discovery rate over the suspects, two-sided.
        static_only: compare counts alone; nothing is timed.
        install: a virtual environment a side, in which the revision is installed; otherwise
            each side imports from its folder, in this interpreter.
        allow_different: compare latencies although torch or another condition differs.
        strict: what stays open is exit code 4.
        out: a new folder for the run of each side, ``base`` and ``head``.
        folder: in the repository.
        say: is told in a sentence what happens.
        make_arms: makes what runs processes of both sides.
        **settings: as the options of ``paca-bench sweep``; ``budget`` is that of the latencies.

    Raises:
        SpecError: a setting is unknown or not allowed.
        StoreError: ``out`` cannot be used.
        NothingMeasuredError: no such revision, a side cannot run, or nothing can be compared.
    """
    given = _settings(suite, settings)
    spec = make_spec(given)
    del given["budget"]
    repository = Repository.around(Path(folder).resolve())
    revisions = {
        BASE: repository.revision(base),
        HEAD: repository.working_tree() if head is None else repository.revision(head),
    }
    asked = _Asked(parse_rules(fail_on), q, allow_different, strict, revisions)
    say(f"BASE is {revisions[BASE]}, NEW is {revisions[HEAD]}")
    with _run_folders(out) as runs, repository.checked_out(revisions) as folders:
        make = GateSide.installed if install else GateSide.importing
        sides = [make(NAMES[arm], revisions[arm], folders[arm]) for arm in NAMES]
        own = {side.name: side.settings(given, repository) for side in sides}
        say("counting the cases of both sides")
        started = time.monotonic()
        count_both(sides, own, {name: runs[arm] for arm, name in NAMES.items()})
        counted_s = time.monotonic() - started
        comparison = asked.comparison(runs)
        timed = [] if static_only else _to_time(comparison)
        verdicts: dict[str, Verdict] = {}
        measured_s = 0.0
        if timed:
            cases = _cases_of(runs[HEAD], timed)
            specs = {name: make_spec(settings) for name, settings in own.items()}
            stages = TwoStages(
                make_arms(sides, specs, cases).start,
                len(cases),
                limit=math.log1p(asked.threshold),
                budget_s=spec.budget_s,
                seed=spec.seed,
                say=say,
            )
            done = stages.run()
            measured_s = stages.seconds
            named = {arm: str(revision) for arm, revision in revisions.items()}
            add_latencies(runs, cases, done, {**named, "seed": spec.seed})
            verdicts = _judged(cases, done, asked)
            comparison = asked.comparison(runs)
    if not static_only:
        comparison = _refusing(comparison)
    judgements = {key: verdict.judgement for key, verdict in verdicts.items()}
    found = Gate(
        comparison=comparison.with_judgements(judgements),
        verdicts=verdicts,
        base=revisions[BASE],
        head=revisions[HEAD],
        seed=spec.seed,
        budget_s=spec.budget_s,
        measured_s=measured_s,
        counted_s=counted_s,
    )
    _check_timed(found, static_only)
    return replace(found, comparison=noted(found))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a comparison of the two sides goes by."""

    rules: Mapping[str, Rule]
    q: float
    allow_different: bool
    strict: bool
    revisions: Mapping[str, Revision]

    @property
    def threshold(self) -> float:
        """Of the latency, also where no rule is about it."""
        return self.rules.get(LATENCY, parse_rules(GATE_FAIL_ON)[LATENCY]).threshold

    def comparison(self, runs: Mapping[str, Path]) -> Comparison:
        """Both runs put together; no latency is judged."""
        base, new = (
            replace(load_side(runs[arm], name), path=Path(str(self.revisions[arm])))
            for arm, name in NAMES.items()
        )
        paired = pair_sides(
            _known_to(new, base),
            _known_to(base, new),
            self.rules,
            q=self.q,
            allow_different=self.allow_different,
            strict=self.strict,
        )
        return replace(paired, interleaved=True)


def _known_to(other: Side, side: Side) -> Side:
    """``side`` without the conditions that the other revision does not record yet.

    Both ran on this machine, so what only one of them knows of it holds for both.
    """
    recorded = {name for case in other.cases.values() for name in case.conditions}
    cases = {
        key: replace(case, conditions={n: v for n, v in case.conditions.items() if n in recorded})
        for key, case in side.cases.items()
    }
    return replace(side, cases=cases)


def _settings(suite: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A suite's settings with those given over them; counts and latencies are the metrics."""
    if suite is None and "res" not in settings:
        suite = DEFAULT_SUITE
    found = {"budget": DEFAULT_BUDGET, **(read_suite(suite) if suite else {}), **settings}
    found.pop("metrics", None)
    if "plugin" in found:
        plugins = found["plugin"]
        found["plugin"] = plugins.split(",") if isinstance(plugins, str) else list(plugins)
    return found


@contextmanager
def _run_folders(out: str | PathLike[str] | None) -> Iterator[dict[str, Path]]:
    """Where each side's run goes: into ``out``, or somewhere for as long as the gate runs."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="paca-bench-runs-") as folder:
            yield {arm: Path(folder) / arm for arm in (BASE, HEAD)}
        return
    # The sides start in folders of their own.
    place = Path(out).resolve()
    check_free(place, resumable=False)
    yield {arm: place / arm for arm in (BASE, HEAD)}


def _to_time(comparison: Comparison) -> list[CasePair]:
    """The cases that worked on both sides, under conditions that may be compared."""
    return [
        case
        for case in comparison.cases
        if case.base.key == case.new.key
        and not (case.base.failures or case.new.failures)
        and (comparison.allow_different or not case.differences)
    ]


def _cases_of(run: Path, timed: Sequence[CasePair]) -> list[Case]:
    records = {record.case.hash: record.case for record in RunFolder.open(run).records()}
    return [records[pair.new.key] for pair in timed]


def _judged(cases: Sequence[Case], done: Sequence[CaseRun], asked: _Asked) -> dict[str, Verdict]:
    """Verdicts of the cases in which no process failed."""
    whole = [(case.hash, one) for case, one in zip(cases, done, strict=True) if not one.failures]
    verdicts = judge([one.stages for _, one in whole], asked.threshold, asked.q)
    return {key: verdict for (key, _), verdict in zip(whole, verdicts, strict=True)}


def _refusing(comparison: Comparison) -> Comparison:
    """Cases that were not timed because conditions differ are refused, not passed over."""
    if comparison.allow_different:
        return comparison
    cases = [
        replace(case, is_refused=case.is_refused or bool(case.differences))
        for case in comparison.cases
    ]
    return replace(comparison, cases=cases)


def _check_timed(found: Gate, static_only: bool) -> None:
    """A gate that was to time and timed nothing must not pass."""
    comparison = found.comparison
    wanted = LATENCY in comparison.rules and not static_only
    if wanted and not found.verdicts and comparison.exit_code in (CLEAN, UNDECIDED):
        reasons = [
            f"{case.id}: {reason}"
            for case in comparison.cases
            for _, reason in case.new.failures.values()
        ]
        why = f" ({reasons[0]})" if reasons else ""
        raise NothingMeasuredError(
            f"the counts are as they were, but no case could be timed on both sides{why}; "
            f"choose other cases, raise --budget above {format_seconds(found.budget_s)}, or take "
            f"--static-only"
        )
