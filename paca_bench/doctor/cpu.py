"""Checks of how this machine's CPUs are set up: clocks, cores, limits, memory, power."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from paca_bench.doctor.finding import Finding, Severity, fine, unknown
from paca_bench.doctor.scene import Scene
from paca_bench.measure.system_files import cpu_groups, key_values, quota, read_int, read_text
from paca_bench.units import format_bytes, format_seconds, significant

# Read in user space, in tens of nanoseconds.
FAST_CLOCKS = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"})
SLOW_TIMER_S = 1e-6
# Kelvin (or degrees) below a trip point at which the kernel begins to slow the machine down.
NEAR_TRIP_C = 5.0
_TRIPS = ("passive", "hot", "critical")


def clock_source(scene: Scene) -> Iterator[Finding]:
    """What the kernel reads the time from."""
    place = scene.sources.sys / "devices/system/clocksource/clocksource0"
    current = read_text(place / "current_clocksource")
    others = (read_text(place / "available_clocksource") or "").split()
    if current is None:
        yield unknown("clock source", "the kernel does not say")
    elif current in FAST_CLOCKS:
        yield fine("clock source", current)
    else:
        better = next((name for name in others if name in FAST_CLOCKS), None)
        yield Finding(
            "clock source",
            Severity.WARNING,
            f"{current}; available: {', '.join(others)}",
            "each reading of such a clock is a call into the kernel and a slow device.",
            f"echo {better} | sudo tee {place}/current_clocksource"
            if better
            else "start the kernel with tsc=reliable, if the CPU's time stamp counter is constant",
        )


def timer(scene: Scene) -> Iterator[Finding]:
    """What reading the clock costs, as measured."""
    quality = scene.clock
    found = (
        f"an empty call takes {format_seconds(quality.overhead_s)}, "
        f"the smallest step is {format_seconds(quality.resolution_s)}"
    )
    if max(quality.overhead_s, quality.resolution_s) <= SLOW_TIMER_S:
        yield fine("timer", found)
    else:
        yield Finding(
            "timer",
            Severity.WARNING,
            found,
            "a call of less than a thousand times that is partly the clock's own time.",
            "mend the clock source, or measure larger cases with --batch or --res",
        )


def governor(scene: Scene) -> Iterator[Finding]:
    """Who chooses the CPUs' frequency."""
    found = Counter(scene.cpu_files("cpufreq/scaling_governor"))
    if not found:
        yield unknown("governor", "no cpufreq; a virtual machine's host chooses the frequency")
    elif found.keys() == {"performance"}:
        yield fine("governor", "performance")
    else:
        yield Finding(
            "governor",
            Severity.WARNING,
            ", ".join(f"{name} on {number} CPUs" for name, number in sorted(found.items())),
            "the frequency follows the load, so the first calls after a pause are slower.",
            "sudo cpupower frequency-set -g performance",
        )


def boost(scene: Scene) -> Iterator[Finding]:
    """Frequencies above the nominal one, which last as long as it is cool."""
    for path, when_on, off in (
        (scene.cpu_folder / "intel_pstate/no_turbo", 0, 1),
        (scene.cpu_folder / "cpufreq/boost", 1, 0),
    ):
        value = read_int(path)
        if value is None:
            continue
        if value == when_on:
            yield Finding(
                "boost",
                Severity.NOTE,
                "on",
                "the frequency then depends on temperature and on how many cores are busy.",
                f"echo {off} | sudo tee {path}",
            )
        else:
            yield fine("boost", "off")
        return
    yield unknown("boost", "not visible here")


def smt(scene: Scene) -> Iterator[Finding]:
    """Two threads that share one core."""
    active = read_int(scene.cpu_folder / "smt/active")
    cores = len(set(scene.cpu_files("topology/thread_siblings_list")))
    if active is None or not cores:
        yield unknown("SMT", "not visible here")
    elif not active:
        yield fine("SMT", "off")
    else:
        crowded = scene.threads > cores
        yield Finding(
            "SMT",
            Severity.WARNING if crowded else Severity.NOTE,
            f"on: {len(scene.cpus)} logical CPUs on {cores} cores, {scene.threads} threads",
            "two threads on one core share its units, and are slower than on two cores.",
            f"--threads {cores}, or: echo off | sudo tee {scene.cpu_folder}/smt/control",
        )


def cpu_quota(scene: Scene) -> Iterator[Finding]:
    """What the control group grants, and whether it was all spent."""
    granted = min(
        (
            cores
            for group in cpu_groups(scene.sources.proc, scene.sources.sys)
            if (cores := quota(group)) is not None
        ),
        default=None,
    )
    times = scene.meanwhile.conditions.throttles
    if granted is None:
        yield fine("CPU quota", "none")
    elif granted < scene.threads:
        whole = max(int(granted), 1)
        yield Finding(
            "CPU quota",
            Severity.PROBLEM,
            f"{significant(granted)} cores for {scene.threads} threads",
            "once the quota is spent, all threads stand still until the next period of 100 ms.",
            f"--threads {whole}, or give the container more (docker run --cpus {scene.threads})",
        )
    else:
        yield fine("CPU quota", f"{significant(granted)} cores for {scene.threads} threads")
    if times:
        seconds = scene.meanwhile.conditions.throttled_s or 0.0
        yield Finding(
            "throttling",
            Severity.PROBLEM,
            f"{times} times during the experiment, for {format_seconds(seconds)}",
            "samples taken while the quota was spent contain the pause.",
            "--threads 1, or raise the quota of the control group (cpu.max)",
        )


