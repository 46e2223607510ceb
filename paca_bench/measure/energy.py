"""Joules of a span of time, from what counts them in this machine. Imports no torch.

Three sources, best first:

- NVML's counter of a GPU's total energy (millijoules; Volta and newer).
- NVML's power, sampled by a thread and integrated, where there is no such counter. The driver
  averages power over up to a second and updates it every 20 to 100 ms, so a short span is
  only as good as the interval that is recorded beside it (Yang, Adamek and Armour, "Part-time
  Power Measurements: nvidia-smi's Lack of Attention", 2023).
- RAPL through Linux' powercap: the energy of CPU packages, Intel's and AMD's. DRAM has a domain
  of its own and is not in them. The counters are updated about every millisecond (Intel SDM,
  volume 3, "RAPL Interfaces") and wrap around.

All of these count what the whole device used, its idle power and its other users included.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from paca_bench.measure.nvml import Gpu
from paca_bench.measure.system_files import read_int, read_text
from paca_bench.units import format_seconds, significant

RAPL_UPDATE_S = 1e-3
POWER_INTERVAL_S = 0.05
# How long the counter of a GPU is watched, once, to see how often it moves.
WATCH_S = 0.5
WATCH_STEP_S = 0.002
# More than a CPU package draws: a span in which even this cannot take the counter all the way
# around has one meaning.
MAX_PACKAGE_W = 1000.0
_MICROJOULE = 1e-6
_PACKAGE = re.compile(r"intel-rapl:\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """The energy of a span.

    Attributes:
        joules: of the whole device.
        seconds: the span.
        method: what counted, in words.
        interval_s: between two updates of the counter, or two samples of the power.
        resolution_j: what passes in one interval at the span's mean power. The ends of the
            span may each miss up to this much.
    """

    joules: float
    seconds: float
    method: str
    interval_s: float
    resolution_j: float

    @property
    def watts(self) -> float:
        """The mean power."""
        return self.joules / self.seconds


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no energy, for this reason."""

    reason: str


class Meter(Protocol):
    """Measures one span after the other: ``start``, then ``stop``."""

    def start(self) -> None:
        """The span begins."""
        ...

    def stop(self) -> Energy | Absent:
        """The span ends."""
        ...


