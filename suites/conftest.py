"""What the pytest-benchmark modules share: a case timed as a worker would call it.

    pytest suites/bench_layers.py --benchmark-json layers.json

One such file is one process. ``paca-bench compare`` reads several of a side as its processes,
with the exact metrics from ``extra_info``. The timings are pytest-benchmark's own; for
intervals over processes and an order that is interleaved use ``paca-bench sweep`` or ``gate``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from paca_bench.complexity.memory import predict_case_memory
from paca_bench.complexity.roofline import static_metrics
from paca_bench.measure.kernel import kernel_path
from paca_bench.measure.latency import make_call
from paca_bench.measure.prepare import Prepared, prepare
from paca_bench.models.subject import case_cost
from paca_bench.record import Case

BenchCase = Callable[[Case], None]

MECHANISMS: dict[str, dict[str, Any]] = {
    "vit": {},
    "swin": {},
    "pvt": {},
    "pvt_linear": {},
    "paca": {"num_clusters": 49},
}


@pytest.fixture(params=MECHANISMS)
def mechanism(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each mechanism in turn, as the axes of a case."""
    return {"mechanism": request.param, **MECHANISMS[request.param]}


@pytest.fixture
def bench_case(benchmark: BenchmarkFixture) -> BenchCase:
    """Times one call of a case, and attaches what is exact about it."""

    def bench(case: Case) -> None:
        torch.set_flush_denormal(True)
        torch.manual_seed(0)
        prepared = prepare(case)
        call, between = make_call(prepared.module, prepared.x, case.mode)

        def whole() -> None:
            between()
            call()

        benchmark.extra_info.update(static_info(prepared))
        benchmark(whole)

    return bench


def static_info(prepared: Prepared) -> dict[str, Any]:
    """The deterministic metrics of a case, and the conditions that a latency depends on."""
    case = prepared.case
    cost = case_cost(case)
    assert cost is not None, "built-in subjects have a closed form"
    malloc = {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")}
    return {
        **static_metrics(cost, batch=case.batch, dtype=case.dtype, mode=case.mode),
        "predicted_peak_memory_bytes": predict_case_memory(case).peak_bytes,
        "device": case.device,
        "dtype": case.dtype,
        "kernel_path": kernel_path(prepared.eager, prepared.x, case.mode),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "allocator": json.dumps(malloc, sort_keys=True) if malloc else "system",
    }
