"""The terminal summary: every number whole, at any width, with or without colour."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from paca_bench.analyse.scaling import scaling_table
from paca_bench.analyse.summary import verdict
from paca_bench.report.text import print_summary
from paca_bench.results import load_results
from paca_bench.units import format_seconds
from tests.builders import censored, make_fit_record, make_record, make_run, make_training


def summary(path: Path, width: int = 100, **options: bool) -> str:
    out = io.StringIO()
    print_summary(load_results(path), Console(file=out, width=width, **options))
    return out.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "sweep").path


def test_one_row_a_curve_with_its_numbers(run: Path) -> None:
    text = summary(run)
    frame = load_results(run)
    assert max(map(len, text.splitlines())) <= 100
    assert text.index("Host nano") < text.index("Layer, stage 1 of nano")
    for fit in scaling_table(frame, "latency_s").to_dict("records"):
        exponent = "{exponent:.2f} [{exponent_low:.2f}, {exponent_high:.2f}]".format(**fit)
        rows = [line for line in text.splitlines() if line.startswith(fit["label"])]
        assert any(exponent in row and fit["mode"] in row for row in rows)
    host = frame[(frame["level"] == "host") & (frame["mode"] == "forward")]
    ends = host[host["resolution"].isin([224, 1024])]
    assert len(ends) == 14
    for seconds in ends["latency_s"]:
        assert f"{format_seconds(seconds)} ±" in text
    assert text.count("93.0 ±1.2%") == 7


@pytest.mark.parametrize("width", [80, 60, 30])
def test_no_number_is_cut_at_any_width(run: Path, width: int) -> None:
    numbers = re.compile(r"\d+(?:\.\d+)?")
    narrow = summary(run, width, no_color=True)
    assert "…" not in narrow
    assert sorted(set(numbers.findall(narrow))) == sorted(set(numbers.findall(summary(run))))


def test_plain_text_where_it_is_not_a_terminal(run: Path) -> None:
    assert "\x1b" not in summary(run)
    assert "\x1b" in summary(run, force_terminal=True)


def test_verdict_then_what_is_missing_with_the_flag(run: Path) -> None:
    text = " ".join(summary(run, 100).split())
    outcome = verdict(load_results(run))
    places = [text.index(" ".join(part.split())) for part in (outcome.question, *outcome.sentences)]
    assert places == sorted(places)
    line = text.index("latency of 1 case, over budget (")
    assert line > places[-1]
    assert "--budget" in text[line:]
    assert text.count("latency of 1 case") == 1, "said once"


def test_a_status_stands_where_its_value_would(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [censored(make_record(resolution=r)) for r in (224, 448)])
    text = summary(run.path)
    assert text.count("over budget") >= 2
    assert "±" not in text.split("What")[0]


def test_single_record_shows_one_latency_column(tmp_path: Path) -> None:
    text = summary(make_run(tmp_path / "run", [make_record()]).path)
    header = text.split("──")[0]
    assert header.count("latency") == 1
    assert header.count("at 224") == 3


def test_trainings_alone_are_a_table_of_their_own(tmp_path: Path) -> None:
    text = summary(make_run(tmp_path / "run", [make_fit_record("vit")]).path)
    assert "Trainings" in text
    assert "95.0 ±1.2%" in text


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    text = summary(make_run(tmp_path / "run", [make_record("[red]x[/red]")]).path)
    assert "[red]x[/red]" in text


def test_trainings_are_compared_with_one_of_them(tmp_path: Path) -> None:
    records = [make_record(name, latency_s=s) for name, s in (("vit", 0.1), ("swin", 0.2))]
    records += [make_record("paca", 49, latency_s=0.05)]
    records += [make_training("vit", logit=5), make_training("swin", logit=-2)]
    records += [make_training("paca", 49)]
    lines = summary(make_run(tmp_path / "run", records).path).splitlines()
    start = lines.index(next(line for line in lines if "trained at 32 px on mnist5k" in line))
    table = lines[start:]
    assert "points beside" in table[1]
    assert "paca (M=49)" in table[2]
    rows = {line.split("  ")[0]: line for line in table[4:8]}
    assert re.search(r"<1%\s+-\d\d\.\d \[-\d\d\.\d, -\d\d\.\d\]\s+lower$", rows["swin"].strip())
    assert rows["paca (M=49)"].strip().endswith(">99%")


def test_trainings_alone_have_their_front_against_macs(tmp_path: Path) -> None:
    records = [make_training("vit", macs=10), make_training("swin", macs=20)]
    text = summary(make_run(tmp_path / "run", records).path)
    assert "with MACs" in text
    alone = summary(make_run(tmp_path / "alone", records[:1]).path)
    assert "beside" not in alone