class CounterMeter:
    """The difference of a counter that only grows.

    Args:
        read: joules since some moment; None where reading fails.
        interval_s: between two updates of the counter.
        method: what counts, in words.
        clock: seconds.
    """

    def __init__(
        self,
        read: Callable[[], float | None],
        interval_s: float,
        method: str,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._read = read
        self._interval_s = interval_s
        self._method = method
        self._clock = clock
        self._begin: tuple[float, float | None] | None = None

    def start(self) -> None:
        """See ``Meter``."""
        self._begin = self._clock(), self._read()

    def stop(self) -> Energy | Absent:
        """See ``Meter``."""
        end_s, end_j = self._clock(), self._read()
        assert self._begin, "stop without start"
        start_s, start_j = self._begin
        if start_j is None or end_j is None:
            return Absent(f"{self._method}: the counter could not be read")
        return _energy(end_j - start_j, end_s - start_s, self._method, self._interval_s)


class PowerMeter:
    """Power sampled by a thread and integrated by the trapezoidal rule.

    Args:
        read: watts now; None where reading fails.
        method: what is read, in words.
        interval_s: between two samples.
        clock: seconds.
        wait: waits for that long, or until the event is set, and says whether it is.
    """

    def __init__(
        self,
        read: Callable[[], float | None],
        method: str,
        interval_s: float = POWER_INTERVAL_S,
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._read = read
        self._method = method
        self._interval_s = interval_s
        self._clock = clock
        self._wait = wait
        self._samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """See ``Meter``."""
        self._samples = []
        self._ended = threading.Event()
        self._take()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> Energy | Absent:
        """See ``Meter``."""
        assert self._thread, "stop without start"
        self._ended.set()
        self._thread.join()
        self._take()
        if len(self._samples) < 2:
            return Absent(f"{self._method}: the power could not be read")
        seconds = self._samples[-1][0] - self._samples[0][0]
        interval_s = seconds / (len(self._samples) - 1)
        return _energy(integrate(self._samples), seconds, self._method, interval_s)

    def _sample(self) -> None:
        while not self._wait(self._ended, self._interval_s):
            self._take()

    def _take(self) -> None:
        watts = self._read()
        if watts is not None:
            self._samples.append((self._clock(), watts))


class RaplMeter:
    """The energy of all CPU packages, from their powercap folders.

    Args:
        packages: each with ``energy_uj`` and ``max_energy_range_uj``.
        clock: seconds.
    """

    def __init__(
        self, packages: Sequence[Path], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._packages = packages
        self._ranges = [read_int(package / "max_energy_range_uj") for package in packages]
        self._clock = clock
        self._begin: tuple[float, list[int | None]] | None = None

    def start(self) -> None:
        """See ``Meter``."""
        self._begin = self._clock(), self._read()

    def stop(self) -> Energy | Absent:
        """See ``Meter``."""
        end_s, ends = self._clock(), self._read()
        assert self._begin, "stop without start"
        start_s, starts = self._begin
        seconds = end_s - start_s
        used_uj = 0
        for package, span, start, end in zip(
            self._packages, self._ranges, starts, ends, strict=True
        ):
            if start is None or end is None or span is None:
                return Absent(f"{package}: the counter could not be read")
            if seconds * MAX_PACKAGE_W > span * _MICROJOULE:
                return Absent(
                    f"{package}: in {format_seconds(seconds)} the counter may go around unseen, "
                    f"every {significant(span * _MICROJOULE)} J; measure a shorter span"
                )
            used_uj += wrapped_difference(start, end, span)
        count = len(self._packages)
        method = f"RAPL of {count} CPU package{'s' if count > 1 else ''}, without DRAM"
        return _energy(used_uj * _MICROJOULE, seconds, method, RAPL_UPDATE_S)

    def _read(self) -> list[int | None]:
        return [read_int(package / "energy_uj") for package in self._packages]


def cpu_meter(sys: Path = Path("/sys")) -> RaplMeter | Absent:
    """What measures the energy of this machine's CPUs, or why nothing does."""
    place = sys / "class/powercap"
    packages = _packages(place)
    if not packages:
        return Absent(
            f"no RAPL package under {place}: a virtual machine, or the kernel module "
            f"intel_rapl_msr (for AMD's CPUs too) is not loaded"
        )
    for package in packages:
        try:
            (package / "energy_uj").read_text(encoding="ascii")
        except PermissionError:
            return Absent(
                f"{package / 'energy_uj'} may be read by root only (CVE-2020-8694); until the "
                f"next start: sudo chmod a+r {place}/intel-rapl:*/energy_uj"
            )
        except OSError as error:
            return Absent(f"{package / 'energy_uj'} cannot be read: {error.strerror}")
    return RaplMeter(packages)


def gpu_meter(
    gpu: Gpu,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Meter | Absent:
    """What measures the energy of ``gpu``, or why nothing does.

    Watches the counter for up to half a second, to see how often it moves.
    """
    if gpu.energy_j() is not None:
        interval_s = update_interval(gpu.energy_j, clock, sleep)
        method = f"NVML energy counter of {gpu.name}"
        if interval_s is None:
            return Absent(f"{method}: it did not move within {format_seconds(WATCH_S)}")
        return CounterMeter(gpu.energy_j, interval_s, method, clock)
    if gpu.reading().power_w is not None:
        return PowerMeter(
            lambda: gpu.reading().power_w, f"NVML power of {gpu.name}, integrated", clock=clock
        )
    return Absent(f"{gpu.name} gives neither its energy nor its power through NVML")


def update_interval(
    read: Callable[[], float | None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> float | None:
    """The longest time between updates of a counter, watched for ``WATCH_S``.

    None if it did not move twice: the time before its first move is not a whole interval.
    """
    end = clock() + WATCH_S
    value, moves = read(), []
    while clock() < end:
        sleep(WATCH_STEP_S)
        now = read()
        if now != value:
            value = now
            moves.append(clock())
    gaps = [after - before for before, after in pairwise(moves)]
    return max(gaps, default=None)


def wrapped_difference(start: int, end: int, span: int) -> int:
    """How far a counter went that starts again from 0 after ``span``, at most once."""
    return end - start if end >= start else end - start + span


def integrate(samples: Sequence[tuple[float, float]]) -> float:
    """Joules from (seconds, watts) by the trapezoidal rule."""
    return sum(
        (later - sooner) * (before + after) / 2
        for (sooner, before), (later, after) in pairwise(samples)
    )


def _packages(place: Path) -> list[Path]:
    """One folder a CPU package; the same packages appear again as ``intel-rapl-mmio``."""
    if not place.is_dir():
        return []
    return sorted(
        folder
        for folder in place.iterdir()
        if _PACKAGE.fullmatch(folder.name)
        and (read_text(folder / "name") or "").startswith("package")
    )


def _energy(joules: float, seconds: float, method: str, interval_s: float) -> Energy | Absent:
    if seconds <= 0:
        return Absent(f"{method}: the span has no duration")
    return Energy(
        joules=joules,
        seconds=seconds,
        method=method,
        interval_s=interval_s,
        resolution_j=joules / seconds * interval_s,
    )
