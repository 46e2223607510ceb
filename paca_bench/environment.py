"""What machine and what versions a run was made with."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from paca_bench.errors import SpecError
from paca_bench.measure.system_files import read_int, read_text
from paca_bench.version import package_version

_CGROUP = Path("/sys/fs/cgroup")


def describe_environment(device: str) -> dict[str, Any]:
    """Machine, operating system, versions and settings, as JSON values.

    ``device`` is ``cpu`` or ``cuda:i``. Imports torch and, for ``cuda``, starts it.
    """
    facts: dict[str, Any] = {
        "paca_bench": package_version(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "os": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "cores_usable": usable_cores(),
        "cgroup_cpu_quota": _cgroup_quota(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_available_bytes": available_memory(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        **torch_settings(),
        "flush_denormal": True,
        **cpu_settings(),
        "malloc": {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")},
        "device": device,
    }
    if device.startswith("cuda"):
        facts["gpu"] = _describe_gpu(device)
    return facts


def torch_settings() -> dict[str, Any]:
    """What the memory of a call on a CPU depends on, besides its shapes."""
    import torch

    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "vector_unit": torch.backends.cpu.get_cpu_capability(),
    }


def measured_code(plugins: Iterable[str] = ()) -> str:
    """Twelve hex digits of all source that decides what a measurement measures.

    Attention, models, measuring and workers, and the files of ``plugins``; reports and
    statistics may change between two parts of a run.
    """
    package = Path(__file__).parent
    files = [package / f"{name}.py" for name in ("worker", "workers", "forkserver", "residents")]
    files += [path for part in ("attention", "measure", "models")
              for path in sorted((package / part).rglob("*.py"))]  # fmt: skip
    digest = hashlib.sha256()
    for path in [*files, *map(Path, sorted(plugins))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def resolve_device(device: str) -> str:
    """``auto`` and ``cuda`` to ``cpu`` or ``cuda:i``. Starts CUDA if there is one.

    Raises:
        SpecError: the device does not exist on this machine.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not count):
        return "cpu"
    if not count:
        raise SpecError(
            f"--device {device}: torch {torch.__version__} sees no CUDA device here; "
            f"use --device cpu or install a CUDA build of torch"
        )
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise SpecError(f"--device {device} does not exist; there are {count} CUDA devices")
    return f"cuda:{index}"


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_settings(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> dict[str, Any]:
    """What decides how steady a CPU is; see ``paca-bench doctor`` for what each means.

    ``governors`` of the CPUs, ``boost`` (frequencies above the nominal one), ``clocksource``,
    and ``hypervisor``: False on bare metal, the vendor or True in a virtual machine. None
    where the kernel does not say.
    """
    cpus = sys / "devices/system/cpu"
    governors = {read_text(path) for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    no_turbo = read_int(cpus / "intel_pstate/no_turbo")
    boost = read_int(cpus / "cpufreq/boost") if no_turbo is None else 1 - no_turbo
    clock = sys / "devices/system/clocksource/clocksource0/current_clocksource"
    return {
        "governors": sorted(filter(None, governors)) or None,
        "boost": None if boost is None else bool(boost),
        "clocksource": read_text(clock),
        "hypervisor": _hypervisor(sys, proc),
    }


def _hypervisor(sys: Path, proc: Path) -> str | bool | None:
    """From the flag that each hypervisor sets for its guests, on x86; elsewhere unknown."""
    flags = [
        line.partition(":")[2].split()
        for line in (read_text(proc / "cpuinfo") or "").splitlines()
        if line.startswith("flags")
    ]
    if not flags:
        return None
    if "hypervisor" not in flags[0]:
        return False
    return read_text(sys / "class/dmi/id/sys_vendor") or True


def available_memory() -> int:
    """Bytes that can still be taken, the cgroup's limit included."""
    free = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="utf-8").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return int(free)
    return int(free) if limit == "max" else int(min(free, max(int(limit) - used, 0)))


def _cgroup_quota() -> float | None:
    """Cores that the cgroup grants, or None without a limit."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _describe_gpu(device: str) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "driver": _driver_version(),
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def _driver_version() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
