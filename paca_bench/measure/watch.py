"""The counters of this process and its machine, read in some tens of microseconds.

The kernel's files are opened once and read again from their beginning, because opening costs
more than reading. Imports no torch.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from paca_bench.measure.conditions import Snapshot
from paca_bench.measure.nvml import Gpu
from paca_bench.measure.system_files import cpu_groups, cpu_list, stolen_ticks, throttling

_COST_REPEATS = 5
_LINE_BYTES = 256
_FILE_BYTES = 4096


class Watch:
    """Reads the counters of this process and machine. Use as a context manager.

    Open it after the warm-up: the threads that it watches are those that exist then, and
    OpenMP starts its own in the first call.

    Args:
        proc: where the kernel's files about processes are.
        sys: where its files about devices are.
        gpu: read too, which costs some hundred microseconds: around groups of samples only.
        usage: as ``resource.getrusage``, for this process.
        clock: seconds.

    Attributes:
        missing: name of a value -> why this machine does not give it.
        cost_s: median of a few snapshots' own time, which lies outside of the samples.
    """

    def __init__(
        self,
        *,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        gpu: Gpu | None = None,
        usage: Callable[[], Any] = lambda: resource.getrusage(resource.RUSAGE_SELF),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._gpu = gpu
        self._usage = usage
        self._clock = clock
        self._open: list[int] = []
        self.missing: dict[str, str] = {}
        self._stat = self._opened("stolen_s", proc / "stat")
        self._pressure = self._opened("pressure_s", proc / "pressure/cpu")
        self._load = self._opened("load", proc / "loadavg")
        self._tasks = self._open_tasks(proc)
        self._groups = self._open_groups(proc, sys)
        self._frequencies = self._open_frequencies(proc, sys)
        if gpu is None:
            self.missing["gpu"] = "no GPU is watched"
        costs = []
        for _ in range(_COST_REPEATS):
            start = clock()
            self.snapshot()
            costs.append(clock() - start)
        self.cost_s = statistics.median(costs)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; no snapshot can be taken afterwards."""
        while self._open:
            os.close(self._open.pop())

    def snapshot(self) -> Snapshot:
        """The counters now."""
        used = self._usage()
        throttles, throttled_s = self._throttling()
        return Snapshot(
            at_s=self._clock(),
            user_s=used.ru_utime,
            system_s=used.ru_stime,
            minor_faults=used.ru_minflt,
            major_faults=used.ru_majflt,
            voluntary_switches=used.ru_nvcsw,
            involuntary_switches=used.ru_nivcsw,
            waiting_s=self._waiting(),
            stolen_s=self._stolen(),
            throttles=throttles,
            throttled_s=throttled_s,
            pressure_s=_pressure(_read(self._pressure, _LINE_BYTES)),
            frequency_hz=self._frequency(),
            load=_load(_read(self._load, _LINE_BYTES)),
            gpu=self._gpu.reading() if self._gpu else None,
        )

    def _opened(self, name: str, path: Path) -> int | None:
        """The open file, or None with the reason in ``missing``."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.missing[name] = f"{path}: {os.strerror(error.errno or 0)}"
            return None
        self._open.append(descriptor)
        return descriptor

    def _open_tasks(self, proc: Path) -> dict[int, int]:
        """Thread id -> its schedstat, open."""
        folder = proc / "self/task"
        tasks = sorted(int(path.name) for path in folder.iterdir()) if folder.is_dir() else []
        files = {task: self._opened("waited_s", folder / str(task) / "schedstat") for task in tasks}
        if not files:
            self.missing["waited_s"] = f"{folder} does not exist"
        return {task: file for task, file in files.items() if file is not None}

    def _open_groups(self, proc: Path, sys: Path) -> list[int]:
        """cpu.stat of each control group that counts throttling, open."""
        found = [
            file
            for group in cpu_groups(proc, sys)
            if (file := self._opened("throttles", group / "cpu.stat")) is not None
            and throttling(_read(file, _FILE_BYTES)) is not None
        ]
        if found:
            self.missing.pop("throttles", None)
        else:
            self.missing["throttles"] = "no control group limits CPU time"
        return found

    def _open_frequencies(self, proc: Path, sys: Path) -> list[int]:
        """scaling_cur_freq of each CPU that may be used, open."""
        status = proc / "self/status"
        lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
        allowed = [line.split()[1] for line in lines if line.startswith("Cpus_allowed_list")]
        place = sys / "devices/system/cpu"
        files = [
            place / f"cpu{cpu}/cpufreq/scaling_cur_freq"
            for text in allowed
            for cpu in cpu_list(text)
        ]
        present = [path for path in files if path.is_file()]
        if not present:
            self.missing["frequency_hz"] = f"no cpufreq under {place}; usual in a virtual machine"
        opened = [self._opened("frequency_hz", path) for path in present]
        return [file for file in opened if file is not None]

    def _waiting(self) -> dict[int, float]:
        """Thread id -> seconds ready to run and without a core, since it began."""
        waiting = {}
        for task, file in self._tasks.items():
            # On the CPU, ready and waiting (both in nanoseconds), number of turns.
            words = _read(file, _LINE_BYTES).split()
            if len(words) == 3:
                waiting[task] = int(words[1]) * 1e-9
        return waiting

    def _stolen(self) -> float | None:
        ticks = stolen_ticks(_read(self._stat, _LINE_BYTES))
        return None if ticks is None else ticks / os.sysconf("SC_CLK_TCK")

    def _throttling(self) -> tuple[int | None, float | None]:
        """The sum over the groups: each counts only its own limit."""
        found = [throttling(_read(file, _FILE_BYTES)) for file in self._groups]
        known = [pair for pair in found if pair is not None]
        if not known:
            return None, None
        return sum(times for times, _ in known), sum(seconds for _, seconds in known)

    def _frequency(self) -> float | None:
        """Idle cores are slow by design, so the fastest tells how far a busy one may go."""
        texts = (_read(file, _LINE_BYTES).strip() for file in self._frequencies)
        return max((int(text) * 1e3 for text in texts if text.isdigit()), default=None)


def _read(descriptor: int | None, size: int) -> str:
    """The first ``size`` bytes; empty for a file that is not there or a thread that ended."""
    if descriptor is None:
        return ""
    try:
        return os.pread(descriptor, size, 0).decode(errors="replace")
    except OSError:
        return ""


def _pressure(text: str) -> float | None:
    """Seconds from ``some avg10=0.00 avg60=0.00 avg300=0.00 total=MICROSECONDS``."""
    line = text.partition("\n")[0]
    total = line.rpartition("total=")[2]
    return int(total) * 1e-6 if line.startswith("some") and total.isdigit() else None


def _load(text: str) -> float | None:
    words = text.split()
    return float(words[0]) if words else None
