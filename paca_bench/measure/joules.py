"""The energy of a call: many calls in a row, over a span that the counter resolves well."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from paca_bench.errors import UnsupportedError
from paca_bench.measure.energy import Absent, Energy, Meter, cpu_meter, gpu_meter
from paca_bench.measure.execution import executing
from paca_bench.measure.latency import make_call
from paca_bench.measure.nvml import open_gpu
from paca_bench.measure.prepare import prepare
from paca_bench.record import Case

SPAN_S = 1.0
# Each end of a span may miss what passes in one interval of the counter: 4% of this many.
LEAST_INTERVALS = 50
# The device is looked at so often to see whether the span is over.
LOOKS_PER_SPAN = 20

Call = Callable[[], object]


def measure_case_energy(case: Case) -> tuple[dict[str, float], dict[str, Any]]:
    """Joules of one image: metrics and details.

    Raises:
        UnsupportedError: nothing counts energy here, or it cannot be read.
        SpecError: the case cannot be built.
    """
    meter = open_meter(case.device)
    if isinstance(meter, Absent):
        raise UnsupportedError(meter.reason)
    prepared = prepare(case)
    call, between = make_call(prepared.module, prepared.x, case.mode)
    on_cuda = case.device.startswith("cuda")
    with executing(case):
        calls, energy = energy_of_calls(
            meter, call, between, torch.cuda.synchronize if on_cuda else lambda: None
        )
    details = {
        "method": energy.method,
        "calls": calls,
        "seconds": energy.seconds,
        "watts": energy.watts,
        "interval_s": energy.interval_s,
        "resolution_joules_per_image": energy.resolution_j / (calls * case.batch),
    }
    return {"joules_per_image": energy.joules / (calls * case.batch)}, {"energy": details}


def open_meter(device: str) -> Meter | Absent:
    """What measures the energy of ``device``, or why nothing does."""
    if not device.startswith("cuda"):
        return cpu_meter()
    gpu = open_gpu(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return Absent(f"NVML does not know {device}") if gpu is None else gpu_meter(gpu)


def energy_of_calls(
    meter: Meter,
    call: Call,
    between: Call,
    synchronize: Call,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, Energy]:
    """How many calls were made in a span, and the energy of the span.

    The span is ``SPAN_S``, or longer where the counter moves seldom. It holds what happens
    between calls, for the device does not rest meanwhile.

    Raises:
        UnsupportedError: the counter could not be read.
    """
    call()
    between()
    synchronize()
    start = clock()
    call()
    between()
    synchronize()
    call_s = max(clock() - start, 1e-6)
    calls, energy = _span(meter, call, between, synchronize, SPAN_S, call_s, clock)
    if energy.seconds < LEAST_INTERVALS * energy.interval_s:
        span_s = LEAST_INTERVALS * energy.interval_s
        calls, energy = _span(meter, call, between, synchronize, span_s, call_s, clock)
    return calls, energy


def _span(
    meter: Meter,
    call: Call,
    between: Call,
    synchronize: Call,
    span_s: float,
    call_s: float,
    clock: Callable[[], float],
) -> tuple[int, Energy]:
    """Calls for ``span_s`` seconds: several between two looks at the clock, which waits."""
    several = max(int(span_s / call_s / LOOKS_PER_SPAN), 1)
    calls = 0
    meter.start()
    end = clock() + span_s
    while not calls or clock() < end:
        for _ in range(several):
            call()
            between()
        synchronize()
        calls += several
    energy = meter.stop()
    if isinstance(energy, Absent):
        raise UnsupportedError(energy.reason)
    return calls, energy
