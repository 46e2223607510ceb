"""Counters from made-up files; one test reads this machine's own."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from paca_bench.measure.conditions import Snapshot, difference
from paca_bench.measure.nvml import GpuReading
from paca_bench.measure.watch import Watch
from tests.fake_system import FakeGpu, FakeSystem

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Machine(FakeSystem):
    """A system with a clock and usage of its own."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.now = 10.0
        self.usage = SimpleNamespace(
            ru_utime=1.0, ru_stime=0.5, ru_minflt=100, ru_majflt=1, ru_nvcsw=7, ru_nivcsw=3
        )

    def watch(self, gpu: FakeGpu | None = None) -> Watch:
        return Watch(
            proc=self.proc,
            sys=self.sys,
            gpu=gpu,
            usage=lambda: SimpleNamespace(**vars(self.usage)),
            clock=lambda: self.now,
        )

    def furnish(self) -> None:
        self.stat(stolen=50)
        self.write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000")
        self.write("proc/loadavg", "0.75 0.50 0.25 1/90 1234")
        self.write("proc/self/status", "Name:\tpython\nCpus_allowed_list:\t0-1")
        self.limited_group(throttled=4, seconds=0.25, cpu_max="100000")
        self.thread(100, waited_s=1.0)
        self.thread(101, waited_s=2.0)
        self.frequency(0, 3.0e9)
        self.frequency(1, 1.0e9)
        self.frequency(2, 5.0e9)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_snapshot_has_every_counter(machine: Machine) -> None:
    machine.furnish()
    with machine.watch() as watch:
        assert watch.missing.keys() == {"gpu"}
        assert watch.snapshot() == Snapshot(
            at_s=10.0,
            user_s=1.0,
            system_s=0.5,
            minor_faults=100,
            major_faults=1,
            voluntary_switches=7,
            involuntary_switches=3,
            waiting_s={100: 1.0, 101: 2.0},
            stolen_s=50 / TICKS_PER_S,
            throttles=4,
            throttled_s=0.25,
            pressure_s=2.0,
            frequency_hz=3.0e9,  # CPU 2 may not be used
            load=0.75,
        )


def test_what_changed_between_two_snapshots(machine: Machine) -> None:
    machine.furnish()
    with machine.watch() as watch:
        before = watch.snapshot()
        machine.now = 12.0
        machine.usage.ru_minflt, machine.usage.ru_nivcsw = 150, 5
        machine.stat(stolen=50 + TICKS_PER_S)
        machine.thread(100, waited_s=1.25)
        machine.thread(101, waited_s=2.125)
        machine.limited_group(throttled=6, seconds=0.75)
        machine.frequency(0, 2.0e9)
        machine.write("proc/pressure/cpu", "some avg10=0.0 avg60=0.0 avg300=0.0 total=2500000")
        machine.write("proc/loadavg", "1.50 0.50 0.25 1/90 1234")
        happened = difference(before, watch.snapshot())
    assert happened.wall_s == 2.0
    assert (happened.minor_faults, happened.involuntary_switches) == (50, 2)
    assert happened.waited_s == pytest.approx(0.25), "the thread that was held up longest"
    assert happened.stolen_s == pytest.approx(1.0)
    assert (happened.throttles, happened.throttled_s) == (2, 0.5)
    assert happened.pressure_s == pytest.approx(0.5)
    assert happened.frequency_hz == 2.0e9, "the slower of both moments"
    assert happened.load == 1.5


def test_a_bare_machine_gives_none_and_says_why(machine: Machine) -> None:
    with machine.watch() as watch:
        happened = difference(watch.snapshot(), watch.snapshot())
        missing = dict(watch.missing)
    absent = {"waited_s", "stolen_s", "throttles", "pressure_s", "frequency_hz", "load", "gpu"}
    assert missing.keys() == absent
    assert all(missing.values())
    values = happened.to_json()
    assert {name for name, value in values.items() if value is None} == absent | {"throttled_s"}
    assert str(machine.proc / "stat") in missing["stolen_s"]


def test_a_group_without_a_limit_is_said(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/")
    machine.write("sys/fs/cgroup/cgroup.controllers", "cpu")
    machine.write("sys/fs/cgroup/cpu.stat", "usage_usec 5")
    with machine.watch() as watch:
        assert watch.snapshot().throttles is None
        assert "limit" in watch.missing["throttles"]


def test_a_thread_that_ended_is_left_out(machine: Machine) -> None:
    machine.furnish()
    with machine.watch() as watch:
        before = watch.snapshot()
        machine.thread(100, waited_s=1.5)
        machine.write("proc/self/task/101/schedstat", "")
        assert difference(before, watch.snapshot()).waited_s == pytest.approx(0.5)


def test_the_gpu_is_read_where_one_is_watched(machine: Machine) -> None:
    cool = GpuReading(sm_clock_hz=1.9e9, temperature_c=50, power_w=300, reasons=("idle",))
    hot = GpuReading(sm_clock_hz=1.2e9, temperature_c=85, power_w=200, reasons=("power cap",))
    gpu = FakeGpu([hot])
    with machine.watch(gpu) as watch:
        assert "gpu" not in watch.missing
        gpu.readings = [cool, hot]
        happened = difference(watch.snapshot(), watch.snapshot())
    assert happened.gpu == GpuReading(
        sm_clock_hz=1.2e9, temperature_c=85, power_w=300, reasons=("idle", "power cap")
    )


def test_closing_gives_the_files_back(machine: Machine) -> None:
    machine.furnish()
    folder = Path("/proc/self/fd")
    before = len(list(folder.iterdir()))
    with machine.watch():
        assert len(list(folder.iterdir())) > before
    assert len(list(folder.iterdir())) == before


def test_page_faults_of_this_process_are_seen() -> None:
    with Watch() as watch:
        before = watch.snapshot()
        block = bytearray(64 * 2**20)
        happened = difference(before, watch.snapshot())
        assert watch.cost_s > 0
    assert len(block)
    assert happened.minor_faults + happened.major_faults > 10
    assert happened.wall_s > 0
