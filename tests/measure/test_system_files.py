"""Files of the kernel: both versions of control groups, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from paca_bench.measure.system_files import (
    cpu_groups,
    cpu_list,
    key_values,
    quota,
    read_int,
    read_text,
    stolen_ticks,
    throttling,
)
from tests.fake_system import FakeSystem


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    return FakeSystem(tmp_path)


def test_absent_and_unreadable_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("none\n")
    assert read_text(tmp_path / "words") == "none"
    assert read_int(tmp_path / "words") is None
    assert read_text(tmp_path / "absent") is None
    assert read_int(tmp_path / "absent") is None
    assert read_text(tmp_path) is None, "a folder"


def test_lists_of_cpus_and_lines_of_values() -> None:
    assert cpu_list("0-3,8\n") == [0, 1, 2, 3, 8]
    assert cpu_list("") == []
    assert key_values("SwapTotal:  12 kB\npswpin 3\nwords only\n") == {"SwapTotal": 12, "pswpin": 3}


def test_version_2_groups_up_to_the_mount(system: FakeSystem) -> None:
    system.limited_group(throttled=4, seconds=0.25, cpu_max="150000")
    inner, outer, root = cpu_groups(system.proc, system.sys)
    assert (inner.name, outer.name) == ("inner", "outer")
    assert root == system.sys / "fs/cgroup"
    assert [quota(group) for group in (inner, outer, root)] == [1.5, None, None]
    assert throttling((inner / "cpu.stat").read_text()) == (4, 0.25)


def test_a_path_outside_of_the_container_means_its_root(system: FakeSystem) -> None:
    system.write("proc/self/cgroup", "0::/docker/abc")
    system.write("sys/fs/cgroup/cgroup.controllers", "cpu")
    assert cpu_groups(system.proc, system.sys) == [system.sys / "fs/cgroup"]


def test_version_1_counts_nanoseconds(system: FakeSystem) -> None:
    system.write("proc/self/cgroup", "3:cpu,cpuacct:/job\n2:memory:/\n0::/")
    job = "sys/fs/cgroup/cpu,cpuacct/job"
    system.write("sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_throttled 0\nthrottled_time 0")
    system.write(f"{job}/cpu.stat", "nr_throttled 2\nthrottled_time 3000000")
    system.write(f"{job}/cpu.cfs_quota_us", "50000")
    system.write(f"{job}/cpu.cfs_period_us", "100000")
    group = cpu_groups(system.proc, system.sys)[0]
    assert group == system.root / job
    assert quota(group) == 0.5
    assert throttling((group / "cpu.stat").read_text()) == (2, pytest.approx(0.003))


def test_no_quota_is_none(system: FakeSystem) -> None:
    system.write("sys/fs/cgroup/a/cpu.max", "max 100000")
    system.write("sys/fs/cgroup/b/cpu.cfs_quota_us", "-1")
    system.write("sys/fs/cgroup/b/cpu.cfs_period_us", "100000")
    assert [quota(system.sys / "fs/cgroup" / name) for name in "abc"] == [None, None, None]
    assert throttling("usage_usec 5\n") is None, "the root group has no limit"
    assert cpu_groups(system.proc, system.sys) == []


def test_steal_is_the_eighth_number_of_the_first_line() -> None:
    assert stolen_ticks("cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 0\n") == 88
    assert stolen_ticks("") is None
    assert stolen_ticks("cpu  1 2 3\n") is None
