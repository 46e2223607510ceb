"""What the doctor says: findings, one by one, and the verdict on the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from paca_bench.doctor.noise import Noise


class Severity(StrEnum):
    """How much a finding matters to a measurement, from not at all on."""

    OK = "ok"
    UNKNOWN = "unknown"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"

    @property
    def rank(self) -> int:
        """0 for ``ok``, more for worse."""
        return list(Severity).index(self)


class Verdict(StrEnum):
    """Of the machine as it is now; see ``diagnose.judge``."""

    QUIET = "quiet"
    NOISY = "noisy"
    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of what was looked at; the same on every machine.
        severity: how much it matters.
        found: what is, with its value.
        why: why it matters, in one sentence; empty where all is well.
        fix: the command that mends it, or what to do where none does.
    """

    name: str
    severity: Severity
    found: str
    why: str = ""
    fix: str = ""


def fine(name: str, found: str) -> Finding:
    """Nothing to mend."""
    return Finding(name, Severity.OK, found)


def unknown(name: str, found: str) -> Finding:
    """This machine does not say."""
    return Finding(name, Severity.UNKNOWN, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What ``run_doctor`` found.

    Attributes:
        verdict: on the machine as it is now.
        summary: the verdict in one line, with the smallest change that can be seen.
        findings: all of them, the worst first.
        noise: the A/A experiment; None where it failed, which ``findings`` then says.
        facts: figures behind the findings, as JSON values.
    """

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...]
    noise: Noise | None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "verdict": self.verdict.value,
            "summary": self.summary,
            "findings": [
                {**asdict(finding), "severity": finding.severity.value} for finding in self.findings
            ],
            "noise": None if self.noise is None else self.noise.to_json(),
            "facts": dict(self.facts),
        }

    def header(self) -> dict[str, Any]:
        """``to_json`` for ``run.json``: what is left to mend, and no raw samples."""
        data = self.to_json()
        if data["noise"]:
            del data["noise"]["samples"]
        open_ = {Severity.NOTE, Severity.WARNING, Severity.PROBLEM}
        data["findings"] = [one for one in data["findings"] if one["severity"] in open_]
        return data
