"""Energy of calls, with a meter and a clock of cardboard."""

from __future__ import annotations

import pytest

from paca_bench.errors import UnsupportedError
from paca_bench.measure.energy import Absent, Energy
from paca_bench.measure.joules import LEAST_INTERVALS, SPAN_S, energy_of_calls


class Device:
    """Draws 100 W; a call takes ``call_s``, and work is done only when it is waited for."""

    def __init__(self, call_s: float, interval_s: float = 0.001) -> None:
        self.now = 0.0
        self.call_s = call_s
        self.interval_s = interval_s
        self.queued = 0
        self.calls = 0
        self.begun = 0.0
        self.spans = 0

    def call(self) -> None:
        self.queued += 1
        self.calls += 1

    def synchronize(self) -> None:
        self.now += self.queued * self.call_s
        self.queued = 0

    def start(self) -> None:
        assert not self.queued, "work from before would be counted"
        self.begun = self.now
        self.calls = 0
        self.spans += 1

    def stop(self) -> Energy | Absent:
        assert not self.queued, "work is still going on"
        seconds = self.now - self.begun
        return Energy(
            joules=100 * seconds,
            seconds=seconds,
            method="made up",
            interval_s=self.interval_s,
            resolution_j=100 * self.interval_s,
        )


def measure(device: Device) -> tuple[int, Energy]:
    return energy_of_calls(
        device, device.call, lambda: None, device.synchronize, lambda: device.now
    )


@pytest.mark.parametrize("call_s", [1e-4, 0.01, 0.3, 7.0])
def test_a_calls_joules_are_its_time_at_the_devices_power(call_s: float) -> None:
    device = Device(call_s)
    calls, energy = measure(device)
    assert calls == device.calls
    assert energy.joules / calls == pytest.approx(100 * call_s)
    assert energy.seconds >= SPAN_S


def test_a_counter_that_moves_seldom_is_given_a_longer_span() -> None:
    device = Device(0.01, interval_s=0.1)
    _, energy = measure(device)
    assert energy.seconds >= LEAST_INTERVALS * 0.1
    assert device.spans == 2


def test_a_counter_that_fails_is_not_zero_joules() -> None:
    device = Device(0.01)
    device.stop = lambda: Absent("the counter could not be read")
    with pytest.raises(UnsupportedError, match="could not be read"):
        measure(device)
