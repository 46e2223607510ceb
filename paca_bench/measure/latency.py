"""Timing one call in this process: warm up until stable, then sample until tight enough.

The samples of one process are one unit; an interval comes from several processes.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch

MIN_SAMPLES = 3
MAX_SAMPLES = 200
STABLE_WITHIN = 0.05
WARMUP_SHARE = 0.4
# Cores that just woke take some milliseconds to their full clock, and a neighbour comes and goes
# in some tens: samples of a shorter time would show one state of the machine only.
LEAST_WARMUP_SHARE = 0.05
LEAST_SAMPLED_SHARE = 0.25
# Written before each timed call, so that it starts with a cold cache, as the first layer of
# a network finds its input; more than any present L2.
L2_FLUSH_BYTES = 256 * 2**20


class Timer(Protocol):
    """Runs a call and gives its duration in seconds."""

    def time(self, call: Callable[[], object]) -> float:
        """Seconds of one call, until its work is done on the device."""
        ...


class Around(Protocol):
    """Is told of each sample, before and after it."""

    def before(self) -> None:
        """A sample is about to be taken."""

    def after(self) -> None:
        """A sample was taken."""


class CpuTimer:
    """Wall clock around a call that has finished when it returns."""

    def time(self, call: Callable[[], object]) -> float:
        """See ``Timer``."""
        start = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - start) * 1e-9


class CudaTimer:
    """CUDA events around a call; ``flush`` comes before it, and is not timed.

    Args:
        flush: overwrites the L2 cache, so that the call finds it cold; does nothing where
            it is to find it warm.
        event: makes an event with timing; ``torch.cuda.Event``, unless in a test.
    """

    def __init__(
        self, flush: Callable[[], object], event: Callable[..., Any] = torch.cuda.Event
    ) -> None:
        self._flush = flush
        self._event = event

    def time(self, call: Callable[[], object]) -> float:
        """See ``Timer``."""
        start, end = (self._event(enable_timing=True) for _ in range(2))
        self._flush()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3


def make_timer(device: str) -> Timer:
    """The clock that fits ``device``."""
    if not device.startswith("cuda"):
        return CpuTimer()
    cache = torch.empty(L2_FLUSH_BYTES, dtype=torch.int8, device=device)
    return CudaTimer(cache.zero_)


@dataclass(frozen=True, slots=True)
class LatencySamples:
    """One process's samples.

    Attributes:
        samples_s: durations in seconds, in the order taken.
        warmup_s: durations before them, which are not samples.
        stable: False if the warm-up's time ran out before two calls in a row agreed.
    """

    samples_s: list[float]
    warmup_s: list[float]
    stable: bool


def sample_latency(
    timer: Timer,
    call: Callable[[], object],
    between: Callable[[], object],
    *,
    slice_s: float,
    precision: float,
    around: AbstractContextManager[Around] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> LatencySamples:
    """Time ``call`` for about ``slice_s`` seconds, at least once warm and once sampled.

    Sampling stops early, after a quarter of ``slice_s``, once the median's standard error within
    this process is below ``precision``. ``between`` runs untimed before each call (it frees
    gradients). ``around`` is entered after the warm-up, when all threads exist, and told of each
    sample.
    """
    start = clock()
    least, most = start + LEAST_WARMUP_SHARE * slice_s, start + WARMUP_SHARE * slice_s
    warmup, stable = _warm_up(timer, call, between, least, most, clock)
    samples: list[float] = []
    early = clock() + LEAST_SAMPLED_SHARE * slice_s
    with around or nullcontext() as told:
        while not samples or (
            clock() + samples[-1] < start + slice_s and len(samples) < MAX_SAMPLES
        ):
            between()
            if told is not None:
                told.before()
            samples.append(timer.time(call))
            if told is not None:
                told.after()
            enough = len(samples) >= MIN_SAMPLES and clock() >= early
            if enough and _relative_error(samples) < precision:
                break
    return LatencySamples(samples, warmup, stable)


def _warm_up(
    timer: Timer,
    call: Callable[[], object],
    between: Callable[[], object],
    least: float,
    most: float,
    clock: Callable[[], float],
) -> tuple[list[float], bool]:
    """Call up to ``least`` and until a call is not faster than the one before by more than 5%."""
    durations: list[float] = []
    while True:
        between()
        durations.append(timer.time(call))
        settled = len(durations) > 1 and durations[-1] > (1 - STABLE_WITHIN) * durations[-2]
        if settled and clock() >= least:
            return durations, True
        if clock() + durations[-1] > most:
            return durations, False


def _relative_error(samples: list[float]) -> float:
    """Standard error of the median over the median, from the interquartile range.

    For a normal law the median's standard error is 1.2533 sigma / sqrt(n) and the
    interquartile range 1.349 sigma; the range is robust against a few disturbed samples.
    """
    low, middle, high = statistics.quantiles(samples, n=4)
    return 1.2533 * (high - low) / 1.349 / math.sqrt(len(samples)) / middle


def make_call(
    module: torch.nn.Module, x: torch.Tensor, mode: str
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What is timed, and what happens untimed between two timings.

    ``forward`` runs under ``inference_mode``; any other mode is a forward and a backward pass
    of the sum of the output, gradients of the input included where it carries them.
    """
    if mode == "forward":

        def forward() -> torch.Tensor:
            with torch.inference_mode():
                return module(x)  # type: ignore[no-any-return]

        return forward, lambda: None

    def train() -> torch.Tensor:
        out: torch.Tensor = module(x)
        out.float().sum().backward()
        return out.detach()

    def free_gradients() -> None:
        module.zero_grad(set_to_none=True)
        x.grad = None

    return train, free_gradients
