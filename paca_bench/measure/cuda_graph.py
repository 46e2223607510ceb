"""Warm latency on CUDA, eager and as a CUDA graph: how much of it is launching kernels?

A graph is launched as one, so what eager takes longer is the CPU's time, in which the GPU
waits: the call is launch-bound (NVIDIA, "CUDA C++ Programming Guide", section "CUDA Graphs").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from paca_bench.measure.latency import Timer, sample_latency

# Calls on a side stream before a capture, as torch's documentation of CUDA graphs has it.
CALLS_BEFORE_CAPTURE = 3

Call = Callable[[], object]


def capture_graph(call: Call, between: Call) -> Call:
    """What replays ``call`` as one CUDA graph.

    Raises:
        RuntimeError: the call does what cannot be captured, such as waiting for the device.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(CALLS_BEFORE_CAPTURE):
            between()
            call()
    torch.cuda.current_stream().wait_stream(stream)
    between()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def warm_latencies(
    timer: Timer,
    call: Call,
    between: Call,
    *,
    slice_s: float,
    precision: float,
    capture: Callable[[Call, Call], Call] | None = capture_graph,
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Samples of ``call`` with a warm cache: ``latency_warm_s``, and ``latency_graph_s``.

    Args:
        timer: one that does not flush the cache.
        call: what is timed.
        between: runs untimed before each call.
        slice_s: seconds for both together.
        precision: at which sampling stops.
        capture: makes the graph; None where the call launches graphs of its own.

    Returns:
        The samples, and details: why there is no graph, where there is none.
    """
    half_s = slice_s / 2
    warm = sample_latency(timer, call, between, slice_s=half_s, precision=precision)
    samples = {"latency_warm_s": warm.samples_s}
    if capture is None:
        return samples, {"no_graph": "the compiled call launches CUDA graphs of its own"}
    try:
        replay = capture(call, between)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        return samples, {"no_graph": f"the call cannot be captured: {reason}"}
    # A replay overwrites the same gradients, so nothing is to be freed between two.
    taken = sample_latency(timer, replay, lambda: None, slice_s=half_s, precision=precision)
    return {**samples, "latency_graph_s": taken.samples_s}, {}
