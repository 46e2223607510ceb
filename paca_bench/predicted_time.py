"""What measuring a case is predicted to take. Rough, for sharing out the budget only."""

from __future__ import annotations

from dataclasses import dataclass

from paca_bench.complexity.roofline import Ceilings
from paca_bench.environment import usable_cores
from paca_bench.record import Case

# Rough costs, for sharing out the budget only; no figure is ever derived from them.
EFFICIENCY = 0.35
# Calls of a mode in units of a forward pass; a checkpointed one runs its blocks twice.
MODE_FACTORS = {"forward": 1.0, "train": 3.0, "checkpointed": 4.0}
CALL_OVERHEAD_S = {"layer": 0.2e-3, "host": 8e-3, "model": 10e-3}
PROCESS_START_S = 0.05
# A process that compiles imports a compiler, traces and compiles; the first for all others.
COMPILE_START_S = 15.0
SECONDS_PER_UNIT = 0.4
# A process's first call warms up, a second shows that it has, a third is a sample.
CALLS_PER_UNIT = 3
# A case's first process also checks the output, against float64.
CALLS_OF_CHECK = 4
CALLS_OF_MEMORY = 5
# How long the counter of the energy is to run, so that its steps are small against it.
SECONDS_OF_ENERGY = 2.0
# Reading the data set and building the optimizer, before a training's first step.
FIT_START_S = 1.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What predictions need to know of a device: its matrix product rate, and its ceilings.

    ``ceilings`` is None before they were measured.
    """

    macs_per_s: float
    ceilings: Ceilings | None = None

    @classmethod
    def measured(cls, ceilings: Ceilings) -> Machine:
        """From what was measured on the device."""
        return cls(ceilings.macs_per_s["float32"], ceilings)

    @classmethod
    def nominal(cls, device: str) -> Machine:
        """A guess before anything has run: 20 GMAC/s a core, 20 TMAC/s a GPU."""
        if device.startswith("cuda"):
            return cls(2e13)
        return cls(2e10 * usable_cores())


def call_seconds(case: Case, macs: int, machine: Machine) -> float:
    """One call of a case whose forward pass of an image takes ``macs``."""
    rate = EFFICIENCY * machine.macs_per_s
    return MODE_FACTORS[case.mode] * (CALL_OVERHEAD_S[case.level] + case.batch * macs / rate)


def unit_seconds(call_s: float, slice_s: float = SECONDS_PER_UNIT) -> float:
    """What one latency process takes, whose calls take ``call_s``."""
    return PROCESS_START_S + max(slice_s, CALLS_PER_UNIT * call_s)


def start_seconds(case: Case) -> float:
    """What a process of a case that is compiled takes before its first call is done."""
    return COMPILE_START_S if case.compile != "none" else 0.0


def memory_seconds(call_s: float) -> float:
    """What measuring the memory of a call takes, prediction included."""
    return 4 * PROCESS_START_S + CALLS_OF_MEMORY * call_s


def energy_seconds(call_s: float) -> float:
    """What measuring the energy of a call takes."""
    return PROCESS_START_S + max(SECONDS_OF_ENERGY, 2 * call_s) + call_s


def budget_flag(seconds: float) -> str:
    """The option that gives more than ``seconds``, in whole minutes."""
    return f"--budget {int(seconds // 60) + 1}m"
