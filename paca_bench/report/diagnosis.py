"""What the doctor said of the machine of each run, as ``run.json`` has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_NOT_EXAMINED = "the machine was not examined; paca-bench doctor says how small a change it shows"


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A run's machine.

    Attributes:
        verdict: ``quiet``, ``noisy`` or ``unfit``; empty where it was not examined.
        summary: the verdict in one line, with the smallest change that can be seen.
        findings: what should be mended: its ``severity``, ``name``, ``found``, ``why``, ``fix``.
    """

    verdict: str
    summary: str
    findings: list[Mapping[str, str]]


def diagnosed(header: Mapping[str, Any]) -> Diagnosed | None:
    """The doctor's verdict in a run's header, or that there is none.

    None where the run timed nothing, or was made by a version whose sweeps had no doctor.
    """
    if "diagnosis" not in header or "latency" not in header["spec"]["metrics"]:
        return None
    found = header["diagnosis"]
    if found is None:
        return Diagnosed("", _NOT_EXAMINED, [])
    return Diagnosed(found["verdict"], found["summary"], list(found["findings"]))


def diagnosis_lines(headers: Iterable[Mapping[str, Any]]) -> list[str]:
    """The summary of each run's machine; nothing of runs that timed nothing."""
    return [one.summary for header in headers if (one := diagnosed(header))]
