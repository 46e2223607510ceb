"""The most memory that this process held in a call: what the operating system counts.

More than the live tensors: scratch of libraries, fragments, and what the allocator does not
give back. Linux can forget the high-water mark (proc(5), ``/proc/[pid]/clear_refs``, value 5);
elsewhere only the whole life's is known.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from paca_bench.measure.system_files import key_values, read_text

_FORGET_PEAK = "5"


@dataclass(frozen=True, slots=True)
class ProcessPeak:
    """Peak of the resident set over what was resident before the call.

    ``method`` says where it was read.
    """

    peak_bytes: int
    method: str


def process_peak(
    call: Callable[[], object], between: Callable[[], object], *, proc: Path = Path("/proc")
) -> ProcessPeak | None:
    """The resident set's peak in a second ``call``, over what was resident before it.

    The first call loads libraries and starts threads. What it freed is given back to the
    system before the second, or that would find its memory resident already. None where the
    system does not say what is resident.
    """
    call()
    between()
    gc.collect()
    _give_back()
    folder = proc / "self"
    base = _status_bytes(folder, "VmRSS")
    if base is None:
        return None
    can_forget = _forget_peak(folder)
    call()
    peak = _status_bytes(folder, "VmHWM") if can_forget else None
    method = "VmHWM, reset, over VmRSS"
    if peak is None:
        peak, method = _whole_life_peak(), "ru_maxrss of the process's whole life over VmRSS"
    between()
    return ProcessPeak(max(peak - base, 0), method)


def _status_bytes(folder: Path, name: str) -> int | None:
    """A line of /proc/self/status, which is in KiB."""
    kib = key_values(read_text(folder / "status") or "").get(name)
    return None if kib is None else 1024 * kib


def _forget_peak(folder: Path) -> bool:
    try:
        (folder / "clear_refs").write_text(_FORGET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _whole_life_peak() -> int:
    """In KiB on Linux, in bytes on macOS (getrusage(2) of each)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _give_back() -> None:
    """Free heap memory to the system, as far as the C library can: glibc does, others keep it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
