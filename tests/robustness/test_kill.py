"""Killed at fifty random moments, some in the middle of a write, and resumed each time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from paca_bench.plan import PlannedCase
from paca_bench.record import Status
from paca_bench.runner import Runner
from paca_bench.store import RunFolder, TornLineWarning
from paca_bench.sweeper import Silent
from paca_bench.workers import Job, Outcome
from tests.fakes import FakeMachine, Killed
from tests.test_runner import plan, results, spec

MOMENTS = 50
KILLS = 3


class Disk:
    """Stands for ``os.fsync``: kills the sweep at a given line, of which it may tear the end."""

    def __init__(self, kill_at: int, torn: int) -> None:
        self.left = kill_at
        self.torn = torn

    def fsync(self, descriptor: int) -> None:
        self.left -= 1
        if self.left == 0:
            size = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, max(size - self.torn, 0))
            raise Killed


class Worker:
    """Stands for ``execute``: the n-th job's process is killed, and with it perhaps the sweep."""

    def __init__(self, machine: FakeMachine, kill_at: int, with_parent: bool) -> None:
        self.machine = machine
        self.left = kill_at
        self.with_parent = with_parent

    def execute(self, job: Job, timeout_s: float) -> Outcome:
        outcome = self.machine.execute(job, timeout_s)
        self.left -= 1
        if self.left:
            return outcome
        if self.with_parent:
            raise Killed
        return Outcome(status=Status.OUT_OF_MEMORY, reason="killed by SIGKILL", seconds=0.1)


def planned_with_energy() -> list[PlannedCase]:
    """Cases of every group."""
    return [
        dataclasses.replace(p, groups=(*p.groups, "energy")) if "latency" in p.groups else p
        for p in plan("vit", "swin", fits=True)
    ]


def attempt(
    folder: Path, machine: FakeMachine, execute: Any, monkeypatch: pytest.MonkeyPatch, fsync: Any
) -> bool:
    """One attempt at the sweep; False if it was killed."""
    monkeypatch.setattr(os, "fsync", fsync)
    with contextlib.suppress(Killed):
        run = RunFolder.open(folder) if folder.exists() else RunFolder.create(folder, {})
        Runner(spec(), run, execute, Silent(), machine.clock).run(planned_with_energy())
        run.finish()
        return True
    return False


def whole_lines(folder: Path) -> bytes:
    """The records that are wholly on the disk."""
    data = (folder / "records.jsonl").read_bytes()
    return data[: data.rfind(b"\n") + 1]


@pytest.mark.filterwarnings("ignore::paca_bench.store.TornLineWarning")
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_no_record_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    rng = random.Random(moment)
    whole = FakeMachine(noise=0.02)
    assert attempt(tmp_path / "whole", whole, whole.execute, monkeypatch, lambda fd: None)
    expected = results(RunFolder.open(tmp_path / "whole"))

    machine, folder = FakeMachine(noise=0.02), tmp_path / "run"
    killed_workers = 0
    for _ in range(KILLS):
        before = whole_lines(folder) if folder.exists() else b""
        what = rng.choice(("parent while it writes", "worker", "worker and parent"))
        moment_of_it = rng.randrange(1, 45)
        if what == "parent while it writes":
            disk = Disk(moment_of_it, torn=rng.randrange(60))
            attempt(folder, machine, machine.execute, monkeypatch, disk.fsync)
        else:
            worker = Worker(machine, moment_of_it, what == "worker and parent")
            attempt(folder, machine, worker.execute, monkeypatch, lambda fd: None)
            killed_workers += not worker.with_parent and worker.left <= 0
        assert whole_lines(folder).startswith(before), f"{what} changed a finished record"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornLineWarning)
        assert attempt(folder, machine, machine.execute, monkeypatch, lambda fd: None)

    run = RunFolder.open(folder)
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_bytes().splitlines()]
    assert set(Counter(line["case_hash"] for line in lines).values()) == {1}
    assert {record.case.id for record in run.records()} == expected.keys()
    assert not run.journal()
    failed = [r for r in run.records() if r.status is not Status.OK]
    # Both modes of a shape share one count of it.
    assert len(failed) <= 2 * killed_workers
    for record in run.records():
        if record.status is Status.OK:
            statuses, metrics, samples = expected[record.case.id]
            assert record.statuses == statuses
            assert metrics.keys() == record.metrics.keys()
            assert len(record.samples) == len(samples)
