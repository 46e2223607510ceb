"""Sampling against a made-up clock: no test here waits for time to pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from paca_bench.measure.latency import (
    MAX_SAMPLES,
    MIN_SAMPLES,
    CpuTimer,
    CudaTimer,
    LatencySamples,
    make_call,
    make_timer,
    sample_latency,
)


class Bench:
    """A timer and a clock that only calls advance: each takes the next of ``durations``."""

    def __init__(self, durations: Iterator[float]) -> None:
        self.durations = durations
        self.now = 0.0
        self.between = 0

    def time(self, call: Callable[[], object]) -> float:
        call()
        taken = next(self.durations)
        self.now += taken
        return taken

    def sample(self, slice_s: float, precision: float = 0.02) -> LatencySamples:
        def between() -> None:
            self.between += 1

        return sample_latency(
            self,
            lambda: None,
            between,
            slice_s=slice_s,
            precision=precision,
            clock=lambda: self.now,
        )


def steady(first: list[float], then: float) -> Iterator[float]:
    yield from first
    while True:
        yield then


def test_warm_up_ends_when_two_calls_agree_and_is_no_sample() -> None:
    bench = Bench(steady([8.0, 4.0, 2.0], then=1.0))
    taken = bench.sample(slice_s=100.0)
    assert taken.warmup_s == [8.0, 4.0, 2.0, 1.0, 1.0]
    assert taken.stable
    assert set(taken.samples_s) == {1.0}


def test_a_warm_up_that_never_settles_is_cut_off_and_said() -> None:
    taken = Bench(iter([10.0, 9.0, 8.0, 7.0])).sample(slice_s=40.0)
    assert not taken.stable
    assert taken.warmup_s == [10.0], "a second call would have overrun the share"
    assert taken.samples_s == [9.0, 8.0, 7.0], "there are samples all the same"


def test_identical_samples_are_precise_at_the_minimum() -> None:
    assert len(Bench(steady([], then=1.0)).sample(slice_s=10.0).samples_s) == MIN_SAMPLES


def test_short_calls_are_sampled_for_a_quarter_of_the_slice_and_warmed_up_for_a_twentieth() -> None:
    taken = Bench(steady([], then=1.0)).sample(slice_s=100.0)
    assert len(taken.warmup_s) == 5
    assert len(taken.samples_s) == 25


def test_noisy_samples_fill_the_slice_and_not_more() -> None:
    noise = iter([1.0, 2.0] * 1000)
    taken = Bench(noise).sample(slice_s=60.0, precision=1e-6)
    spent = sum(taken.samples_s) + sum(taken.warmup_s)
    assert 50.0 < spent <= 60.0 + 2.0


def test_there_is_an_end_to_sampling() -> None:
    taken = Bench(iter([1.0, 2.0] * 1000)).sample(slice_s=2e3, precision=1e-9)
    assert len(taken.samples_s) == MAX_SAMPLES


def test_a_call_longer_than_the_slice_is_sampled_once() -> None:
    taken = Bench(steady([], then=30.0)).sample(slice_s=1.0)
    assert taken.samples_s == [30.0]
    assert len(taken.warmup_s) == 1


def test_what_happens_between_calls_is_done_before_each() -> None:
    bench = Bench(steady([], then=1.0))
    taken = bench.sample(slice_s=1e6)
    assert bench.between == len(taken.samples_s) + len(taken.warmup_s)


def test_a_cuda_call_lies_between_its_events_and_the_flush_before_them() -> None:
    log: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.name = f"event {sum(entry.startswith('make') for entry in log)}"
            log.append(f"make {self.name}")

        def record(self) -> None:
            log.append(f"record {self.name}")

        def synchronize(self) -> None:
            log.append(f"wait {self.name}")

        def elapsed_time(self, end: Event) -> float:
            assert (self.name, end.name) == ("event 0", "event 1")
            return 12.5

    timer = CudaTimer(lambda: log.append("flush"), Event)
    assert timer.time(lambda: log.append("call")) == pytest.approx(0.0125)
    assert log[2:] == ["flush", "record event 0", "call", "record event 1", "wait event 1"]


def test_a_cpu_is_timed_by_the_wall_clock() -> None:
    timer = make_timer("cpu")
    assert isinstance(timer, CpuTimer)
    assert timer.time(lambda: None) > 0


def test_forward_keeps_no_graph_and_train_makes_gradients_anew() -> None:
    module, x = torch.nn.Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    forward, _ = make_call(module, x, "forward")
    assert not forward().requires_grad
    assert module.weight.grad is None
    train, between = make_call(module, x, "train")
    train()
    once = module.weight.grad.clone()
    between()
    assert module.weight.grad is None
    assert x.grad is None
    train()
    assert torch.equal(module.weight.grad, once), "not the sum of two"
