"""What was not measured, by kind, and the flag that would get it measured."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.record import Status
from paca_bench.report.places import Row

if TYPE_CHECKING:
    import pandas as pd

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")

# What to do about a status; a reason that names its own flags overrules it.
_ADVICE = {
    Status.OVER_BUDGET: "raise --budget and continue the run with --resume",
    Status.PREDICTED_OUT_OF_MEMORY: "lower --batch or --res, or choose a --device with more memory",
    Status.OUT_OF_MEMORY: "lower --batch or --res, or choose a --device with more memory",
    Status.INTERRUPTED: "continue the run with --resume",
    Status.NOT_SUPPORTED: "choose another --device or --dtype",
    Status.TIMEOUT: "raise --timeout",
    Status.CRASH: "see the reason; the case is at fault, or the machine",
    Status.ERROR: "see the reason; the case is at fault",
    Status.WRONG: "fix the mechanism: its output differs from the reference",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """All missing values of one metric group that ended with the same status."""

    group: str
    status: str
    advice: str
    rows: list[Row]

    @property
    def cases(self) -> int:
        """How many cases are concerned."""
        return len({(row.get("run"), row["case_id"]) for row in self.rows})

    @property
    def line(self) -> str:
        """``latency of 3 cases: over budget (raise --budget ...)``."""
        noun = "case" if self.cases == 1 else "cases"
        return f"{self.group} of {self.cases} {noun}: {self.status} ({self.advice})"


def kinds(missing: pd.DataFrame) -> list[Kind]:
    """The rows of ``analyse.summary.unmeasured``, grouped, the most frequent kind first."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in missing.to_dict("records"):
        grouped.setdefault((str(row["group"]), str(row["status"])), []).append(row)
    found = [
        Kind(group, status.replace("_", " "), advice(status, (r["reason"] for r in rows)), rows)
        for (group, status), rows in grouped.items()
    ]
    return sorted(found, key=lambda kind: (-kind.cases, kind.group, kind.status))


def advice(status: str, reasons: Iterable[object]) -> str:
    """What would get a case of this status measured: the flags its reasons name, if any."""
    flags = dict.fromkeys(flag for reason in reasons for flag in _FLAG.findall(str(reason)))
    if flags:
        return "change " + ", ".join(flags)
    return _ADVICE.get(Status(status), "see the reason")
