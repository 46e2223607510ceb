"""What was asked for and not measured, why, and what would get it measured."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import pandas as pd

from paca_bench.analyse.curves import group_reason, records, resolution_text
from paca_bench.record import GROUPS, Status

_COLUMNS = (
    *("run", "case_id", "label", "level", "stage", "resolution", "mode"),
    *("group", "status", "reason", "predicted_wall_s"),
)
_READ = (
    *("run", "case_id", "label", "level", "stage", "height", "width", "mode"),
    *("reason", "predicted_wall_s"),
)
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")

# What to do about a status whose reasons name no flag.
_ADVICE = {
    Status.OVER_BUDGET: "raise --budget and continue with --resume",
    Status.INTERRUPTED: "continue with --resume",
    Status.PREDICTED_OUT_OF_MEMORY: "lower --batch or --res, or choose a --device with more memory",
    Status.OUT_OF_MEMORY: "lower --batch or --res, or choose a --device with more memory",
    Status.TIMEOUT: "raise --timeout",
    Status.NOT_SUPPORTED: "choose another --device or --dtype",
    Status.WRONG: "fix the mechanism, whose output differs from the reference",
}


def unmeasured(df: pd.DataFrame) -> pd.DataFrame:
    """One row per case and metric group that was asked for and did not end ``ok``.

    Columns: ``run``, ``case_id``, ``label``, ``level``, ``stage``, ``resolution`` (text:
    ``224`` or ``256x192``), ``mode``, ``group``, ``status``, ``reason`` (of that group,
    empty where none was recorded) and ``predicted_wall_s`` (seconds, of the whole case).
    """
    statuses = [f"{group}_status" for group in GROUPS if f"{group}_status" in df]
    failed = (df[statuses].notna() & (df[statuses] != Status.OK.value)).any(axis=1)
    columns = [*_READ, *statuses]
    rows = []
    for row in records(df.loc[failed, [name for name in columns if name in df]]):
        for group in GROUPS:
            status = row.get(f"{group}_status")
            if isinstance(status, str) and status != Status.OK.value:
                rows.append(
                    {
                        **{name: row[name] for name in _COLUMNS[:5]},
                        "resolution": resolution_text(row),
                        "mode": row["mode"],
                        "group": group,
                        "status": status,
                        "reason": group_reason(row, group),
                        "predicted_wall_s": row.get("predicted_wall_s", math.nan),
                    }
                )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def advice(status: str, reasons: Iterable[str]) -> str:
    """What would get cases of this status measured; flags that their reasons name count most."""
    usual = _ADVICE.get(Status(status), "see the reasons in the table")
    flags = dict.fromkeys(flag for reason in reasons for flag in _FLAG.findall(reason))
    if set(flags) <= set(_FLAG.findall(usual)):
        return usual
    return "change " + ", ".join(flags)
