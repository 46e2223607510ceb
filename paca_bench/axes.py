"""Text from the command line or a suite to the values of a sweep's axes, and back to errors."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from paca_bench.errors import SpecError

RESOLUTION_STEP = 32
MAX_RESOLUTION = 16384
LADDER_POINTS = 6
NUM_STAGES = 4
MAX_CLUSTERS = 1 << 20

Size = tuple[int, int]
T = TypeVar("T")

_RANGE_HELP = "give A..B (about six sizes), A..B:STEP, A..B/COUNT or a list such as 224,384,256x192"
_DURATION_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
# Ten digits: no number that means anything here is longer, and Python refuses to convert
# some thousands of them.
_DIGITS = "([0-9]{1,10})"
_SHOWN_LENGTH = 60


def parse_resolutions(text: str, name: str = "--res") -> tuple[Size, ...]:
    """Image sizes (height, width) in pixels, each a multiple of 32, ascending, no repeats.

    ``224..1024`` is a ladder of about six sizes evenly spaced in log, both ends kept;
    ``224..1024:160`` steps by 160; ``224..1024/9`` takes nine; ``224,384,256x192`` is a list,
    whose items may be ranges. ``name`` is the option, for messages.

    Raises:
        SpecError: the text is none of these, a size is not a multiple of 32, or a range is
            reversed.
    """
    items = [item.strip() for item in str(text).split(",")]
    sizes = [size for item in items for size in _parse_item(item, name)]
    return tuple(sorted(set(sizes), key=lambda size: (size[0] * size[1], size)))


def _parse_item(item: str, name: str) -> list[Size]:
    given = f"{name} {item}"
    if match := re.fullmatch(rf"{_DIGITS}\.\.{_DIGITS}(?:(:|/){_DIGITS})?", item):
        low, high = _side(match[1], given), _side(match[2], given)
        if low > high:
            raise SpecError(f"{given} is reversed: write {high}..{low}")
        if match[3] is None:
            sides = _ladder(low, high, LADDER_POINTS)
        elif match[3] == ":":
            sides = _steps(low, high, int(match[4]), given)
        else:
            sides = _counted(low, high, int(match[4]), given)
        return [(side, side) for side in sides]
    if match := re.fullmatch(f"{_DIGITS}(?:x{_DIGITS})?", item):
        height = _side(match[1], given)
        return [(height, _side(match[2], given) if match[2] else height)]
    raise SpecError(f"{name} {shown(item)} is not a resolution; {_RANGE_HELP}")


def _side(text: str, given: str) -> int:
    side = int(text)
    if side < RESOLUTION_STEP or side > MAX_RESOLUTION or side % RESOLUTION_STEP:
        near = min(max(round(side / RESOLUTION_STEP), 1) * RESOLUTION_STEP, MAX_RESOLUTION)
        raise SpecError(
            f"{given}: {side} pixels is not a multiple of {RESOLUTION_STEP} between "
            f"{RESOLUTION_STEP} and {MAX_RESOLUTION}, which the four-stage pyramid needs; "
            f"the nearest is {near}"
        )
    return side


def _ladder(low: int, high: int, count: int) -> list[int]:
    """At most ``count`` multiples of 32, evenly spaced in log, both ends kept."""
    if low == high:
        return [low]
    ratio = math.log(high / low) / (count - 1)
    inner = (low * math.exp(ratio * i) for i in range(1, count - 1))
    rounded = (round(side / RESOLUTION_STEP) * RESOLUTION_STEP for side in inner)
    return sorted({low, high, *rounded})


def _steps(low: int, high: int, step: int, given: str) -> list[int]:
    if step == 0 or step % RESOLUTION_STEP:
        raise SpecError(f"{given}: the step must be a multiple of {RESOLUTION_STEP}")
    return list(range(low, high + 1, step))


def _counted(low: int, high: int, count: int, given: str) -> list[int]:
    available = (high - low) // RESOLUTION_STEP + 1
    if not (2 if high > low else 1) <= count <= available:
        raise SpecError(
            f"{given}: {count} sizes cannot be taken; there are {available} multiples of "
            f"{RESOLUTION_STEP} in the range, and both ends are kept"
        )
    sides = _ladder(low, high, count)
    if len(sides) < count:
        possible = next(n for n in range(count, 1, -1) if len(_ladder(low, high, n)) == n)
        raise SpecError(
            f"{given}: {count} sizes evenly spaced in log fall together on multiples of "
            f"{RESOLUTION_STEP}; take at most {possible}, or a step (A..B:STEP)"
        )
    return sides


def parse_duration(text: str | float, name: str = "--budget") -> float:
    """Seconds from ``90``, ``90s``, ``5m``, ``1h30m``.

    Raises:
        SpecError: not a positive duration.
    """
    cleaned = str(text).strip().lower()
    number = r"[0-9]+(\.[0-9]+)?"
    if re.fullmatch(number, cleaned):
        seconds = float(cleaned)
    elif cleaned and re.fullmatch(rf"({number}h)?({number}m)?({number}s)?", cleaned):
        parts = re.findall(r"([\d.]+)([hms])", cleaned)
        seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
    else:
        seconds = 0.0
    if seconds <= 0 or not math.isfinite(seconds):
        raise SpecError(f"{name} {shown(text)} is not a duration; write 90s, 5m or 1h30m")
    return seconds


def parse_integers(value: object, name: str, low: int, high: int) -> tuple[int, ...]:
    """Distinct integers from ``"25,49,100"``, a list or one integer, in the order given.

    Raises:
        SpecError: an item is not an integer from ``low`` to ``high``.
    """
    numbers = []
    for item in _items(value):
        text = str(item).strip()
        if not re.fullmatch(f"-?{_DIGITS}", text) or not low <= int(text) <= high:
            raise SpecError(f"{name} {shown(item)} is not an integer from {low} to {high}")
        numbers.append(int(text))
    return _distinct(numbers, name)


def parse_clusters(value: object, name: str = "--clusters") -> tuple[int | str, ...]:
    """Numbers of clusters M from ``"49,100,49-64-81-100"`` or a list, in the order given.

    A number is M of every stage that has clusters; four, joined by ``-``, are those of the four
    stages and stay text.

    Raises:
        SpecError: an item is neither.
    """
    counts: list[int | str] = []
    for item in _items(value):
        parts = str(item).strip().split("-")
        if len(parts) not in (1, NUM_STAGES) or not all(map(_is_count, parts)):
            raise SpecError(
                f"{name} {shown(item)} is not an integer from 0 to {MAX_CLUSTERS}, nor one for "
                f"each of the {NUM_STAGES} stages, such as 49-64-81-100"
            )
        numbers = [int(part) for part in parts]
        counts.append(numbers[0] if len(numbers) == 1 else "-".join(map(str, numbers)))
    return _distinct(counts, name)


def _is_count(text: str) -> bool:
    return re.fullmatch(_DIGITS, text) is not None and int(text) <= MAX_CLUSTERS


def clusters_by_stage(text: str) -> tuple[int, ...]:
    """M of each stage from ``49-64-81-100``, as ``parse_clusters`` leaves it."""
    return tuple(int(part) for part in text.split("-"))


def parse_choices(value: object, name: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Distinct words from ``"a,b"`` or a list, each among ``allowed``.

    Raises:
        SpecError: an item is not allowed; the message names the nearest that is.
    """
    words = [str(item).strip() for item in _items(value)]
    for word in words:
        if word not in allowed:
            raise SpecError(f"{name} {shown(word)} does not exist; {suggest(word, allowed)}")
    return _distinct(words, name)


def suggest(word: str, allowed: Iterable[str]) -> str:
    """``did you mean ...? choose from ...``."""
    allowed = list(allowed)
    near = difflib.get_close_matches(word, allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}choose from {', '.join(allowed)}"


def shown(value: object) -> str:
    """``repr`` of what the user gave, cut where it would drown the message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        return [item for item in value.split(",") if item.strip()]
    if isinstance(value, list | tuple):
        return list(value)
    return [value]


def _distinct(items: list[T], name: str) -> tuple[T, ...]:
    if not items:
        raise SpecError(f"{name} is empty; give at least one value")
    return tuple(dict.fromkeys(items))
