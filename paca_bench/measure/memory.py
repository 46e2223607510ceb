"""Peak memory of one call: bytes of live tensors over those of weights, buffers and input.

On CPU the sum runs over the allocator's own events, as torch's profiler records them: one
signed number of bytes for each allocation and each release. The process's resident set would
also hold what the allocator keeps and the libraries' private scratch, and is not used. On
CUDA the caching allocator keeps the peak itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from paca_bench.errors import UnsupportedError
from paca_bench.measure.latency import make_call
from paca_bench.models.checkpointing import checkpointed


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Memory of one call.

    Attributes:
        peak_bytes: most bytes of live tensors at once, over the base.
        base_bytes: weights, buffers and input.
        reserved_bytes: the most that the caching allocator held, base included; None on CPU.
        method: how it was measured.
    """

    peak_bytes: int
    base_bytes: int
    reserved_bytes: int | None
    method: str


class CudaCounters(Protocol):
    """The part of ``torch.cuda`` that measures memory."""

    def synchronize(self) -> None:
        """Wait for the device."""

    def empty_cache(self) -> None:
        """Give back what the caching allocator holds unused."""

    def reset_peak_memory_stats(self) -> None:
        """Start the peaks anew, from what is held now."""

    def memory_allocated(self) -> int:
        """Bytes of live tensors."""

    def max_memory_allocated(self) -> int:
        """Peak bytes of live tensors."""

    def max_memory_reserved(self) -> int:
        """Peak bytes held by the caching allocator."""


def measure_peak_memory(
    module: nn.Module,
    x: Tensor,
    mode: str,
    *,
    checkpointing: bool = False,
    cuda: CudaCounters = torch.cuda,
) -> PeakMemory:
    """Peak memory of one call of ``module(x)``, after a first call that is not measured.

    Args:
        module: on the device to measure.
        x: its input, on the same device.
        mode: ``forward`` (inference) or ``train`` (forward and backward; gradients of the
            weights count as over the base).
        checkpointing: in ``train``, the blocks keep their inputs alone and run again in the
            backward pass; see ``models.checkpointing``.
        cuda: what measures on CUDA.

    Raises:
        UnsupportedError: the profiler of this build of torch reports no allocations, or the
            module has no known blocks to checkpoint.
    """
    with checkpointed(module, checkpointing):
        return _measure(module, x, mode, cuda)


def _measure(module: nn.Module, x: Tensor, mode: str, cuda: CudaCounters) -> PeakMemory:
    call, between = make_call(module, x, mode)
    call()
    between()
    tensors = [*module.parameters(), *module.buffers(), x]
    base_bytes = sum(t.numel() * t.element_size() for t in tensors)
    try:
        if x.device.type == "cuda":
            with torch.cuda.device(x.device):
                peak, reserved = cuda_peak(call, cuda)
            return PeakMemory(peak, base_bytes, reserved, "CUDA caching allocator")
        return PeakMemory(cpu_peak(call), base_bytes, None, "CPU allocator events")
    finally:
        between()


def cpu_peak(call: Callable[[], Any]) -> int:
    """Most bytes that ``call`` holds at once on the CPU, over what was held before.

    Memory that was held before and is released in the call is not seen, and so not taken off.

    Raises:
        UnsupportedError: the profiler of this build of torch reports no allocations.
    """
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
        result = call()
    del result
    events = [e for e in _raw_events(profiler) if e.name() == "[memory]"]
    if not events:
        raise UnsupportedError(
            "torch's profiler reports no allocation of this call; peak memory on the CPU needs a "
            "build of torch with Kineto"
        )
    # Events come thread by thread; only in order of time is their running sum what is held.
    events.sort(key=lambda event: event.start_ns())
    held = itertools.accumulate(int(event.nbytes()) for event in events)
    return max(0, *held)


def cuda_peak(call: Callable[[], Any], cuda: CudaCounters) -> tuple[int, int]:
    """(peak bytes of live tensors over the base, peak reserved bytes) of ``call``."""
    cuda.synchronize()
    # What earlier calls left in the cache is not this call's to reserve.
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    base = cuda.memory_allocated()
    result = call()
    cuda.synchronize()
    del result
    return cuda.max_memory_allocated() - base, cuda.max_memory_reserved()


def _raw_events(profiler: profile) -> list[Any]:
    results = profiler.profiler.kineto_results if profiler.profiler else None
    return list(results.events()) if results else []
