"""The report of each ablation suite: hosts and the paper's models, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paca_bench.complexity.published import published_rows
from paca_bench.plan import make_plan
from paca_bench.predicted_time import Machine
from paca_bench.record import Case, Record
from paca_bench.report.beside import beside_tables
from paca_bench.report.theme import label_order
from paca_bench.results import load_results
from paca_bench.spec import make_spec, read_suite
from tests.builders import make_record, make_run, make_training

SUITES = ("ablation_clusters", "ablation_sharing", "ablation_clustering", "ablation_teacher")


def outcome(case: Case) -> Record:
    """A made-up result of the case."""
    if case.mode != "fit":
        return replace(make_record(case.mechanism, case.num_clusters), case=case)
    return replace(make_training(case.mechanism, case.num_clusters, macs=10**6), case=case)


@pytest.mark.parametrize("suite", SUITES)
def test_everything_stands_side_by_side(suite: str, tmp_path: Path) -> None:
    planned = make_plan(make_spec(read_suite(suite)), "cpu", Machine(4e10))
    cases = [one.case for one in planned]
    frame = load_results(make_run(tmp_path / "run", [outcome(case) for case in cases]).path)
    tables = beside_tables(frame, label_order(frame))
    shown = {label: table for table in tables for label, _ in table.lines}
    assert shown.keys() == {case.label for case in cases}
    for label, table in shown.items():
        cells = dict(zip([h.title for h in table.headings], dict(table.lines)[label], strict=True))
        for column in ("MACs", "Latency", "Peak memory"):
            assert cells[column].text != "–", (label, column)
        if any(case.mode == "fit" for case in cases if case.label == label):
            assert cells["Accuracy"].text != "–", label
    printed = {
        str(row.score)
        for row in published_rows()
        if row.model in shown and row.task == "classification"
    }
    assert {
        cell.sort_value
        for table in tables
        for _, line in table.lines
        for heading, cell in zip(table.headings, line, strict=True)
        if heading.title == "Paper: top-1" and cell.sort_value
    } == printed


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_of_its_ablation_alone(suite: str) -> None:
    spec = make_spec(read_suite(suite))
    assert spec.budget_s <= 15 * 60
    assert spec.seeds >= 3
    assert len(spec.models) >= 2
