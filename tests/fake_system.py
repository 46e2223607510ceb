"""A made-up /proc and /sys in a folder, and a GPU made of values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from paca_bench.measure.nvml import GpuReading, GpuSettings

STAT = "cpu  {busy} 0 0 {idle} 0 0 0 {stolen} 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n"


@dataclass
class FakeSystem:
    """Files under ``root``; ``write`` adds or replaces one, in place, as the kernel would."""

    root: Path

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    @property
    def sys(self) -> Path:
        return self.root / "sys"

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8")

    def stat(self, busy: int = 0, idle: int = 0, stolen: int = 0) -> None:
        self.write("proc/stat", STAT.format(busy=busy, idle=idle, stolen=stolen))

    def limited_group(self, throttled: int = 0, seconds: float = 0.0, cpu_max: str = "max") -> None:
        """A control group, version 2, two levels deep; the inner one has the limit."""
        self.write("proc/self/cgroup", "0::/outer/inner")
        self.write("sys/fs/cgroup/cgroup.controllers", "cpu memory")
        self.write("sys/fs/cgroup/outer/cpu.stat", "usage_usec 5\nnr_throttled 0\nthrottled_usec 0")
        self.write(
            "sys/fs/cgroup/outer/inner/cpu.stat",
            f"usage_usec 5\nnr_throttled {throttled}\nthrottled_usec {round(seconds * 1e6)}",
        )
        self.write("sys/fs/cgroup/outer/inner/cpu.max", f"{cpu_max} 100000")

    def thread(self, number: int, waited_s: float) -> None:
        self.write(f"proc/self/task/{number}/schedstat", f"1000 {round(waited_s * 1e9)} 7")

    def frequency(self, cpu: int, hz: float) -> None:
        place = f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"
        self.write(place, round(hz / 1e3))


@dataclass
class FakeGpu:
    """A ``Gpu`` whose readings and energies come from lists; the last ones stay."""

    readings: list[GpuReading] = field(default_factory=lambda: [GpuReading()])
    energies: list[float | None] = field(default_factory=lambda: [None])
    setup: GpuSettings = field(default_factory=GpuSettings)
    name: str = "GPU 0 (Made-up)"
    index: int = 0

    def reading(self) -> GpuReading:
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

    def settings(self) -> GpuSettings:
        return replace(self.setup)

    def energy_j(self) -> float | None:
        return self.energies.pop(0) if len(self.energies) > 1 else self.energies[0]
