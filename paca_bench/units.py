"""Numbers to display text: seconds, bytes, counts. Rounding happens here and nowhere else."""

from __future__ import annotations

import math

_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTE_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_COUNT_UNITS = ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def significant(value: float, digits: int = 3) -> str:
    """``value`` to ``digits`` significant digits, without exponent where it stays readable."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = _rounded(value, digits)
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    if -3 <= decimals <= 6:
        return f"{rounded:.{max(decimals, 0)}f}"
    return f"{value:.{digits - 1}e}"


def format_seconds(seconds: float) -> str:
    """``0.00123`` -> ``1.23 ms``; from two minutes on ``3 min 20 s``, ``15 min``, ``2 h 5 min``."""
    if not math.isfinite(seconds):
        return f"{seconds:g} s"
    sign, whole = "-" if seconds < 0 else "", round(abs(seconds))
    if whole >= 7200:
        hours, rest = divmod(round(whole / 60), 60)
        return f"{sign}{hours} h" + (f" {rest} min" if rest else "")
    if whole >= 120:
        minutes, rest = divmod(whole, 60)
        return f"{sign}{minutes} min" + (f" {rest} s" if rest else "")
    for scale, unit in _TIME_UNITS:
        if abs(_rounded(seconds)) >= scale:
            return f"{significant(seconds / scale)} {unit}"
    return "0 s" if seconds == 0 else f"{significant(seconds / 1e-9)} ns"


def format_bytes(count: float) -> str:
    """``1536`` -> ``1.50 KiB`` (powers of 1024, named as such)."""
    for scale, unit in _BYTE_UNITS:
        # A size that three digits would show as 1024 of the next smaller unit is one of these.
        if abs(count) >= scale * (1 - 1 / 2048):
            return f"{significant(count / scale)} {unit}"
    return f"{count:.0f} B"


def format_count(count: float, unit: str = "") -> str:
    """``3219262208`` -> ``3.22 G`` (powers of 1000), with ``unit`` after the prefix."""
    for scale, prefix in _COUNT_UNITS:
        if abs(_rounded(count)) >= scale:
            return f"{significant(count / scale)} {prefix}{unit}"
    return f"{count:.0f} {unit}".rstrip()


def _rounded(value: float, digits: int = 3) -> float:
    """``value`` to ``digits`` significant digits: what decides which unit it is shown in."""
    return float(f"{value:.{digits - 1}e}")


def format_percent(fraction: float, decimals: int = 1) -> str:
    """``0.9534`` -> ``95.3%``."""
    return f"{100 * fraction:.{decimals}f}%"
