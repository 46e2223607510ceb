"""Which case of BASE is which case of NEW."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from paca_bench.compare.sides import SideCase

Pair = tuple[SideCase, SideCase]


def pair_cases(
    base: Mapping[str, SideCase], new: Mapping[str, SideCase]
) -> tuple[list[Pair], list[SideCase], list[SideCase]]:
    """Pairs in BASE's order, and the cases of BASE and of NEW that are left alone.

    A case that is not on the other side under its own name is paired with one that differs in
    device or dtype only, where there is exactly one: its counts can still be compared, and a
    sentence can say what differs.
    """
    loose = _unique(case for key, case in new.items() if key not in base)
    candidates = _unique(case for key, case in base.items() if key not in new)
    pairs: list[Pair] = []
    alone: list[SideCase] = []
    taken: set[str] = set()
    for key, case in base.items():
        other = new.get(key)
        if other is None and case.loose_key in candidates:
            other = loose.get(case.loose_key)
        if other is None:
            alone.append(case)
        else:
            pairs.append((case, other))
            taken.add(other.key)
    return pairs, alone, [case for key, case in new.items() if key not in taken]


def _unique(cases: Iterable[SideCase]) -> dict[str, SideCase]:
    """Loose key -> the one case that has it."""
    found: dict[str, list[SideCase]] = defaultdict(list)
    for case in cases:
        found[case.loose_key].append(case)
    return {key: group[0] for key, group in found.items() if len(group) == 1}
