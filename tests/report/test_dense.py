"""The dense task in the page and in the terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from paca_bench.record import Record, Status
from paca_bench.report.dense import dense_tables
from paca_bench.report.html import write_report
from paca_bench.report.text import print_summary
from paca_bench.results import load_compact, load_results
from tests.builders import make_dense_record, make_fit_record, make_record, make_run

DENSE = [
    make_dense_record("vit", head="paca", skill=0.9),
    make_dense_record("vit", head="linear", skill=0.7),
    make_dense_record("paca", 49, head="paca"),
]
OTHERS = [
    *(make_record("vit", resolution=side) for side in (224, 448, 1024)),
    *(make_record("paca", 49, resolution=side) for side in (224, 448, 1024)),
    make_fit_record("vit"),
]


def summary(path: Path) -> str:
    out = io.StringIO()
    print_summary(load_results(path), Console(file=out, width=160))
    return out.getvalue()


def test_a_table_has_a_line_per_backbone_and_head(tmp_path: Path) -> None:
    frame = load_compact(make_run(tmp_path / "run", DENSE).path)
    (table,) = dense_tables(frame, ["paca (M=49)", "vit"])
    assert table.title == "Dense task: host nano, trained at 32 px on pathfinder"
    assert table.classes == ["ground", "curve"]
    lines = {(line.label, line.head): line for line in table.lines}
    assert list(lines) == [("paca (M=49)", "paca"), ("vit", "linear"), ("vit", "paca")]
    best, worse = lines["vit", "paca"], lines["vit", "linear"]
    assert (best.verdict, best.css) == ("higher", "faster")
    assert (worse.verdict, worse.css) == ("lower", "slower")
    assert best.against.text.lstrip("+") == worse.against.text.lstrip("-−")
    assert lines["paca (M=49)", "paca"].verdict == ""
    assert best.macs.text == "12.0 M"
    assert float(best.miou.sort_value) == pytest.approx(
        sum(float(iou.sort_value) for iou in best.ious) / 2
    )


def test_the_page_and_the_terminal_show_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [*OTHERS, *DENSE]).path
    page = write_report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<section id="dense"' in page
    assert "IoU, curve" in page
    assert "bootstrap interval over 60 test images" in page
    text = summary(run)
    assert "Dense task: host nano, trained at 32 px on pathfinder" in text
    assert "highest for vit under the head paca" in " ".join(text.split())
    assert "Nothing was measured" not in text
    without = make_run(tmp_path / "without", OTHERS).path
    assert 'id="dense"' not in write_report(without, tmp_path / "b.html").read_text("utf-8")
    assert "Dense task" not in summary(without)


def test_what_is_said_of_the_rest_does_not_change(tmp_path: Path) -> None:
    """The dense task's cases have MACs and a training of their own, which belong nowhere else."""
    grids = [
        summary(make_run(tmp_path / name, records).path).partition("Ended ok")[0]
        for name, records in (("with", [*OTHERS, *DENSE]), ("without", OTHERS))
    ]
    start = grids[0].index("Dense task")
    end = grids[0].index("Which attention")
    said = grids[0].index("- Dense task (mIoU")
    assert grids[0][:start] + grids[0][end:said] == grids[1].removesuffix("- ")


def test_a_training_that_failed_is_named(tmp_path: Path) -> None:
    data = json.loads(json.dumps(DENSE[2].to_json()))
    data["statuses"]["accuracy"] = Status.TIMEOUT.value
    data["reasons"]["accuracy"] = "too long"
    failed = Record.from_json(data)
    text = summary(make_run(tmp_path / "run", [*DENSE[:2], failed]).path)
    assert "not measured" in text
    assert "timeout" in text
