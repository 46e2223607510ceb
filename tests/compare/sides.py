"""Made-up sides for tests of ``compare``: runs with steady processes, pytest-benchmark files."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from paca_bench.record import Record
from tests.builders import make_record, make_run

PROCESSES = 8


def record(
    mechanism: str = "vit", *, slower: float = 1.0, seed: int = 0, kernel="flash", **metrics
) -> Record:
    """10 ms in eight processes that differ by half a percent; ``metrics`` replace counts."""
    made = make_record(mechanism)
    return replace(
        made,
        samples={"latency_s": samples(f"{mechanism}{seed}", PROCESSES, slower)},
        metrics={**made.metrics, **metrics},
        details={**made.details, "kernel_path": kernel},
    )


def samples(seed: str, processes: int, slower: float = 1.0) -> list[list[float]]:
    rng = random.Random(seed)
    centres = [0.010 * slower * rng.gauss(1, 0.005) for _ in range(processes)]
    return [[centre * rng.gauss(1, 0.002) for _ in range(20)] for centre in centres]


def run(path: Path, records: list[Record], finished: bool = True, **environment: object) -> Path:
    """A run folder; ``environment`` replaces what it says of the machine."""
    folder = make_run(path, [])
    folder.extend(records)
    folder.header["environment"] |= environment
    folder.write_header()
    if finished:
        folder.finish()
    return folder.path


def benchmark_file(path: Path, slower: float = 1.0, seed: int = 0, **extra: object) -> Path:
    """What ``pytest --benchmark-json`` writes, of two benchmarks."""
    benchmarks = [
        {
            "name": name,
            "fullname": f"suites/bench_layers.py::{name}",
            "extra_info": {"macs": 1000, "params": 10, **extra},
            "stats": {"median": 0.01, "data": samples(f"{name}{seed}", 1, slower)[0]},
        }
        for name in ("test_vit", "test_paca")
    ]
    machine = {"cpu": {"brand_raw": "Made-up CPU"}}
    path.write_text(json.dumps({"machine_info": machine, "benchmarks": benchmarks}))
    return path
