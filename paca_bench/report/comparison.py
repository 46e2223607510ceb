"""Several runs side by side: the latency of the same case, as a ratio with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.analyse.curves import Row, records
from paca_bench.analyse.statistics import Estimate, ratio_estimate
from paca_bench.report.places import is_measured, plain

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class RatioRow:
    """One case measured in the first run and in ``run``.

    ``ratio`` is ``run``'s latency over the first run's; ``kernels`` says where the two took
    different kernel paths, so that the ratio is not of the same code.
    """

    run: str
    case_id: str
    first_s: float
    other_s: float
    ratio: Estimate
    kernels: str

    @property
    def reading(self) -> str:
        """What the interval says of this one case, without a correction for many cases."""
        if self.ratio.high < 1:
            return "faster"
        return "slower" if self.ratio.low > 1 else "not distinguishable"


def latency_ratios(frame: pd.DataFrame, runs: list[str]) -> list[RatioRow]:
    """Every case whose latency was measured in the first run and in a later one."""
    measured: list[Row] = [
        row
        for row in records(frame)
        if is_measured(row, "latency_s", "latency") and row["latency_samples_s"]
    ]
    first = {row["case_hash"]: row for row in measured if row["run"] == runs[0]}
    return [
        _ratio_row(first[row["case_hash"]], row)
        for row in measured
        if row["run"] != runs[0] and row["case_hash"] in first
    ]


def _ratio_row(first: Row, other: Row) -> RatioRow:
    paths = [str(plain(row["kernel_path"]) or "not recorded") for row in (first, other)]
    return RatioRow(
        run=other["run"],
        case_id=other["case_id"],
        first_s=first["latency_s"],
        other_s=other["latency_s"],
        ratio=ratio_estimate(other["latency_samples_s"], first["latency_samples_s"]),
        kernels="" if paths[0] == paths[1] else f"{paths[0]} → {paths[1]}",
    )
