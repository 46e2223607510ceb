"""What a run says of its CPU, read from made-up files of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from paca_bench.environment import cpu_settings, describe_environment, measured_code
from tests.fake_system import FakeSystem

CPU = "sys/devices/system/cpu"


def settings(system: FakeSystem) -> dict[str, object]:
    return cpu_settings(system.sys, system.proc)


def test_a_machine_that_says_nothing_is_unknown_in_all_points(tmp_path: Path) -> None:
    assert set(settings(FakeSystem(tmp_path)).values()) == {None}


def test_governors_and_clock_are_as_the_kernel_names_them(tmp_path: Path) -> None:
    system = FakeSystem(tmp_path)
    for cpu, governor in enumerate(("powersave", "performance", "powersave")):
        system.write(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor", governor)
    system.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc")
    found = settings(system)
    assert found["governors"] == ["performance", "powersave"]
    assert found["clocksource"] == "tsc"


@pytest.mark.parametrize(
    ("file", "value", "boost"),
    [
        ("intel_pstate/no_turbo", 0, True),
        ("intel_pstate/no_turbo", 1, False),
        ("cpufreq/boost", 1, True),
        ("cpufreq/boost", 0, False),
    ],
)
def test_boost_is_written_one_way_by_each_driver(
    tmp_path: Path, file: str, value: int, boost: bool
) -> None:
    system = FakeSystem(tmp_path)
    system.write(f"{CPU}/{file}", value)
    assert settings(system)["boost"] is boost


@pytest.mark.parametrize(
    ("flags", "vendor", "hypervisor"),
    [
        ("fpu vme hypervisor", "KVM", "KVM"),
        ("fpu hypervisor", None, True),
        ("fpu vme", "Dell", False),
    ],
)
def test_a_guest_knows_that_it_is_one(
    tmp_path: Path, flags: str, vendor: str | None, hypervisor: object
) -> None:
    system = FakeSystem(tmp_path)
    system.write("proc/cpuinfo", f"processor\t: 0\nflags\t\t: {flags}\n")
    if vendor:
        system.write("sys/class/dmi/id/sys_vendor", vendor)
    assert settings(system)["hypervisor"] == hypervisor


def test_a_run_has_them_all() -> None:
    assert cpu_settings().keys() <= describe_environment("cpu").keys()


def test_a_plugin_is_part_of_the_code(tmp_path: Path) -> None:
    plugin = tmp_path / "one.py"
    plugin.write_text("a = 1", encoding="utf-8")
    first = measured_code([str(plugin)])
    assert first == measured_code([str(plugin)]) != measured_code()
    plugin.write_text("a = 2", encoding="utf-8")
    assert measured_code([str(plugin)]) != first
