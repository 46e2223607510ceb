"""Checks of each GPU: its clocks, its settings, and who else uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paca_bench.doctor.finding import Finding, Severity, fine, unknown
from paca_bench.doctor.scene import Scene, family
from paca_bench.measure.nvml import LOCKED, Gpu, GpuReading

CLOCK_WITHIN = 0.01


def check_gpu(gpu: Gpu, scene: Scene) -> Iterator[Finding]:
    """All findings on one GPU, with its name in theirs."""
    readings = scene.meanwhile.gpus.get(gpu.name, ())
    yield from _clocks(gpu, readings)
    yield from _throttling(gpu, readings)
    yield from _settings(gpu)
    yield from _users(gpu, scene)


def _clocks(gpu: Gpu, readings: Sequence[GpuReading]) -> Iterator[Finding]:
    name = f"{gpu.name} clocks"
    clocks = [one.sm_clock_hz for one in readings if one.sm_clock_hz]
    locked = any(LOCKED in (one.reasons or ()) for one in readings)
    if not clocks:
        yield unknown(name, "NVML does not say")
        return
    low, high = (f"{clock / 1e6:.0f}" for clock in (min(clocks), max(clocks)))
    if locked:
        yield fine(name, f"locked, {low} to {high} MHz seen")
        return
    steady = min(clocks) >= (1 - CLOCK_WITHIN) * max(clocks)
    top = gpu.settings().max_sm_clock_hz
    # Below the maximum, so that it can be held under load as well.
    advice = "BASE_CLOCK_MHZ" if top is None else f"{0.75 * top / 1e6:.0f}"
    yield Finding(
        name,
        Severity.NOTE if steady else Severity.WARNING,
        f"not locked: {low} to {high} MHz seen",
        "the clock follows load and temperature, so the same kernel takes different times.",
        f"sudo nvidia-smi -i {gpu.index} -lgc {advice} (undo: -rgc)",
    )


def _throttling(gpu: Gpu, readings: Sequence[GpuReading]) -> Iterator[Finding]:
    name = f"{gpu.name} throttling"
    if not any(one.reasons is not None for one in readings):
        yield unknown(name, "NVML does not say")
        return
    reasons = dict.fromkeys(reason for one in readings for reason in one.throttled_by)
    if not reasons:
        yield fine(name, "none seen")
        return
    hot = any("thermal" in reason or "slowdown" in reason for reason in reasons)
    instead = "improve the cooling" if hot else f"nvidia-smi -i {gpu.index} -pl WATTS"
    yield Finding(
        name,
        Severity.PROBLEM if hot else Severity.WARNING,
        ", ".join(reasons),
        "the GPU runs below its clock, and how far depends on what it did before.",
        f"lock a lower clock: sudo nvidia-smi -i {gpu.index} -lgc MHZ; or {instead}",
    )


def _settings(gpu: Gpu) -> Iterator[Finding]:
    settings = gpu.settings()
    name = f"{gpu.name} persistence mode"
    if settings.persistence is None:
        yield unknown(name, "NVML does not say")
    elif settings.persistence:
        yield fine(name, "on")
    else:
        yield Finding(
            name,
            Severity.WARNING,
            "off",
            "the driver is unloaded between processes: each starts late, and with other clocks.",
            f"sudo nvidia-smi -i {gpu.index} -pm 1",
        )
    if settings.mig:
        yield Finding(
            f"{gpu.name} MIG",
            Severity.NOTE,
            "on",
            "the other instances share the power limit and the clocks.",
            f"sudo nvidia-smi -i {gpu.index} -mig 0, if the whole GPU is yours",
        )
    if settings.ecc is not None:
        # Memory is slower with it on some cards; only a difference between machines matters.
        yield fine(f"{gpu.name} ECC", "on" if settings.ecc else "off")


def _users(gpu: Gpu, scene: Scene) -> Iterator[Finding]:
    name = f"{gpu.name} other processes"
    found = gpu.settings().processes
    if found is None:
        yield unknown(name, "NVML does not say")
        return
    processes = scene.sources.processes()
    own = family(processes, scene.sources.pid)
    others = [
        f"{processes[pid].name} ({pid})" if pid in processes else str(pid)
        for pid in found
        if pid not in own
    ]
    if not others:
        yield fine(name, "none")
    else:
        yield Finding(
            name,
            Severity.PROBLEM,
            ", ".join(others),
            "kernels of different processes take turns on a GPU, and share its memory.",
            f"end them, or take another GPU with --device; see nvidia-smi -i {gpu.index}",
        )
