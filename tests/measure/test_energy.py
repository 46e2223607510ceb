"""Joules from made-up counters: wrap-around, refusal, sampling, and what is absent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from paca_bench.measure.energy import (
    Absent,
    CounterMeter,
    Energy,
    PowerMeter,
    RaplMeter,
    cpu_meter,
    gpu_meter,
    integrate,
    update_interval,
    wrapped_difference,
)
from paca_bench.measure.nvml import GpuReading
from tests.fake_system import FakeGpu, FakeSystem

RANGE_UJ = 262_143_328_850


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    return FakeSystem(tmp_path)


def domain(system: FakeSystem, folder: str, name: str, energy_uj: int = 0) -> Path:
    place = f"sys/class/powercap/{folder}"
    system.write(f"{place}/name", name)
    system.write(f"{place}/energy_uj", energy_uj)
    system.write(f"{place}/max_energy_range_uj", RANGE_UJ)
    return system.root / place


def measured(outcome: Energy | Absent) -> Energy:
    assert isinstance(outcome, Energy), outcome
    return outcome


def absent(outcome: object) -> str:
    assert isinstance(outcome, Absent), outcome
    return outcome.reason


def test_rapl_sums_the_packages_and_nothing_else(system: FakeSystem, time: Time) -> None:
    domain(system, "intel-rapl:0", "package-0", 1_000_000)
    domain(system, "intel-rapl:1", "package-1", RANGE_UJ - 500_000)
    domain(system, "intel-rapl:0:0", "core")
    domain(system, "intel-rapl:2", "psys")
    domain(system, "intel-rapl-mmio:0", "package-0")
    meter = cpu_meter(system.sys)
    assert isinstance(meter, RaplMeter)
    meter = RaplMeter(meter._packages, time.clock)
    meter.start()
    time.sleep(2.0)
    domain(system, "intel-rapl:0", "package-0", 4_000_000)
    domain(system, "intel-rapl:1", "package-1", 1_500_000)
    domain(system, "intel-rapl:0:0", "core", 9_000_000)
    energy = measured(meter.stop())
    assert energy.joules == pytest.approx(3.0 + 2.0), "the second one wrapped around"
    assert (energy.seconds, energy.watts) == (2.0, pytest.approx(2.5))
    assert energy.method == "RAPL of 2 CPU packages, without DRAM"
    assert energy.resolution_j == pytest.approx(2.5e-3), "a millisecond at 2.5 W"


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(10, 30, 20), (30, 10, 80), (7, 7, 0), (99, 0, 1)]
)
def test_a_counter_that_starts_again(start: int, end: int, expected: int) -> None:
    assert wrapped_difference(start, end, 100) == expected


def test_a_span_in_which_rapl_may_go_around_unseen_is_refused(
    system: FakeSystem, time: Time
) -> None:
    meter = RaplMeter([domain(system, "intel-rapl:0", "package-0")], time.clock)
    meter.start()
    time.sleep(263.0)
    assert "go around unseen" in absent(meter.stop())
    meter.start()
    time.sleep(261.0)
    assert measured(meter.stop()).joules == 0.0


def test_no_powercap_is_said(system: FakeSystem) -> None:
    assert "virtual machine" in absent(cpu_meter(system.sys))
    domain(system, "intel-rapl:0:0", "core")
    assert "no RAPL package" in absent(cpu_meter(system.sys))


def test_a_counter_for_root_only_is_said_with_the_command(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain(system, "intel-rapl:0", "package-0")
    read: Callable[..., str] = Path.read_text

    def refuse(path: Path, *args: object, **kwargs: object) -> str:
        # Whoever runs the tests may be root, who is refused nothing.
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refuse)
    reason = absent(cpu_meter(system.sys))
    assert "root only" in reason
    assert "sudo chmod a+r" in reason


def test_a_counter_that_cannot_be_read_is_said(system: FakeSystem, time: Time) -> None:
    package = domain(system, "intel-rapl:0", "package-0")
    meter = RaplMeter([package], time.clock)
    meter.start()
    (package / "energy_uj").unlink()
    time.sleep(1.0)
    assert "could not be read" in absent(meter.stop())
    assert "cannot be read: No such file" in absent(cpu_meter(system.sys))


def test_a_gpu_that_counts_its_energy(time: Time) -> None:
    """The counter moves every 20 ms, by 2 J: 100 W."""
    gpu = FakeGpu()
    gpu.energy_j = lambda: 2.0 * int(time.now / 0.02 + 1e-6)
    meter = gpu_meter(gpu, time.clock, time.sleep)
    assert isinstance(meter, CounterMeter)
    meter.start()
    time.sleep(2.0)
    energy = measured(meter.stop())
    assert energy.joules == pytest.approx(200.0, abs=4.0)
    assert energy.interval_s == pytest.approx(0.02, abs=0.0021)
    assert energy.resolution_j == pytest.approx(2.0, rel=0.15)
    assert energy.method == "NVML energy counter of GPU 0 (Made-up)"


def test_a_counter_that_stands_still_is_no_meter(time: Time) -> None:
    gpu = FakeGpu(energies=[5.0])
    assert "did not move" in absent(gpu_meter(gpu, time.clock, time.sleep))
    assert update_interval(iter([1.0] * 9 + [2.0] * 999).__next__, time.clock, time.sleep) is None


def test_the_interval_is_the_longest_between_moves(time: Time) -> None:
    """It moves at 1, 3, 7 and 8 looks of 2 ms each."""
    values = [0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 4.0, *[4.0] * 999]
    interval_s = update_interval(iter(values).__next__, time.clock, time.sleep)
    assert interval_s == pytest.approx(4 * 0.002)


def test_a_counter_that_fails_is_absent(time: Time) -> None:
    readings = iter([1.0, None])
    meter = CounterMeter(lambda: next(readings), 0.1, "counter", time.clock)
    meter.start()
    time.sleep(1.0)
    assert absent(meter.stop()) == "counter: the counter could not be read"


def test_an_empty_span_has_no_energy(time: Time) -> None:
    meter = CounterMeter(lambda: 1.0, 0.1, "counter", time.clock)
    meter.start()
    assert "no duration" in absent(meter.stop())


def test_power_is_sampled_and_integrated(time: Time) -> None:
    """A ramp from 100 W, 10 W a second: 100 t + 5 t^2 joules, exact by trapezes."""
    before = threading.active_count()
    sampled = threading.Event()
    waits = 0

    def wait(ended: threading.Event, seconds: float) -> bool:
        nonlocal waits
        waits += 1
        if waits > 8:
            sampled.set()
            return ended.wait()
        time.sleep(seconds)
        return False

    meter = PowerMeter(lambda: 100.0 + 10.0 * (time.now - 100.0), "power", 0.5, time.clock, wait)
    meter.start()
    assert sampled.wait(timeout=30)
    energy = measured(meter.stop())
    assert energy.seconds == pytest.approx(4.0)
    assert energy.joules == pytest.approx(100 * 4.0 + 5 * 16.0)
    assert energy.interval_s == pytest.approx(4.0 / 9)
    assert threading.active_count() == before, "the thread has ended"


def test_a_gpu_without_a_counter_is_sampled_and_without_power_is_absent(time: Time) -> None:
    gpu = FakeGpu([GpuReading(power_w=50.0)])
    meter = gpu_meter(gpu, time.clock, time.sleep)
    assert isinstance(meter, PowerMeter)
    meter.start()
    time.sleep(3.0)
    energy = measured(meter.stop())
    assert energy.joules == pytest.approx(150.0)
    assert energy.method == "NVML power of GPU 0 (Made-up), integrated"
    assert "neither" in absent(gpu_meter(FakeGpu(), time.clock, time.sleep))


def test_power_that_cannot_be_read_is_absent(time: Time) -> None:
    meter = PowerMeter(lambda: None, "power", clock=time.clock)
    meter.start()
    assert absent(meter.stop()) == "power: the power could not be read"


def test_the_trapezoidal_rule() -> None:
    assert integrate([(0.0, 10.0), (1.0, 20.0), (3.0, 20.0)]) == pytest.approx(55.0)
    assert integrate([(0.0, 10.0)]) == 0