def threads(scene: Scene) -> Iterator[Finding]:
    """Threads of a worker against the CPUs that they may use."""
    usable = len(scene.cpus)
    found = f"{scene.threads} threads on {usable} usable CPUs"
    if scene.threads > usable:
        yield Finding(
            "threads",
            Severity.PROBLEM,
            found,
            "at each barrier all threads wait for the one that has no core.",
            f"--threads {usable}",
        )
    elif scene.threads == usable > 1:
        yield Finding(
            "threads",
            Severity.NOTE,
            found,
            "no core is left for the system, so whatever else runs holds up every barrier.",
            f"--threads {usable - 1}",
        )
    else:
        yield fine("threads", found)


def swap(scene: Scene) -> Iterator[Finding]:
    """Memory that lies on a disk."""
    memory = key_values(read_text(scene.sources.proc / "meminfo") or "")
    if "SwapTotal" not in memory:
        yield unknown("swap", "the kernel does not say")
        return
    used = (memory["SwapTotal"] - memory.get("SwapFree", 0)) * 1024
    moved = scene.meanwhile.swapped_pages or 0
    if not memory["SwapTotal"]:
        yield fine("swap", "none")
    elif not used and not moved:
        yield fine("swap", "empty")
    else:
        yield Finding(
            "swap",
            Severity.PROBLEM if moved else Severity.NOTE,
            f"{format_bytes(used)} used, {moved} pages moved during the experiment",
            "a page that lies in the swap costs a worker milliseconds when it is touched.",
            "close what needs the memory, then: sudo swapoff -a",
        )


def huge_pages(scene: Scene) -> Iterator[Finding]:
    """Whether the kernel puts large pages in the place of small ones by itself."""
    text = read_text(scene.sources.sys / "kernel/mm/transparent_hugepage/enabled")
    if text is None:
        yield unknown("transparent huge pages", "the kernel does not say")
        return
    chosen = text.partition("[")[2].partition("]")[0]
    if chosen != "always":
        yield fine("transparent huge pages", chosen)
    else:
        yield Finding(
            "transparent huge pages",
            Severity.NOTE,
            "always",
            "which memory gets large pages differs from process to process, and so does its speed.",
            f"echo madvise | sudo tee {scene.sources.sys}/kernel/mm/transparent_hugepage/enabled",
        )


def virtual(scene: Scene) -> Iterator[Finding]:
    """A hypervisor, and the time that it gave to others."""
    stolen = scene.meanwhile.conditions.stolen_s
    flags = (read_text(scene.sources.proc / "cpuinfo") or "").partition("flags")[2]
    guest = "hypervisor" in flags.partition("\n")[0].split()
    share = (stolen or 0.0) / (scene.meanwhile.conditions.wall_s * len(scene.cpus))
    if share >= 0.005:
        yield Finding(
            "virtualisation",
            Severity.PROBLEM if share >= 0.05 else Severity.WARNING,
            f"the hypervisor gave {share:.1%} of the CPU time to other machines (steal)",
            "no setting in here can give that time back to a sample.",
            "take a dedicated host, or measure at a quieter time",
        )
    elif guest:
        yield Finding(
            "virtualisation",
            Severity.NOTE,
            "a virtual machine; no CPU time was stolen"
            if stolen is not None
            else "a virtual machine that does not say what was stolen",
            "neighbours on the same host share caches, memory and the CPU's power with it.",
            "for final figures take a dedicated host",
        )
    else:
        yield fine("virtualisation", "none seen")


def power_supply(scene: Scene) -> Iterator[Finding]:
    """A laptop on its battery."""
    place = scene.sources.sys / "class/power_supply"
    supplies = sorted(place.iterdir()) if place.is_dir() else []
    discharging = [s.name for s in supplies if read_text(s / "status") == "Discharging"]
    if discharging:
        yield Finding(
            "power supply",
            Severity.WARNING,
            f"on battery ({', '.join(discharging)} is discharging)",
            "on battery the firmware lowers the clocks, and more so the emptier it is.",
            "plug it in",
        )
    else:
        yield fine("power supply", "mains" if supplies else "no battery")


def thermal(scene: Scene) -> Iterator[Finding]:
    """Cores that were slowed down because they were hot, or are about to be."""
    times = scene.meanwhile.thermal_throttles
    place = scene.sources.sys / "class/thermal"
    zones = sorted(place.glob("thermal_zone*")) if place.is_dir() else []
    hot = [text for zone in zones if (text := _near_trip(zone)) is not None]
    why = "a hot CPU lowers its clocks by itself, later samples are slower than the first."
    if times:
        yield Finding(
            "temperature",
            Severity.PROBLEM,
            f"slowed down {times} times during the experiment",
            why,
            "improve the cooling, or turn boost off",
        )
    elif hot:
        fix = "improve the cooling, or turn boost off"
        yield Finding("temperature", Severity.WARNING, ", ".join(hot), why, fix)
    elif times is None and not zones:
        yield unknown("temperature", "no sensor is visible here")
    else:
        yield fine("temperature", "no core was slowed down")


def _near_trip(zone: Path) -> str | None:
    """The zone with its temperature, if it is near the point at which it is cooled down."""
    now = read_int(zone / "temp")
    trips = [
        value
        for kind in zone.glob("trip_point_*_type")
        if read_text(kind) in _TRIPS
        and (value := read_int(zone / kind.name.replace("_type", "_temp"))) is not None
        and value > 0
    ]
    if now is None or not trips or now < min(trips) - NEAR_TRIP_C * 1e3:
        return None
    name = read_text(zone / "type") or zone.name
    return f"{name} at {now / 1e3:.0f} °C, limit {min(trips) / 1e3:.0f} °C"


CHECKS = (
    clock_source,
    timer,
    governor,
    boost,
    smt,
    cpu_quota,
    threads,
    swap,
    huge_pages,
    virtual,
    power_supply,
    thermal,
)
