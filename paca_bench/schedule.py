"""Which cases get a latency process next: the budget goes where it completes the most. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paca_bench.plan import PlannedCase

MAX_PROCESSES = 12


@dataclass(frozen=True, slots=True)
class Need:
    """A case that wants one more process.

    Attributes:
        planned: the case.
        processes: how many it has.
        unit_s: seconds that one more is expected to take.
        half_width: relative half-width of its interval so far; infinite without one.
    """

    planned: PlannedCase
    processes: int
    unit_s: float
    half_width: float


def next_round(
    needs: Sequence[Need], *, minimum: int, precision: float, remaining_s: float
) -> list[Need]:
    """The cases of the next round, each for one process; empty when nothing more fits.

    First those that can be brought to ``minimum`` processes in the time that remains, the
    cheapest first, so that as many points as possible get an interval. Where none can, cases
    without any process get one, for a point with a wide interval is better than a hole. What
    time is left narrows intervals wider than ``precision``, the widest first.
    """
    short = [need for need in needs if need.processes < minimum]
    affordable = _cheapest(short, lambda n: (minimum - n.processes) * n.unit_s, remaining_s)
    if affordable:
        return affordable
    single = _cheapest([n for n in short if not n.processes], lambda n: n.unit_s, remaining_s)
    if single:
        return single
    wide = [n for n in needs if n.half_width > precision and n.unit_s <= remaining_s]
    return sorted(wide, key=lambda n: (-n.half_width, n.planned.case.id))


def _cheapest(
    needs: Sequence[Need], cost: Callable[[Need], float], remaining_s: float
) -> list[Need]:
    """As many as fit together, the cheapest first."""
    chosen = []
    for need in sorted(needs, key=lambda n: (cost(n), n.planned.case.id)):
        remaining_s -= cost(need)
        if remaining_s < 0:
            break
        chosen.append(need)
    return chosen
