"""Warm and graph latencies without a GPU: the timer and the capture are made up."""

from __future__ import annotations

from collections.abc import Callable

from paca_bench.measure.cuda_graph import warm_latencies

Call = Callable[[], object]


class Device:
    """An eager call takes 3 units of time, a replay 1."""

    def __init__(self) -> None:
        self.now = 0.0
        self.between = 0
        self.freed_at_replay: list[int] = []

    def time(self, call: Call) -> float:
        before = self.now
        call()
        return self.now - before

    def eager(self) -> None:
        self.now += 3.0

    def free(self) -> None:
        self.between += 1

    def capture(self, call: Call, between: Call) -> Call:
        between()

        def replay() -> None:
            self.now += 1.0
            self.freed_at_replay.append(self.between)

        return replay


def measure(device: Device, capture: Callable[[Call, Call], Call] | None) -> object:
    return warm_latencies(
        device, device.eager, device.free, slice_s=60.0, precision=0.5, capture=capture
    )


def test_eager_and_graph_are_timed_alike() -> None:
    device = Device()
    samples, details = measure(device, device.capture)
    assert set(samples["latency_warm_s"]) == {3.0}
    assert set(samples["latency_graph_s"]) == {1.0}
    assert details == {}
    assert len(set(device.freed_at_replay)) == 1, "a replay overwrites the gradients it captured"


def test_what_cannot_be_captured_is_timed_without_a_graph_and_says_why() -> None:
    def refuse(call: Call, between: Call) -> Call:
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    samples, details = measure(Device(), refuse)
    assert samples.keys() == {"latency_warm_s"}
    assert details["no_graph"].endswith("operation not permitted when stream is capturing")


def test_a_call_that_is_graphs_already_is_not_captured() -> None:
    samples, details = measure(Device(), None)
    assert samples.keys() == {"latency_warm_s"}
    assert "CUDA graphs of its own" in details["no_graph"]
