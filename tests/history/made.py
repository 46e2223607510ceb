"""Made-up histories: run folders and pytest-benchmark files over commits."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from paca_bench.record import Record
from tests.compare import sides

FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOISE = 0.02


def commit(day: int) -> str:
    return hashlib.sha1(str(day).encode()).hexdigest()


def day_of(day: float) -> str:
    return (FIRST + timedelta(days=day)).isoformat()


def noisy(rng: random.Random, runs: int) -> list[float]:
    """Factors of a run's latencies."""
    return [1 + NOISE * rng.gauss(0, 1) for _ in range(runs)]


def add_run(
    folder: Path,
    day: int,
    records: Iterable[Record],
    *,
    of_commit: str | None = None,
    dirty: bool = False,
    git: bool = True,
    name: str = "",
    **environment: object,
) -> Path:
    """A run of the commit of a day, started an hour after it."""
    path = sides.run(folder / (name or f"run-{day:03}"), list(records), **environment)
    header = json.loads((path / "run.json").read_text())
    header["started_at"] = day_of(day + 1 / 24)
    if git:
        header["git"] = {
            "commit": of_commit or commit(day),
            "dirty": dirty,
            "committed_at": day_of(day),
        }
    (path / "run.json").write_text(json.dumps(header))
    return path


def runs(
    folder: Path,
    factors: Sequence[float],
    macs: Sequence[int] | None = None,
    mechanism: str = "vit",
    seed: int = 0,
    **changes: object,
) -> Path:
    """A run a day, whose latencies are ``factors`` times 10 ms with 2% noise."""
    rng = random.Random(seed)
    for day, (factor, own) in enumerate(zip(factors, noisy(rng, len(factors)), strict=True)):
        counts = {} if macs is None else {"macs": macs[day]}
        record = sides.record(mechanism, slower=factor * own, seed=day + 1000 * seed, **counts)
        add_run(folder, day, [record], **changes)
    return folder


def benchmark_files(folder: Path, factors: Sequence[float]) -> Path:
    """pytest-benchmark's files, one a commit."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    for day, (factor, own) in enumerate(zip(factors, noisy(rng, len(factors)), strict=True)):
        path = sides.benchmark_file(folder / f"{day:04}.json", slower=factor * own, seed=day)
        content = json.loads(path.read_text())
        content["datetime"] = day_of(day + 0.1)
        content["commit_info"] = {"id": commit(day), "time": day_of(day), "dirty": False}
        path.write_text(json.dumps(content))
    return folder
