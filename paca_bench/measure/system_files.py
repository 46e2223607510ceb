"""Small files of the kernel under /proc and /sys: read, parsed, and None where absent."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str | None:
    """The file's text without the last line break; None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """The whole number that is the file's text; None if there is none."""
    text = read_text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def key_values(text: str) -> dict[str, int]:
    """Lines of ``name number`` or ``name: number kB``, as in cpu.stat, vmstat and meminfo."""
    found = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) > 1 and parts[1].lstrip("-").isdigit():
            found[parts[0].rstrip(":")] = int(parts[1])
    return found


def cpu_list(text: str) -> list[int]:
    """``0-3,8`` -> ``[0, 1, 2, 3, 8]``, the kernel's way to write a set of CPUs."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def cpu_groups(proc: Path, sys: Path) -> list[Path]:
    """The control groups that limit this process's CPU time, its own first, then its parents.

    Both versions are understood. In a container the path in /proc/self/cgroup may lie outside
    of what is mounted; then the root of the mount is the container's own group.
    """
    for line in (read_text(proc / "self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            roots = [sys / "fs/cgroup" / name for name in (controllers, "cpu")]
        elif not controllers:
            roots = [sys / "fs/cgroup"]
        else:
            continue
        for root in roots:
            if (root / "cpu.stat").is_file() or (root / "cgroup.controllers").is_file():
                return _with_parents(root, path)
    return []


def _with_parents(root: Path, path: str) -> list[Path]:
    leaf = root / path.lstrip("/")
    if not leaf.is_dir():
        return [root]
    return [group for group in (leaf, *leaf.parents) if group == root or root in group.parents]


def throttling(stat: str) -> tuple[int, float] | None:
    """(times, seconds) that a group was throttled, from its cpu.stat; None without a limit.

    Version 2 counts microseconds, version 1 nanoseconds.
    """
    values = key_values(stat)
    if "nr_throttled" not in values:
        return None
    seconds = values.get("throttled_usec", 0) * 1e-6 + values.get("throttled_time", 0) * 1e-9
    return values["nr_throttled"], seconds


def quota(group: Path) -> float | None:
    """Cores that a group grants; None without a limit."""
    both = read_text(group / "cpu.max")
    if both is not None:
        words = both.split()
    else:
        words = [read_text(group / f"cpu.cfs_{what}_us") or "" for what in ("quota", "period")]
    try:
        granted, period = map(int, words)
    except ValueError:
        return None
    return granted / period if granted > 0 and period > 0 else None


def stolen_ticks(stat: str) -> int | None:
    """Ticks that a hypervisor gave to others, over all CPUs, from the first line of /proc/stat."""
    fields = stat.partition("\n")[0].split()
    return int(fields[8]) if len(fields) > 8 and fields[0] == "cpu" else None
