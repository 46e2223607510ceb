"""What was not measured, by kind, and the flag that would get it measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.analyse.curves import Row, records
from paca_bench.analyse.unmeasured import advice

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """All missing values of one metric group that ended with the same status."""

    group: str
    status: str
    advice: str
    rows: list[Row]

    @property
    def shown(self) -> list[Row]:
        """As many rows as are read."""
        return self.rows[:_MOST_ROWS]

    @property
    def cases(self) -> int:
        """How many cases are concerned."""
        return len({(row["run"], row["case_id"]) for row in self.rows})


def kinds(missing: pd.DataFrame) -> list[Kind]:
    """The rows of ``analyse.summary.unmeasured``, grouped, the most frequent kind first."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in records(missing):
        grouped.setdefault((str(row["group"]), str(row["status"])), []).append(row)
    found = [
        Kind(
            group, status.replace("_", " "), advice(status, (str(r["reason"]) for r in rows)), rows
        )
        for (group, status), rows in grouped.items()
    ]
    return sorted(found, key=lambda kind: (-kind.cases, kind.group, kind.status))
