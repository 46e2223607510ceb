"""pytest-benchmark's JSON files as a side of a comparison.

One benchmark is one case, and one file is one process of it: all its rounds ran in the same
process. Several files of a side are several processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paca_bench.compare.rules import STATIC_METRICS
from paca_bench.compare.sides import SideCase, condition_values, static_values
from paca_bench.errors import StoreError

SINGLE = (
    "A pytest-benchmark file is one process, so intervals of a single file a side cover noise "
    "within a process only; give a folder of several files, one a pytest run, for each side."
)


def read_benchmarks(path: Path) -> tuple[list[SideCase], list[str]]:
    """The benchmarks of one file, and notes.

    ``extra_info`` may hold any of the deterministic metrics of a record (``macs``,
    ``predicted_peak_memory_bytes``, ...) and the conditions ``device``, ``dtype``,
    ``kernel_path``, ``torch``, ``threads``, ``allocator`` and ``gpu``.

    Raises:
        StoreError: the file cannot be read, or is not pytest-benchmark's.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not JSON: {error}") from error
    benchmarks = content.get("benchmarks") if isinstance(content, dict) else None
    if not isinstance(benchmarks, list):
        raise StoreError(
            f"{path} is not a pytest-benchmark file (it has no list of benchmarks); make one "
            f"with 'pytest --benchmark-json FILE'"
        )
    machine = content.get("machine_info")
    facts = machine if isinstance(machine, Mapping) else {}
    cases = [_case(one, facts, path) for one in benchmarks]
    return cases, [SINGLE] if cases else []


def _case(benchmark: Any, machine: Mapping[str, Any], path: Path) -> SideCase:
    if not isinstance(benchmark, Mapping):
        raise StoreError(f"{path}: a benchmark is not a JSON object")
    name = benchmark.get("fullname") or benchmark.get("name")
    if not isinstance(name, str) or not name:
        raise StoreError(f"{path}: a benchmark has no name")
    extra = benchmark.get("extra_info")
    info = extra if isinstance(extra, Mapping) else {}
    samples = _samples(benchmark.get("stats"), name, path)
    cpu = machine.get("cpu")
    return SideCase(
        id=name,
        key=name,
        loose_key=name,
        processes=[samples] if samples else [],
        statics=static_values(_named_as_metrics(info)),
        conditions=condition_values(
            [
                *((key, info.get(key)) for key in ("device", "dtype", "torch", "threads")),
                ("kernel path", info.get("kernel_path")),
                ("allocator", info.get("allocator")),
                ("gpu", info.get("gpu")),
                ("cpu", cpu.get("brand_raw") if isinstance(cpu, Mapping) else None),
            ]
        ),
    )


def _named_as_metrics(info: Mapping[str, Any]) -> dict[str, Any]:
    """``extra_info`` may use the short names of the rules too."""
    return {metric: info.get(metric, info.get(name)) for name, metric in STATIC_METRICS.items()}


def _samples(stats: Any, name: str, path: Path) -> list[float]:
    """All rounds in seconds; their median where the file was saved without them."""
    found = stats if isinstance(stats, Mapping) else {}
    values = found.get("data") or ([found["median"]] if "median" in found else [])
    if not isinstance(values, list) or not all(_is_time(value) for value in values):
        raise StoreError(f"{path}: the samples of {name} are not positive numbers of seconds")
    return [float(value) for value in values]


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf
