"""Run folders as a side of a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from paca_bench.compare.sides import SideCase, condition_values, static_values
from paca_bench.record import Record, Status
from paca_bench.store import RECORDS_FILE, RUN_FILE, RunFolder


def is_run(path: Path) -> bool:
    """True of a run folder, and of either of its files."""
    return (path / RUN_FILE).is_file() or path.name in (RUN_FILE, RECORDS_FILE)


def read_run(path: Path) -> tuple[list[SideCase], list[str]]:
    """The cases of a run, a training (``fit``) left out, and notes.

    Raises:
        StoreError: the run is damaged, or of a newer schema.
    """
    run = RunFolder.open(path)
    environment = run.header.get("environment")
    facts = environment if isinstance(environment, Mapping) else {}
    cases = [_case(record, facts) for record in run.records() if not record.case.is_training]
    notes = []
    if "finished_at" not in run.header and any(case.processes for case in cases):
        notes.append(f"Run {run.path} did not come to its end; 'paca-bench sweep --resume' it.")
    return cases, notes


def _case(record: Record, facts: Mapping[str, Any]) -> SideCase:
    case = record.case
    timed = record.statuses.get("latency") is Status.OK
    samples = record.samples.get("latency_s", []) if timed else []
    return SideCase(
        id=case.id,
        key=case.hash,
        loose_key=replace(case, device="", dtype="").hash,
        processes=[process for process in samples if process],
        statics=static_values(record.metrics),
        conditions=condition_values(
            [
                ("device", case.device),
                ("dtype", case.dtype),
                ("kernel path", record.details.get("kernel_path")),
                *_machine(facts),
            ]
        ),
        failures={
            group: (status, record.reasons.get(group, ""))
            for group, status in record.statuses.items()
            if status is not Status.OK
        },
    )


def _machine(facts: Mapping[str, Any]) -> list[tuple[str, object]]:
    gpu = facts.get("gpu")
    return [
        ("torch", facts.get("torch")),
        ("threads", facts.get("threads")),
        ("allocator", _allocator(facts.get("malloc"))),
        ("cpu", facts.get("cpu")),
        ("gpu", gpu.get("name") if isinstance(gpu, Mapping) else gpu),
        ("cores", facts.get("cores_usable")),
        ("vector unit", facts.get("vector_unit")),
    ]


def _allocator(malloc: object) -> str | None:
    """The settings of the C allocator, which decide how often pages fault."""
    if not isinstance(malloc, Mapping):
        return None
    return json.dumps(dict(sorted(malloc.items()))) if malloc else "system"
