"""What a resolution must fit: a size of memory, a latency, a number of MACs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from paca_bench.axes import shown
from paca_bench.errors import SpecError
from paca_bench.units import format_bytes, format_count, format_seconds

LimitKind = Literal["memory", "latency", "macs"]

_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_BYTES = {
    **{f"{prefix}b": size for prefix, size in _DECIMAL.items()},
    **{f"{prefix}ib": 2**power for prefix, power in zip("kmgt", (10, 20, 30, 40), strict=True)},
}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "min": 60.0}
# kind -> (unit -> its size, an example, display)
_UNITS: Mapping[LimitKind, tuple[Mapping[str, float], str]] = {
    "memory": (_BYTES, "16GB or 15GiB"),
    "latency": (_SECONDS, "50ms or 0.2s"),
    "macs": (_DECIMAL, "5G or 800M"),
}
_SHOWN: Mapping[LimitKind, Callable[[float], str]] = {
    "memory": format_bytes,
    "latency": format_seconds,
    "macs": lambda count: format_count(count, "MACs"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """``kind`` says of what; ``value`` in bytes, seconds or multiply-accumulates.

    ``given`` is the limit as it was typed.
    """

    kind: LimitKind
    value: float
    given: str

    def text(self, value: float) -> str:
        """A quantity of this kind for display."""
        return _SHOWN[self.kind](value)


def make_limits(given: Mapping[LimitKind, str | None]) -> list[Limit]:
    """The limits that were given.

    Raises:
        SpecError: there is none, or one is not a quantity of its kind.
    """
    limits = [
        Limit(kind, _parse(kind, text), text.strip())
        for kind, text in given.items()
        if text is not None
    ]
    if not limits:
        raise SpecError("no limit given; add --memory 16GB, --latency 50ms or --macs 5G")
    return limits


def _parse(kind: LimitKind, text: str) -> float:
    units, example = _UNITS[kind]
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) *([a-zµ]*)", text.strip().lower())
    value = float(match[1]) * units[match[2]] if match and match[2] in units else 0.0
    if not 0 < value < math.inf:
        raise SpecError(f"--{kind} {shown(text)} is not a limit; write it with its unit: {example}")
    return value
