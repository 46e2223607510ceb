"""Text of the command line to shapes and settings."""

from __future__ import annotations

import re
from typing import Any

from paca_bench.axes import MAX_RESOLUTION, shown
from paca_bench.errors import SpecError

_SIZE = re.compile(r"([0-9]{1,9})(?:x([0-9]{1,9}))?")


def parse_grid(text: str) -> tuple[int, int]:
    """``56x48`` or ``56`` to (H, W).

    Raises:
        SpecError: neither.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise SpecError(f"--grid {shown(text)} is not a grid of tokens; write HxW, such as 56x56")
    return int(match[1]), int(match[2] or match[1])


def parse_resolution(text: str) -> tuple[int, int]:
    """``256x192`` or ``224`` to (height, width); any size, unlike a sweep's.

    Raises:
        SpecError: neither, or a side beyond what a sweep takes.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise SpecError(
            f"--res {shown(text)} is not the size of an image; write a side or HxW, "
            f"such as 224 or 256x192"
        )
    size = int(match[1]), int(match[2] or match[1])
    if not 1 <= min(size) <= max(size) <= MAX_RESOLUTION:
        raise SpecError(f"--res {text}: a side is 1 to {MAX_RESOLUTION} pixels")
    return size


def parse_option(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``, the value an integer, several by comma, a float, true/false or text.

    Raises:
        SpecError: there is no ``=``.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SpecError(f"--option {shown(text)} is not NAME=VALUE, such as window_size=8")
    for convert in (int, _integers, float):
        try:
            return name, convert(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value.lower(), value)


def _integers(text: str) -> tuple[int, ...]:
    """``100,100,100,0``; raises ValueError for anything else."""
    parts = text.split(",")
    if len(parts) == 1:
        raise ValueError
    return tuple(int(part) for part in parts)
