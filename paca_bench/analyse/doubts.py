"""Figures that were measured and should be read with care: why, and what would help."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from paca_bench.analyse.curves import records

# Kind, as ``assemble`` records it in the details -> what is in doubt, why, and what would help.
_KINDS = {
    "disturbed": (
        "latency",
        "many samples were disturbed by something else on the machine",
        "see paca-bench doctor for what to mend",
    ),
    "short": (
        "latency",
        "a call takes not much longer than the clock tells apart",
        "raise --batch or --res",
    ),
    "launch_bound": (
        "latency",
        "the GPU waits for work to be launched",
        "raise --batch, or read the latency of the CUDA graph, latency_graph_s",
    ),
    "memory": (
        "peak memory",
        "the measured and the predicted peak are further apart than allowed",
        "report it: one of the two is wrong",
    ),
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """All cases of one kind.

    Attributes:
        metric: what is in doubt.
        why: in words.
        advice: what would help.
        cases: (run, case id, figures) of each.
    """

    metric: str
    why: str
    advice: str
    cases: list[tuple[str, str, str]]

    @property
    def sentence(self) -> str:
        """In one line."""
        count = len(self.cases)
        noun = "case" if count == 1 else "cases"
        return f"{self.metric} of {count} {noun}: {self.why} ({self.advice})"


def doubts(frame: pd.DataFrame) -> list[Doubt]:
    """What the records of a frame (``load_results``) say against their own figures."""
    found: dict[str, list[tuple[str, str, str]]] = {kind: [] for kind in _KINDS}
    for row in records(frame[["run", "case_id", "details"]]):
        for kind, figures in row["details"].get("doubts", {}).items():
            found[kind].append((row["run"], row["case_id"], figures))
    return [Doubt(*_KINDS[kind], cases) for kind, cases in found.items() if cases]
