"""What a gate measured, in the run folder of each side, where ``compare`` finds it later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paca_bench.assemble import assemble
from paca_bench.gate.stages import BASE, HEAD, NULL, CaseRun
from paca_bench.plan import PlannedCase
from paca_bench.record import Case, Record
from paca_bench.store import RunFolder
from paca_bench.workers import Outcome

_LATENCY = "latency"


def add_latencies(
    runs: Mapping[str, Path],
    cases: Sequence[Case],
    done: Sequence[CaseRun],
    facts: Mapping[str, Any],
) -> None:
    """Add what was timed to the records of both runs, and ``facts`` of the gate to their headers.

    Both processes of a block that are BASE's go into BASE's run.

    Args:
        runs: ``base`` and ``head`` -> the run folder, with counts.
        cases: the cases that were timed.
        done: their processes.
        facts: JSON values.
    """
    for side, arms in ((BASE, (BASE, NULL)), (HEAD, (HEAD,))):
        run = RunFolder.open(runs[side])
        records = {record.case.hash: record for record in run.records()}
        run.extend(
            _with_latency(records[case.hash], one, side, arms)
            for case, one in zip(cases, done, strict=True)
        )
        run.header["gate"] = {"side": side, **facts}
        run.finish()


def _with_latency(record: Record, one: CaseRun, side: str, arms: Sequence[str]) -> Record:
    outcomes = [_checked(one.checked[side]), *one.outcomes(*arms)]
    if side in one.failures:
        outcomes.append(one.failures[side])
    planned = PlannedCase(case=record.case, groups=(_LATENCY,))
    return record.with_group(_LATENCY, assemble(planned, {_LATENCY: outcomes}))


def _checked(outcome: Outcome) -> Outcome:
    """What the process that checked the result found out, without its latencies."""
    return replace(
        outcome,
        samples={n: values for n, values in outcome.samples.items() if not n.startswith(_LATENCY)},
        details={n: value for n, value in outcome.details.items() if not isinstance(value, list)},
    )
