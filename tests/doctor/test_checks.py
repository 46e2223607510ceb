"""Every check on machines of cardboard: what is fine, what is not, what is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paca_bench.doctor import cpu, load
from paca_bench.doctor.finding import Finding, Severity
from paca_bench.doctor.gpu import check_gpu
from paca_bench.doctor.scene import Meanwhile, Scene
from paca_bench.measure.clock import ClockQuality
from paca_bench.measure.conditions import Conditions
from paca_bench.measure.nvml import GpuReading, GpuSettings
from tests.doctor.fakes import NEIGHBOUR, SERVER, Patient
from tests.fake_system import FakeGpu

Check = Callable[[Scene], Iterator[Finding]]
CPU = "sys/devices/system/cpu"
QUICK = ClockQuality(resolution_s=5e-8, overhead_s=1e-7)


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


def scene(
    patient: Patient,
    threads: int = 2,
    cpus: int = 4,
    clock: ClockQuality = QUICK,
    others_cores: float | None = 0.0,
    top: tuple[tuple[float, str], ...] = (),
    swapped_pages: int | None = 0,
    thermal_throttles: int | None = None,
    gpus: dict[str, list[GpuReading]] | None = None,
    **conditions: Any,
) -> Scene:
    quiet: dict[str, Any] = {
        "wall_s": 10.0,
        "user_s": 0.0,
        "system_s": 0.0,
        "minor_faults": 0,
        "major_faults": 0,
        "voluntary_switches": 0,
        "involuntary_switches": 0,
    }
    return Scene(
        sources=patient.sources(),
        threads=threads,
        cpus=range(cpus),
        clock=clock,
        meanwhile=Meanwhile(
            conditions=Conditions(**{**quiet, **conditions}),
            others_cores=others_cores,
            top=top,
            swapped_pages=swapped_pages,
            thermal_throttles=thermal_throttles,
            gpus=gpus or {},
        ),
    )


def one(check: Check, where: Scene) -> Finding:
    (finding,) = check(where)
    return finding


@pytest.mark.parametrize("check", [*cpu.CHECKS, *load.CHECKS], ids=lambda check: check.__name__)
def test_nothing_known_is_no_trouble(patient: Patient, check: Check) -> None:
    bare = scene(patient, others_cores=None, swapped_pages=None)
    for finding in check(bare):
        assert finding.severity in (Severity.OK, Severity.UNKNOWN)
        assert finding.found


def test_clock_sources(patient: Patient) -> None:
    place = "sys/devices/system/clocksource/clocksource0"
    patient.write(f"{place}/available_clocksource", "tsc hpet acpi_pm")
    for name in ("tsc", "kvm-clock", "arch_sys_counter"):
        patient.write(f"{place}/current_clocksource", name)
        assert one(cpu.clock_source, scene(patient)).severity is Severity.OK
    patient.write(f"{place}/current_clocksource", "hpet")
    finding = one(cpu.clock_source, scene(patient))
    assert finding.severity is Severity.WARNING
    assert finding.fix.startswith("echo tsc | sudo tee ")
    patient.write(f"{place}/available_clocksource", "hpet acpi_pm")
    assert "tsc=reliable" in one(cpu.clock_source, scene(patient)).fix


def test_a_slow_timer(patient: Patient) -> None:
    assert one(cpu.timer, scene(patient)).severity is Severity.OK
    slow = ClockQuality(resolution_s=1e-7, overhead_s=3e-6)
    assert one(cpu.timer, scene(patient, clock=slow)).severity is Severity.WARNING


def test_governors_of_the_usable_cpus(patient: Patient) -> None:
    for number in range(5):
        patient.write(f"{CPU}/cpu{number}/cpufreq/scaling_governor", "performance")
    assert one(cpu.governor, scene(patient)).severity is Severity.OK
    patient.write(f"{CPU}/cpu4/cpufreq/scaling_governor", "powersave")
    assert one(cpu.governor, scene(patient)).severity is Severity.OK, "CPU 4 may not be used"
    patient.write(f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave")
    finding = one(cpu.governor, scene(patient))
    assert finding.severity is Severity.WARNING
    assert finding.found == "performance on 3 CPUs, powersave on 1 CPUs"


@pytest.mark.parametrize(
    ("path", "value", "severity", "fix"),
    [
        ("intel_pstate/no_turbo", 0, Severity.NOTE, "echo 1 |"),
        ("intel_pstate/no_turbo", 1, Severity.OK, ""),
        ("cpufreq/boost", 1, Severity.NOTE, "echo 0 |"),
        ("cpufreq/boost", 0, Severity.OK, ""),
    ],
)
def test_boost_by_intel_and_by_all_others(
    patient: Patient, path: str, value: int, severity: Severity, fix: str
) -> None:
    patient.write(f"{CPU}/{path}", value)
    finding = one(cpu.boost, scene(patient))
    assert finding.severity is severity
    assert finding.fix.startswith(fix)


def test_smt_matters_where_threads_share_cores(patient: Patient) -> None:
    patient.write(f"{CPU}/smt/active", 1)
    for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        patient.write(f"{CPU}/cpu{number}/topology/thread_siblings_list", siblings)
    assert one(cpu.smt, scene(patient, threads=2)).severity is Severity.NOTE
    crowded = one(cpu.smt, scene(patient, threads=4))
    assert crowded.severity is Severity.WARNING
    assert crowded.fix.startswith("--threads 2,")
    patient.write(f"{CPU}/smt/active", 0)
    assert one(cpu.smt, scene(patient, threads=4)).severity is Severity.OK


def test_a_quota_below_the_threads(patient: Patient) -> None:
    patient.limited_group(cpu_max="150000")
    finding = one(cpu.cpu_quota, scene(patient, threads=2))
    assert finding.severity is Severity.PROBLEM
    assert finding.found == "1.50 cores for 2 threads"
    assert finding.fix.startswith("--threads 1,")
    assert one(cpu.cpu_quota, scene(patient, threads=1)).severity is Severity.OK


def test_throttling_is_a_finding_of_its_own(patient: Patient) -> None:
    patient.limited_group(cpu_max="400000")
    findings = list(cpu.cpu_quota(scene(patient, throttles=3, throttled_s=0.12)))
    assert [finding.name for finding in findings] == ["CPU quota", "throttling"]
    assert findings[1].severity is Severity.PROBLEM
    assert findings[1].found == "3 times during the experiment, for 120 ms"


@pytest.mark.parametrize(
    ("threads", "cpus", "severity"),
    [
        (5, 4, Severity.PROBLEM),
        (4, 4, Severity.NOTE),
        (3, 4, Severity.OK),
        (1, 1, Severity.OK),
    ],
)
def test_threads_against_cpus(
    patient: Patient, threads: int, cpus: int, severity: Severity
) -> None:
    assert one(cpu.threads, scene(patient, threads=threads, cpus=cpus)).severity is severity


def test_swap(patient: Patient) -> None:
    patient.write("proc/meminfo", "MemTotal: 100 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB")
    assert one(cpu.swap, scene(patient)).found == "none"
    patient.write("proc/meminfo", "SwapTotal: 2048 kB\nSwapFree: 2048 kB")
    assert one(cpu.swap, scene(patient)).found == "empty"
    patient.write("proc/meminfo", "SwapTotal: 2048 kB\nSwapFree: 1024 kB")
    finding = one(cpu.swap, scene(patient))
    assert finding.severity is Severity.NOTE
    assert finding.found.startswith("1.00 MiB used")
    assert one(cpu.swap, scene(patient, swapped_pages=7)).severity is Severity.PROBLEM


def test_huge_pages(patient: Patient) -> None:
    path = "sys/kernel/mm/transparent_hugepage/enabled"
    patient.write(path, "always [madvise] never")
    assert one(cpu.huge_pages, scene(patient)).found == "madvise"
    patient.write(path, "[always] madvise never")
    assert one(cpu.huge_pages, scene(patient)).severity is Severity.NOTE


@pytest.mark.parametrize(
    ("flags", "stolen_s", "severity"),
    [
        ("fpu hypervisor sse", 0.0, Severity.NOTE),
        ("fpu hypervisor sse", None, Severity.NOTE),
        ("fpu hypervisor sse", 0.3, Severity.WARNING),  # of 4 CPUs for 10 s
        ("fpu hypervisor sse", 3.0, Severity.PROBLEM),
        ("fpu sse", 0.0, Severity.OK),
    ],
)
def test_virtual_machines_and_steal(
    patient: Patient, flags: str, stolen_s: float | None, severity: Severity
) -> None:
    patient.write("proc/cpuinfo", f"model name\t: X\nflags\t\t: {flags}\nbugs\t: hypervisor")
    assert one(cpu.virtual, scene(patient, stolen_s=stolen_s)).severity is severity


def test_a_battery(patient: Patient) -> None:
    assert one(cpu.power_supply, scene(patient)).found == "no battery"
    patient.write("sys/class/power_supply/BAT0/status", "Charging")
    assert one(cpu.power_supply, scene(patient)).severity is Severity.OK
    patient.write("sys/class/power_supply/BAT0/status", "Discharging")
    assert one(cpu.power_supply, scene(patient)).severity is Severity.WARNING


def test_heat(patient: Patient) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    for name, value in (("type", "x86_pkg_temp"), ("temp", 60_000)):
        patient.write(f"{zone}/{name}", value)
    for number, (kind, temp) in enumerate(
        (("active", 50_000), ("passive", 90_000), ("critical", 105_000))
    ):
        patient.write(f"{zone}/trip_point_{number}_type", kind)
        patient.write(f"{zone}/trip_point_{number}_temp", temp)
    assert one(cpu.thermal, scene(patient)).severity is Severity.OK
    patient.write(f"{zone}/temp", 86_000)
    finding = one(cpu.thermal, scene(patient))
    assert finding.severity is Severity.WARNING
    assert finding.found == "x86_pkg_temp at 86 °C, limit 90 °C"
    throttled = one(cpu.thermal, scene(patient, thermal_throttles=2))
    assert throttled.severity is Severity.PROBLEM


@pytest.mark.parametrize(
    ("others", "threads", "severity"),
    [
        (0.04, 4, Severity.OK),
        (0.10, 4, Severity.WARNING),
        (0.90, 4, Severity.PROBLEM),
        (0.90, 2, Severity.NOTE),
    ],
)
def test_other_load_matters_where_no_core_is_idle(
    patient: Patient, others: float, threads: int, severity: Severity
) -> None:
    where = scene(patient, threads=threads, others_cores=others, top=((0.5, "hog (70)"),))
    finding = one(load.other_load, where)
    assert finding.severity is severity
    assert finding.found.startswith(f"{others:.2f} of 4 usable CPUs")
    if severity is not Severity.OK:
        assert "hog (70) 0.50" in finding.found
    assert ("--threads 3" in finding.fix) is (others > 0.05 and threads == 4)


def test_load_that_no_process_explains_is_said(patient: Patient) -> None:
    finding = one(load.other_load, scene(patient, others_cores=1.0))
    assert "not visible here" in finding.found


def test_autogroups_matter_where_there_is_a_neighbour(patient: Patient) -> None:
    patient.write("proc/sys/kernel/sched_autogroup_enabled", 1)
    assert len(list(load.other_load(scene(patient)))) == 1
    findings = list(load.other_load(scene(patient, others_cores=1.0)))
    assert [finding.name for finding in findings] == ["other load", "autogroup"]


def test_pressure(patient: Patient) -> None:
    assert one(load.pressure, scene(patient, pressure_s=0.4)).severity is Severity.OK
    finding = one(load.pressure, scene(patient, pressure_s=2.5))
    assert finding.severity is Severity.WARNING
    assert "25.0%" in finding.found


FAST = GpuReading(sm_clock_hz=1.98e9, reasons=())
LOCKED = GpuReading(sm_clock_hz=1.4e9, reasons=("clocks set by the user",))
HOT = GpuReading(sm_clock_hz=1.2e9, reasons=("hardware thermal slowdown",))
CAPPED = GpuReading(sm_clock_hz=1.9e9, reasons=("power cap", "idle"))
GOOD = GpuSettings(persistence=True, ecc=True, mig=False, max_sm_clock_hz=2e9, processes=(SERVER,))


def of_gpu(patient: Patient, readings: list[GpuReading], setup: GpuSettings = GOOD) -> Any:
    gpu = FakeGpu(setup=setup)
    found = check_gpu(gpu, scene(patient, gpus={gpu.name: readings}))
    return {finding.name.removeprefix(f"{gpu.name} "): finding for finding in found}


def test_a_gpu_with_locked_clocks_of_our_own(patient: Patient) -> None:
    found = of_gpu(patient, [LOCKED, LOCKED])
    assert {finding.severity for finding in found.values()} == {Severity.OK}
    assert found["clocks"].found == "locked, 1400 to 1400 MHz seen"
    assert found["other processes"].found == "none", "the worker is ours"
    assert found["ECC"].found == "on"


def test_clocks_that_are_free(patient: Patient) -> None:
    assert of_gpu(patient, [FAST, FAST])["clocks"].severity is Severity.NOTE
    finding = of_gpu(patient, [FAST, CAPPED])["clocks"]
    assert finding.severity is Severity.WARNING
    assert finding.found == "not locked: 1900 to 1980 MHz seen"
    assert finding.fix == "sudo nvidia-smi -i 0 -lgc 1500 (undo: -rgc)"


def test_throttling_of_a_gpu(patient: Patient) -> None:
    capped = of_gpu(patient, [FAST, CAPPED])["throttling"]
    assert (capped.severity, capped.found) == (Severity.WARNING, "power cap")
    hot = of_gpu(patient, [HOT, CAPPED])["throttling"]
    assert (hot.severity, hot.found) == (
        Severity.PROBLEM,
        "hardware thermal slowdown, power cap",
    )


def test_settings_of_a_gpu_and_its_other_users(patient: Patient) -> None:
    setup = GpuSettings(persistence=False, mig=True, processes=(SERVER, NEIGHBOUR, 999))
    found = of_gpu(patient, [FAST], setup)
    assert found["persistence mode"].severity is Severity.WARNING
    assert found["persistence mode"].fix == "sudo nvidia-smi -i 0 -pm 1"
    assert found["MIG"].severity is Severity.NOTE
    assert "ECC" not in found
    assert found["other processes"].severity is Severity.PROBLEM
    assert found["other processes"].found == "hog (70), 999"


def test_a_gpu_that_says_nothing(patient: Patient) -> None:
    found = of_gpu(patient, [GpuReading()], GpuSettings())
    assert {finding.severity for finding in found.values()} == {Severity.UNKNOWN}
    assert len(found) == 4
