"""What happened to the machine while samples were taken, and which of them it disturbed.

Snapshots (``watch.Watch``) are taken outside of the timed region, before and after each sample
or each group of them; ``difference`` says what happened in between. A disturbed sample is kept
and marked, never dropped: leaving out what looks slow would bias the estimate.

Every rule of ``disturbed`` turns a counter into a share of the sample's duration, because a
millisecond that a neighbour took is nothing in a second and everything in a microsecond:

=================  =====================================================================
reason             a sample is marked where
=================  =====================================================================
waited for a core  a thread was ready to run and had no core for over 1% of the sample;
                   where the kernel does not say for how long, where involuntary context
                   switches exceed the usual number by over 3 standard deviations of a
                   Poisson law
page faults        those beyond the usual number cost over 1%, at ``FAULT_S`` each
disk               major faults beyond the usual number: each waited for a disk
throttled          the control group had spent its CPU quota at least once
stolen             the hypervisor gave over 1% of the sample to others; the counter moves
                   in ticks of 10 ms, so the mark of a shorter sample may be its neighbour's
clock              the CPU's, or the GPU's SM clock was over 5% below the usual one
GPU throttled      NVML names a reason, such as the power cap or a thermal slowdown
=================  =====================================================================

Load average, CPU pressure and voluntary switches are recorded without a rule: the first two
count the neighbours' troubles with ours, and the last are how threads wait for each other.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from paca_bench.measure.nvml import GpuReading
from paca_bench.units import format_percent, format_seconds

Number = TypeVar("Number", int, float)

# A share of a sample's duration: half of the precision that a sweep aims at by default.
DISTURBED_SHARE = 0.01
CLOCK_WITHIN = 0.05
# What a fault of a 4 KiB page costs: entry, exit and zeroing. About 0.25 µs on bare metal; a
# layer that took 286 ms longer with 288,000 faults in a virtual machine paid 1 µs for each.
FAULT_S = 0.5e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Counters at one moment; see ``Conditions`` for what they count."""

    at_s: float
    user_s: float
    system_s: float
    minor_faults: int
    major_faults: int
    voluntary_switches: int
    involuntary_switches: int
    waiting_s: Mapping[int, float] = field(default_factory=dict)
    stolen_s: float | None = None
    throttles: int | None = None
    throttled_s: float | None = None
    pressure_s: float | None = None
    frequency_hz: float | None = None
    load: float | None = None
    gpu: GpuReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What happened between two snapshots. None where the machine does not say.

    Attributes:
        wall_s: between the snapshots.
        user_s: CPU time of this process's threads in user mode.
        system_s: the same in the kernel; page faults are here.
        minor_faults: pages mapped without a disk.
        major_faults: pages read from a disk.
        voluntary_switches: a thread had nothing to do.
        involuntary_switches: a thread was sent away from its core.
        waited_s: the longest time that one thread was ready to run and had no core.
        stolen_s: what a hypervisor gave to others, over all CPUs of this machine.
        throttles: periods in which the control group had spent its CPU quota.
        throttled_s: how long its threads stood still for it.
        pressure_s: time in which any process of this machine waited for a core.
        frequency_hz: of the fastest core that may be used, at the slower of both moments.
        load: the load average over a minute, at the end.
        gpu: lowest clocks, highest temperature and power, all reasons of both moments.
    """

    wall_s: float
    user_s: float
    system_s: float
    minor_faults: int
    major_faults: int
    voluntary_switches: int
    involuntary_switches: int
    waited_s: float | None = None
    stolen_s: float | None = None
    throttles: int | None = None
    throttled_s: float | None = None
    pressure_s: float | None = None
    frequency_hz: float | None = None
    load: float | None = None
    gpu: GpuReading | None = None

    @property
    def fault_share(self) -> float:
        """The share of the time that page faults took, at ``FAULT_S`` each.

        Where it is large in every sample, the allocator is measured and not the mechanism.
        """
        return self.minor_faults * FAULT_S / self.wall_s

    def to_json(self) -> dict[str, Any]:
        """All values as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What undisturbed samples of the same call have: medians over samples of a warm state."""

    minor_faults: float = 0.0
    major_faults: float = 0.0
    involuntary_switches: float = 0.0
    frequency_hz: float | None = None
    sm_clock_hz: float | None = None


def difference(before: Snapshot, after: Snapshot) -> Conditions:
    """What happened between two snapshots of one ``Watch``."""
    waits = [
        after.waiting_s[task] - waited
        for task, waited in before.waiting_s.items()
        if task in after.waiting_s
    ]
    return Conditions(
        wall_s=after.at_s - before.at_s,
        user_s=after.user_s - before.user_s,
        system_s=after.system_s - before.system_s,
        minor_faults=after.minor_faults - before.minor_faults,
        major_faults=after.major_faults - before.major_faults,
        voluntary_switches=after.voluntary_switches - before.voluntary_switches,
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        # Threads wait for each other, so the one that was held up longest holds up the call.
        waited_s=max(waits, default=None),
        stolen_s=_less(after.stolen_s, before.stolen_s),
        throttles=_less(after.throttles, before.throttles),
        throttled_s=_less(after.throttled_s, before.throttled_s),
        pressure_s=_less(after.pressure_s, before.pressure_s),
        frequency_hz=_extreme(min, before.frequency_hz, after.frequency_hz),
        load=after.load,
        gpu=_both(before.gpu, after.gpu),
    )


def usual_of(samples: Sequence[Conditions]) -> Usual:
    """The medians over the samples of one call, of which most must be undisturbed."""

    def median(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    return Usual(
        minor_faults=median([one.minor_faults for one in samples]) or 0.0,
        major_faults=median([one.major_faults for one in samples]) or 0.0,
        involuntary_switches=median([one.involuntary_switches for one in samples]) or 0.0,
        frequency_hz=median([one.frequency_hz for one in samples]),
        sm_clock_hz=median([one.gpu.sm_clock_hz for one in samples if one.gpu]),
    )


def disturbed(conditions: Conditions, usual: Usual) -> tuple[str, ...]:
    """Why a sample is disturbed, in words with the figures; empty if it is not.

    The rules are in the table at the top of this module.
    """
    reasons = [*_held_up(conditions, usual), *_slowed(conditions, usual)]
    return tuple(reasons)


def _held_up(conditions: Conditions, usual: Usual) -> list[str]:
    """Time that was lost."""
    found = []
    wall_s = conditions.wall_s
    limit_s = DISTURBED_SHARE * wall_s
    if conditions.waited_s is None:
        switches, expected = conditions.involuntary_switches, usual.involuntary_switches
        if switches > expected + 3 * math.sqrt(expected):
            found.append(f"sent away from a core {switches} times, usually {expected:.0f}")
    elif conditions.waited_s > limit_s:
        found.append(f"waited {format_seconds(conditions.waited_s)} for a core")
    excess = conditions.minor_faults - usual.minor_faults
    if excess * FAULT_S > limit_s:
        found.append(f"{excess:.0f} page faults more than usual")
    if conditions.major_faults > usual.major_faults:
        found.append(f"waited for a disk {conditions.major_faults} times (major faults)")
    if conditions.throttles:
        found.append(f"throttled by the CPU quota {conditions.throttles} times")
    if (conditions.stolen_s or 0.0) > limit_s:
        found.append(f"the hypervisor took {format_seconds(conditions.stolen_s or 0.0)}")
    return found


def _slowed(conditions: Conditions, usual: Usual) -> list[str]:
    """Clocks that were low."""
    found = []
    gpu = conditions.gpu or GpuReading()
    for what, now, before in (
        ("CPU", conditions.frequency_hz, usual.frequency_hz),
        ("SM", gpu.sm_clock_hz, usual.sm_clock_hz),
    ):
        if now and before and now < (1 - CLOCK_WITHIN) * before:
            below = format_percent(1 - now / before, 0)
            found.append(f"{what} clock {now / 1e6:.0f} MHz, {below} below the usual")
    found += [f"GPU throttled: {reason}" for reason in gpu.throttled_by]
    return found


def _less(after: Number | None, before: Number | None) -> Number | None:
    return None if after is None or before is None else after - before


def _extreme(choose: Callable[[list[float]], float], *values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None


def _both(before: GpuReading | None, after: GpuReading | None) -> GpuReading | None:
    """The worst of two readings."""
    if before is None or after is None:
        return None
    reasons = (
        None
        if before.reasons is None and after.reasons is None
        else tuple(dict.fromkeys((*(before.reasons or ()), *(after.reasons or ()))))
    )
    return GpuReading(
        sm_clock_hz=_extreme(min, before.sm_clock_hz, after.sm_clock_hz),
        memory_clock_hz=_extreme(min, before.memory_clock_hz, after.memory_clock_hz),
        temperature_c=_extreme(max, before.temperature_c, after.temperature_c),
        power_w=_extreme(max, before.power_w, after.power_w),
        reasons=reasons,
    )
