"""Checks of what else ran while the experiment did."""

from __future__ import annotations

from collections.abc import Iterator

from paca_bench.doctor.finding import Finding, Severity, fine, unknown
from paca_bench.doctor.scene import Scene
from paca_bench.measure.system_files import read_int

# Cores that others keep busy: below the first it is the system itself.
LITTLE_CORES = 0.05
MUCH_CORES = 0.25


def other_load(scene: Scene) -> Iterator[Finding]:
    """Other processes, whether they can be seen from here or not."""
    others = scene.meanwhile.others_cores
    if others is None:
        yield unknown("other load", "the kernel does not say")
        return
    usable = len(scene.cpus)
    found = f"{others:.2f} of {usable} usable CPUs"
    if others < LITTLE_CORES:
        yield fine("other load", found)
        return
    named = "; ".join(f"{name} {cores:.2f}" for cores, name in scene.meanwhile.top)
    found += f": {named}" if named else ": processes that ended meanwhile or are not visible here"
    crowded = others + scene.threads > usable
    severity = Severity.NOTE
    if crowded:
        severity = Severity.PROBLEM if others >= MUCH_CORES else Severity.WARNING
    left = max(int(usable - others), 1)
    leave = f", or leave it a core: --threads {left}" if left < scene.threads else ""
    yield Finding(
        "other load",
        severity,
        found,
        "a neighbour holds up every barrier of a worker's threads, by up to ten times."
        if crowded
        else "there are idle cores for it, but caches and memory are shared.",
        f"end it, or pause it meanwhile (kill -STOP PID, kill -CONT PID){leave}",
    )
    if read_int(scene.sources.proc / "sys/kernel/sched_autogroup_enabled") == 1:
        yield Finding(
            "autogroup",
            Severity.NOTE,
            "on",
            "each session gets the same share of the CPU, so nice has no effect on a neighbour.",
            "sudo sysctl kernel.sched_autogroup_enabled=0, then: sudo renice -n 19 -p PID",
        )


def pressure(scene: Scene) -> Iterator[Finding]:
    """How much of the time somebody waited for a core; the doctor's own threads count too."""
    conditions = scene.meanwhile.conditions
    if conditions.pressure_s is None:
        yield unknown("CPU pressure", "the kernel does not say")
        return
    share = conditions.pressure_s / conditions.wall_s
    found = f"somebody waited for a core in {share:.1%} of the time"
    if share < LITTLE_CORES:
        yield fine("CPU pressure", found)
    else:
        yield Finding(
            "CPU pressure",
            Severity.WARNING,
            found,
            "a thread that waits for a core is timed as if it worked.",
            "see other load and threads",
        )


CHECKS = (other_load, pressure)
