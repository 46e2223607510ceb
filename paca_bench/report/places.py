"""Where numbers may be compared: a level, host, stage, batch, dtype, device and execution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paca_bench.analyse.curves import Row, group_reason, groups, records
from paca_bench.record import TRAININGS, Status

if TYPE_CHECKING:
    import pandas as pd

PLACE_AXES = ("level", "host", "stage", "batch", "dtype", "device", "execution")
_LEVEL_ORDER = {"host": 0, "model": 1, "layer": 2}


@dataclass(frozen=True)
class Place:
    """One place of a run, with its rows; ``title`` names only the axes that vary."""

    key: tuple[Any, ...]
    title: str
    rows: pd.DataFrame

    @property
    def level(self) -> str:
        """``host``, ``model`` or ``layer``."""
        return str(self.key[0])

    def by_mode(self) -> dict[str, list[Row]]:
        """The rows of each mode, ``forward`` first."""
        found: dict[str, list[Row]] = {}
        for row in records(self.rows):
            found.setdefault(row["mode"], []).append(row)
        return dict(sorted(found.items()))


def is_number(value: Any) -> bool:
    """True for a finite int or float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def plain(value: Any) -> Any:
    """None for NaN, an int for a float that is whole, anything else as it is."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return value


def place_key(row: Row) -> tuple[Any, ...]:
    """The place of a row, comparable between frames of different column types."""
    return tuple(plain(row[axis]) for axis in PLACE_AXES)


def timed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one pass (``forward``, ``train``), without the trainings."""
    return frame[~frame["mode"].isin(TRAININGS)]


def places(frame: pd.DataFrame) -> list[Place]:
    """All places with timed rows: hosts first, then layers stage by stage."""
    found = {
        tuple(plain(value) for value in axes.values()): rows
        for axes, rows in groups(timed(frame), PLACE_AXES)
    }
    distinct = sorted(found, key=_place_order)
    varying = [i for i in (3, 4, 5, 6) if len({key[i] for key in distinct}) > 1]
    return [Place(key, _title(key, varying), found[key]) for key in distinct]


def _place_order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    level, host, stage, batch, dtype, device, execution = key
    return (_LEVEL_ORDER.get(level, 3), host, stage or 0, execution, dtype, device, batch)


def _title(key: tuple[Any, ...], varying: list[int]) -> str:
    level, host, stage, *_ = key
    whole = f"{level} {host}" if host else f"{level}s"
    parts = [whole if stage is None else f"{level}, stage {stage} of {host}"]
    parts += [f"batch {key[i]}" if PLACE_AXES[i] == "batch" else str(key[i]) for i in varying]
    parts = [part or "torch's own way" for part in parts]
    return ", ".join(
        part[:1].upper() + part[1:] if n == 0 else part for n, part in enumerate(parts)
    )


def is_measured(row: Row, metric: str, group: str) -> bool:
    """True if the metric has a value that may be shown: a wrong result's speed may not.

    What belongs to no group, such as a prediction, may always be shown.
    """
    good = not group or row.get(f"{group}_status") == Status.OK
    return good and is_number(row.get(metric))


def is_censored(row: Row, group: str) -> bool:
    """True if the metric group was asked for and did not end well."""
    status = row.get(f"{group}_status")
    return isinstance(status, str) and status != Status.OK


def ending(row: Row, group: str) -> str:
    """How a group that was not measured ended, and why: ``over budget: predicted 41 min``."""
    status = str(row.get(f"{group}_status")).replace("_", " ")
    reason = group_reason(row, group)
    return f"{status}: {reason}" if reason else status
