"""The doctor's verdict and the doubts, in the page and on the terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from paca_bench.report.diagnosis import diagnosed
from paca_bench.report.html import write_report
from paca_bench.report.text import print_summary
from paca_bench.results import load_results
from paca_bench.store import RunFolder
from tests.builders import make_record, make_run

FINDING = {
    "name": "governor",
    "severity": "warning",
    "found": "powersave <b>",
    "why": "clocks follow the load.",
    "fix": "cpupower frequency-set -g performance",
}
DIAGNOSIS = {"verdict": "noisy", "summary": "noisy: a change of 9% is seen", "findings": [FINDING]}


def run_of(path: Path, diagnosis: dict[str, Any] | None, doubt: bool = False) -> RunFolder:
    record = make_record("vit")
    if doubt:
        record.details["doubts"] = {"disturbed": "5 of 9 samples <i>"}
    run = make_run(path, [record])
    run.header["spec"]["metrics"] = ["complexity", "latency"]
    run.header["diagnosis"] = diagnosis
    run.write_header()
    return run


def page_of(run: RunFolder, folder: Path) -> str:
    return write_report(run.path, folder / "report.html").read_text(encoding="utf-8")


def printed(run: RunFolder) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_summary(load_results(run.path), console, [run.header])
    return console.file.getvalue()


def test_the_verdict_and_its_findings_are_in_the_page(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", DIAGNOSIS)
    page = page_of(run, tmp_path)
    assert "The doctor: noisy: a change of 9% is seen" in page
    assert 'id="diagnosis"' in page
    assert "cpupower frequency-set -g performance" in page
    assert "powersave &lt;b&gt;" in page
    assert "noisy: a change of 9% is seen" in printed(run)


def test_a_run_without_a_verdict_says_so(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", None)
    assert "was not examined" in page_of(run, tmp_path)
    assert 'id="diagnosis"' not in page_of(run, tmp_path)
    assert "was not examined" in printed(run)


@pytest.mark.parametrize("metrics", [["complexity"], ["memory", "accuracy"]])
def test_a_run_that_timed_nothing_needs_no_doctor(metrics: list[str]) -> None:
    assert diagnosed({"spec": {"metrics": metrics}, "diagnosis": None}) is None


def test_a_run_of_an_older_version_has_no_verdict(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record("vit")])
    assert diagnosed(run.header) is None
    assert "doctor" not in printed(run).lower()


def test_doubts_are_in_the_page_and_on_the_terminal(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", DIAGNOSIS, doubt=True)
    page = page_of(run, tmp_path)
    assert 'id="doubts"' in page
    assert "5 of 9 samples &lt;i&gt;" in page
    assert "latency of 1 case: many samples were disturbed" in printed(run)
