"""A gate in words and files: a comparison's, with what a gate alone can say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paca_bench.analyse.wording import cases, listed
from paca_bench.compare.comparison import Comparison
from paca_bench.compare.machine import to_json
from paca_bench.compare.output import RENDERERS
from paca_bench.report.page import json_text, write_files
from paca_bench.units import format_seconds, significant

if TYPE_CHECKING:
    from paca_bench.gate.run import Gate


def noted(gate: Gate) -> Comparison:
    """The gate's comparison with its sentences, which all outputs show."""
    comparison = gate.comparison
    notes = (*_sentences(gate), *comparison.base.notes)
    return replace(comparison, base=replace(comparison.base, notes=notes))


def _sentences(gate: Gate) -> Iterator[str]:
    if gate.base.commit == gate.head.commit:
        yield "BASE and NEW are the same commit: whatever differs is noise."
    if gate.verdicts:
        yield from _measured(gate)
        yield _null(gate)
    yield from _failed_alike(gate.comparison)


def _measured(gate: Gate) -> Iterator[str]:
    launches = sorted(verdict.launches for verdict in gate.verdicts.values())
    yield (
        f"Both sides were measured in turns, a process each of BASE, NEW and BASE again, in "
        f"servers that were started anew again and again: {statistics.median_low(launches)} "
        f"launches behind the middle case, {launches[0]} behind the least measured one; "
        f"{format_seconds(gate.measured_s)} of a budget of {format_seconds(gate.budget_s)}; "
        f"seed {gate.seed}."
    )
    if confirmed := sum(verdict.is_confirmed for verdict in gate.verdicts.values()):
        yield (
            f"{cases(confirmed).capitalize()} looked changed at first and got a second stage, of "
            f"fresh launches; what is said of them is from that alone."
        )


def _null(gate: Gate) -> str:
    """BASE against itself."""
    largest = max(abs(verdict.null.value) for verdict in gate.verdicts.values())
    noisy = [
        case.id
        for case in gate.comparison.cases
        if (verdict := gate.verdicts.get(case.new.key)) and verdict.is_noisy
    ]
    found = (
        f"which is noise beyond the threshold in {listed(noisy)}: nothing is decided there"
        if noisy
        else "which is no more than chance"
    )
    return (
        f"BASE against itself in the same launches differs by up to "
        f"{significant(100 * math.expm1(largest), 2)}%, {found}."
    )


def _failed_alike(comparison: Comparison) -> Iterator[str]:
    """What broke on both sides is no news of NEW's, but was not compared either."""
    for case in comparison.cases:
        if not case.broken and (case.base.failures or case.new.failures):
            failures = {**case.base.failures, **case.new.failures}
            group, (status, reason) = next(iter(failures.items()))
            yield f"Not timed: {case.id}, {group} {status.value.replace('_', ' ')} ({reason})."


def gate_json(gate: Gate) -> dict[str, Any]:
    """As of a comparison, with the null and the stages of each case under ``gate``."""
    ids = {case.new.key: case.id for case in gate.comparison.cases}
    return {
        **to_json(gate.comparison),
        "gate": {
            "base": str(gate.base),
            "base_commit": gate.base.commit,
            "head": str(gate.head),
            "head_commit": gate.head.commit,
            "head_is_dirty": gate.head.is_dirty,
            "seed": gate.seed,
            "budget_s": gate.budget_s,
            "measured_s": gate.measured_s,
            "counted_s": gate.counted_s,
            "cases": {
                ids[key]: {
                    "null_ratio": math.exp(verdict.null.value),
                    "null_low": math.exp(verdict.null.low),
                    "null_high": math.exp(verdict.null.high),
                    "noisy": verdict.is_noisy,
                    "confirmed": verdict.is_confirmed,
                    "launches": verdict.launches,
                }
                for key, verdict in gate.verdicts.items()
            },
        },
    }


def write_gate(gate: Gate, outputs: Mapping[str, Path]) -> None:
    """Write files: ``markdown``, ``html``, ``json``, ``junit`` -> path.

    Raises:
        StoreError: a file cannot be written.
    """
    own = {"json": lambda comparison: json_text(gate_json(gate))}
    write_files(gate.comparison, outputs, {**RENDERERS, **own})
