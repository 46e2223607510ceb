"""What the doctor looks at: files of the kernel, processes, GPUs; and what changed meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paca_bench.measure.clock import ClockQuality, calibrate_clock
from paca_bench.measure.conditions import Conditions, Snapshot, difference
from paca_bench.measure.nvml import Gpu, GpuReading, open_gpus
from paca_bench.measure.system_files import cpu_list, key_values, read_int, read_text
from paca_bench.measure.watch import Watch

TOP = 3
# Of the least share of a core that is worth a name.
LEAST_CORES = 0.01


@dataclass(frozen=True, slots=True)
class ProcessTime:
    """CPU seconds of a process so far, alone and with its children that ended."""

    name: str
    parent: int
    cpu_s: float
    with_children_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where facts come from; each can be replaced in a test.

    Attributes:
        proc: the kernel's files about processes.
        sys: its files about devices.
        pid: of this process, whose own load is not another's.
        processes: process id -> its CPU time.
        gpus: the GPUs of this machine.
        clock: seconds.
        clock_quality: of the clock that workers time with.
    """

    proc: Path
    sys: Path
    pid: int
    processes: Callable[[], Mapping[int, ProcessTime]]
    gpus: Callable[[], Sequence[Gpu]]
    clock: Callable[[], float]
    clock_quality: Callable[[], ClockQuality]

    @classmethod
    def of_this_machine(cls) -> Sources:
        """The real ones."""
        return cls(
            proc=Path("/proc"),
            sys=Path("/sys"),
            pid=os.getpid(),
            processes=process_times,
            gpus=open_gpus,
            clock=time.monotonic,
            clock_quality=lambda: calibrate_clock(_timed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The counters of the whole machine at one moment."""

    snapshot: Snapshot
    busy_s: float | None
    processes: Mapping[int, ProcessTime]
    swapped_pages: int | None
    thermal_throttles: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meanwhile:
    """What happened between two moments.

    Attributes:
        conditions: of the machine; faults and switches are the doctor's own.
        others_cores: cores that other processes kept busy, of those that may be used.
        top: (cores, name and id) of the busiest others that ran all the time.
        swapped_pages: to and from the swap.
        thermal_throttles: how often a core got too hot.
        gpus: name -> readings taken after each worker.
    """

    conditions: Conditions
    others_cores: float | None = None
    top: tuple[tuple[float, str], ...] = ()
    swapped_pages: int | None = None
    thermal_throttles: int | None = None
    gpus: Mapping[str, Sequence[GpuReading]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that the checks look at.

    Attributes:
        sources: where settings are read.
        threads: of a worker.
        cpus: the numbers of those that may be used.
        clock: the quality of what workers time with.
        meanwhile: what happened during the experiment.
    """

    sources: Sources
    threads: int
    cpus: Sequence[int]
    clock: ClockQuality
    meanwhile: Meanwhile

    def cpu_files(self, name: str) -> list[str]:
        """The text of a file of each CPU that may be used, where it exists."""
        texts = (read_text(self.cpu_folder / f"cpu{cpu}" / name) for cpu in self.cpus)
        return [text for text in texts if text is not None]

    @property
    def cpu_folder(self) -> Path:
        """Where the kernel describes CPUs."""
        return self.sources.sys / "devices/system/cpu"


def usable_cpus(sources: Sources) -> list[int]:
    """The numbers of the CPUs that this process may run on."""
    for line in (read_text(sources.proc / "self/status") or "").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            return cpu_list(line.partition(":")[2])
    return list(range(os.cpu_count() or 1))


def look(sources: Sources, watch: Watch, cpus: Sequence[int]) -> Moment:
    """The counters now."""
    counted = key_values(read_text(sources.proc / "vmstat") or "")
    swapped = [counted[name] for name in ("pswpin", "pswpout") if name in counted]
    hot = [
        number
        for cpu in cpus
        for what in ("core", "package")
        if (number := read_int(_thermal(sources.sys, cpu, what))) is not None
    ]
    return Moment(
        snapshot=watch.snapshot(),
        busy_s=_busy(read_text(sources.proc / "stat") or "", cpus),
        processes=sources.processes(),
        swapped_pages=sum(swapped) if swapped else None,
        thermal_throttles=sum(hot) if hot else None,
    )


def between(
    before: Moment, after: Moment, pid: int, gpus: Mapping[str, Sequence[GpuReading]]
) -> Meanwhile:
    """What happened from one moment to the other, apart from what ``pid`` and its children did."""
    conditions = difference(before.snapshot, after.snapshot)
    own = family(after.processes, pid)
    others_cores = None
    if before.busy_s is not None and after.busy_s is not None:
        own_s = sum(
            after.processes[one].with_children_s - _before(before, one, "with_children_s")
            for one in own
        )
        busy_s = after.busy_s - before.busy_s
        others_cores = max(busy_s - own_s, 0.0) / conditions.wall_s
    used = (
        ((now.cpu_s - _before(before, one, "cpu_s")) / conditions.wall_s, f"{now.name} ({one})")
        for one, now in after.processes.items()
        if one not in own
    )
    top = sorted((entry for entry in used if entry[0] >= LEAST_CORES), reverse=True)[:TOP]
    return Meanwhile(
        conditions=conditions,
        others_cores=others_cores,
        top=tuple(top),
        swapped_pages=_less(after.swapped_pages, before.swapped_pages),
        thermal_throttles=_less(after.thermal_throttles, before.thermal_throttles),
        gpus=gpus,
    )


def family(processes: Mapping[int, ProcessTime], pid: int) -> set[int]:
    """``pid`` and all that descend from it."""
    found = {pid} & processes.keys()
    while more := {one for one, p in processes.items() if p.parent in found} - found:
        found |= more
    return found


def process_times() -> dict[int, ProcessTime]:
    """All processes that can be seen, by id."""
    import psutil

    found = {}
    for process in psutil.process_iter(["pid", "ppid", "name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times is not None:
            alone = times.user + times.system
            children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            found[process.info["pid"]] = ProcessTime(
                process.info["name"] or "?", process.info["ppid"], alone, alone + children
            )
    return found


def _before(moment: Moment, pid: int, name: str) -> float:
    """A process that began since then had used nothing."""
    known = moment.processes.get(pid)
    return 0.0 if known is None else getattr(known, name)


def _busy(stat: str, cpus: Sequence[int]) -> float | None:
    """CPU seconds spent on anything by these CPUs, from /proc/stat."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    lines = [line.split() for line in stat.splitlines()]
    found = [list(map(int, line[1:])) for line in lines if line and line[0] in wanted]
    if not found:
        return None
    # user, nice, system, irq and softirq; not idle, iowait and what was stolen.
    ticks = sum(sum(one[:3]) + sum(one[5:7]) for one in found)
    return ticks / os.sysconf("SC_CLK_TCK")


def _thermal(sys: Path, cpu: int, what: str) -> Path:
    return sys / f"devices/system/cpu/cpu{cpu}/thermal_throttle/{what}_throttle_count"


def _less(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _timed(call: Callable[[], object]) -> float:
    """As ``measure.latency.CpuTimer.time``, which needs torch."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) * 1e-9


def gpu_readings(gpus: Sequence[Gpu]) -> Iterator[tuple[str, GpuReading]]:
    """The name and the state of each GPU now."""
    return ((gpu.name, gpu.reading()) for gpu in gpus)
