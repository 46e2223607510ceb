"""The latency of a case in this process: its samples, and how they were made."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from paca_bench.measure.check import check_against_float64, check_finite, check_shape
from paca_bench.measure.clock import ClockQuality, calibrate_clock, calibrate_events
from paca_bench.measure.cuda_graph import capture_graph, warm_latencies
from paca_bench.measure.disturbance import Disturbances
from paca_bench.measure.execution import executing, no_recompilation
from paca_bench.measure.failure import is_out_of_memory
from paca_bench.measure.kernel import kernel_path
from paca_bench.measure.latency import CudaTimer, Timer, make_call, make_timer, sample_latency
from paca_bench.measure.nvml import Gpu, open_gpu
from paca_bench.measure.prepare import Prepared
from paca_bench.measure.watch import Watch
from paca_bench.models.subject import case_tokens, output_shape
from paca_bench.record import Case

# Modes of torch.compile whose calls are CUDA graphs already.
_GRAPHED = ("reduce-overhead", "max-autotune")

Samples = dict[str, list[float]]
Details = dict[str, Any]


def time_case(
    prepared: Prepared, *, slice_s: float, precision: float, check: bool
) -> tuple[Samples, Details]:
    """Samples of one process by metric, and details.

    Args:
        prepared: the module and its input.
        slice_s: seconds to spend, about; on CUDA as much again for the warm latencies.
        precision: at which sampling stops.
        check: look whether the output is right first, and say what compiling took: later
            processes find it done.

    Raises:
        WrongResult: it is not.
        Recompiled: something was compiled again while samples were taken.
    """
    case = prepared.case
    call, between = make_call(prepared.module, prepared.x, case.mode)
    samples: Samples = {}
    details: Details = {"tokens": case_tokens(case)}
    with executing(case):
        if case.compile != "none":
            seconds = compile_seconds(call, between, case.device)
            if check:
                samples["compile_s"] = [seconds]
    if check:
        details |= _checked(prepared, call)
        between()
    with executing(case):
        timer = make_timer(case.device)
        quality = calibrate(timer)
        gpu = gpu_of(case.device)
        watching = Disturbances(lambda: Watch(gpu=gpu), slice_s)
        with no_recompilation(case):
            taken = sample_latency(
                timer, call, between, slice_s=slice_s, precision=precision, around=watching
            )
        if isinstance(timer, CudaTimer):
            capture = None if case.compile in _GRAPHED else capture_graph
            warm, graph = warm_latencies(
                CudaTimer(lambda: None),
                call,
                between,
                slice_s=slice_s,
                precision=precision,
                capture=capture,
            )
            samples |= warm
            details |= graph
    samples["latency_s"] = [quality.corrected(sample) for sample in taken.samples_s]
    details |= {"warmup_s": [taken.warmup_s], "stable": [taken.stable]}
    details |= watching.report()
    details["clock"] = [_clock_details(quality, taken.samples_s)]
    return samples, details


def compile_seconds(
    call: Callable[[], object], between: Callable[[], object], device: str
) -> float:
    """Seconds of the first call of a compiled module: tracing, compiling and running it once.

    A second call follows, so that whatever is compiled late is compiled before any timing.
    """
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    between()
    call()
    between()
    return seconds


def calibrate(timer: Timer) -> ClockQuality:
    """The quality of the clock behind ``timer``."""
    if isinstance(timer, CudaTimer):
        return calibrate_events(timer.time)
    return calibrate_clock(timer.time)


def gpu_of(device: str) -> Gpu | None:
    """The device as NVML knows it; None for a CPU, or without NVML."""
    if not device.startswith("cuda"):
        return None
    return open_gpu(f"GPU-{torch.cuda.get_device_properties(device).uuid}")


def tolerance_dtype(case: Case) -> torch.dtype:
    """The dtype whose rounding the case's products have.

    TF32 has the significand of float16, and torch's own way on CUDA is TF32 in convolutions.
    """
    if case.compute_dtype == "float32" and case.device.startswith("cuda") and case.tf32 != "off":
        return torch.float16
    dtype: torch.dtype = getattr(torch, case.compute_dtype)
    return dtype


def _checked(prepared: Prepared, call: Callable[[], torch.Tensor]) -> Details:
    """Raise ``WrongResult`` unless the output is right; say how far it was checked."""
    case = prepared.case
    with executing(case):
        out = call()
        check_shape(out, output_shape(case))
        check_finite(out)
        details: Details = {"kernel_path": kernel_path(prepared.eager, prepared.x, case.mode)}
    try:
        # The reference runs in torch's own way: the kernel may not take float64.
        deviation = check_against_float64(prepared.plain, prepared.x, out, tolerance_dtype(case))
    except (RuntimeError, MemoryError) as error:
        # The reference needs twice the memory; the case itself may still fit.
        if not is_out_of_memory(error):
            raise
        return {**details, "checked": "finite (no memory for a float64 reference)"}
    return {**details, "checked": "float64", "deviation": deviation}


def _clock_details(quality: ClockQuality, samples: list[float]) -> Details:
    """What the clock adds to a sample, what was taken off, and whether calls were too short."""
    shortest = min(samples)
    return {
        **asdict(quality),
        "subtracted_s": quality.overhead_s if quality.matters(shortest) else 0.0,
        "too_short": quality.too_short(shortest),
    }
