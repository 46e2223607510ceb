"""What a history leaves: terminal, Markdown, HTML, JSON; and the command."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest
from rich.console import Console

from paca_bench import cli
from paca_bench.history import History, history
from paca_bench.history.machine import to_json
from paca_bench.history.markdown import to_markdown
from paca_bench.history.text import print_history
from paca_bench.history.wording import headline, sparkline
from paca_bench.report.history_page import MOST_DRAWN, render
from tests.compare import sides
from tests.history import made
from tests.report.test_html import Page

EVIL = '"><script>alert(1)</script>'
UP = [1.0] * 9 + [1.2] * 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases over 18 commits: one gets slower and larger, one has a spike, one an end."""
    place = tmp_path_factory.mktemp("history")
    for day, factor in enumerate(UP):
        records = [
            sides.record("vit", slower=factor, seed=day + 50, macs=10**9 + 3 * (day >= 9)),
            sides.record("swin", slower=1.4 if day == 4 else 1.0, seed=day),
            sides.record("pvt", slower=1.3 if day == 17 else 1.0, seed=day),
        ]
        made.add_run(place, day, records)
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> History:
    return history([folder], fail_on="latency>5%,macs>0")


@pytest.fixture(scope="module")
def page(found: History, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "history.html"
    path.write_text(render(found), encoding="utf-8")
    return Page(path)


def text(found: History, width: int = 160, **options: bool) -> str:
    stream = io.StringIO()
    print_history(found, Console(file=stream, width=width), **options)
    return stream.getvalue()


def words(found: History, width: int = 160, **options: bool) -> str:
    return " ".join(text(found, width, **options).split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_terminal_names_commit_date_ratio_and_ends_with_the_headline(
    found: History, width: int
) -> None:
    shown = words(found, width)
    assert made.commit(9)[:9] in shown
    assert "2026-01-10" in shown
    assert re.search(r"1\.(199|20)\d? \[1\.19\d+, 1\.20\d+\]", shown)
    assert "1,000,000,000 → 1,000,000,003" in shown
    assert " +3 " in shown or " +3; " in shown
    assert shown.endswith("Regressions: macs of 1 case and latency of 1 case.")


def test_the_terminal_shows_cases_without_a_step_if_asked(found: History) -> None:
    assert "host-nano/swin" not in words(found)
    assert "host-nano/swin" in words(found, all_cases=True)


def test_doubts_are_said(found: History) -> None:
    shown = words(found)
    assert re.search(r"Noise from run to run: \d\.\d% in the middle of 3 series", shown)
    assert re.search(r"found with a probability of 80% from [\d.]+% on", shown)
    assert "stand apart from their level: 2 runs" in shown
    assert re.search(
        r"host-nano/pvt\S+ at 1\.(29|30)\d? \[[\d., ]+\] times that. A possible step", shown
    )


def test_a_history_of_nothing_new_says_so(tmp_path: Path) -> None:
    found = history([made.runs(tmp_path, [1.0] * 6)])
    assert headline(found) == "No step found in 1 case over 6 runs."


def test_a_step_that_no_rule_forbids_is_counted(tmp_path: Path) -> None:
    found = history([made.runs(tmp_path, UP)])
    assert headline(found) == (
        "1 step found in 1 case over 18 runs, 1 of them to slower or more and still there."
    )


def test_a_single_regression_is_named(tmp_path: Path) -> None:
    found = history([made.runs(tmp_path, UP)], fail_on="latency>5%")
    assert headline(found) == (
        f"Regression: latency of host-nano/vit/224/forward/b1/float32/cpu since "
        f"{made.commit(9)[:9]}."
    )


def test_a_sparkline_has_a_block_a_run_of_the_newest(found: History) -> None:
    vit = next(one for one in found.latencies if "vit" in one.subject.case_id)
    line = sparkline(vit)
    assert len(line) == 18
    assert set(line[:9]) <= set("▁▂▃")
    assert set(line[9:]) <= set("▆▇█")
    assert sparkline(vit, 5) == line[-5:]


def test_noise_is_no_mountain_range(tmp_path: Path) -> None:
    for day in range(5):
        made.add_run(tmp_path, day, [sides.record(seed=day)])
    assert set(sparkline(history([tmp_path]).latencies[0])) <= set("▁▂")


def test_markdown_is_a_table_and_folds_the_rest(found: History) -> None:
    shown = to_markdown(found)
    assert shown.startswith("### ❌ Regressions: macs of 1 case")
    assert shown.count("| **") == 0
    assert "\n| case | metric | commit | date |" in shown
    assert "<details><summary>All 3 latencies</summary>" in shown
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    assert set(cells) == {len(found.steps) and 9, 7}


def test_json_holds_everything_and_names_runs_by_place(found: History) -> None:
    content = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert content["exit_code"] == 1
    assert content["runs"][9]["commit"] == made.commit(9)
    assert content["runs"][9]["committed_at"] == made.day_of(9)
    macs, latency = content["steps"]
    assert (macs["metric"], macs["before"], macs["now"]) == ("macs", 10**9, 10**9 + 3)
    assert macs["ratio"] is macs["adjusted_p"] is None
    assert (latency["after"], latency["at"], latency["until"]) == (8, 9, 9)
    assert latency["ratio"]["low"] < 1.2 < latency["ratio"]["high"]
    assert latency["regression"]
    assert [one["case_id"] for one in content["possible"]] == [
        "host-nano/pvt/224/forward/b1/float32/cpu"
    ]
    series = content["latencies"][0]
    assert len(series["process_medians_s"]) == len(series["latency_s"]) == 18
    assert [level["start"] for level in series["levels"]] == [0, 9]
    values = [one["values"] for one in content["counts"] if one["metric"] == "macs"]
    assert values[0] == [10**9] * 9 + [10**9 + 3] * 9


def test_json_of_single_processes_and_few_runs(tmp_path: Path) -> None:
    found = history([made.benchmark_files(tmp_path, [1.0] * 3)])
    content = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert content["latencies"][0]["intervals_s"] == [None, None, None]


def test_the_page_is_whole_and_loads_nothing(page: Page) -> None:
    assert page.open == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert page.copies_of_plotly == 1
    assert not page.attribute("script", "src")
    assert all(href.startswith(("#", "data:")) for _, a in page.elements
               if (href := a.get("href")))  # fmt: skip
    assert any("default-src 'none'" in content for content in page.attribute("meta", "content"))


def test_the_page_says_what_the_terminal_says(page: Page, found: History) -> None:
    assert headline(found) in page.text
    assert made.commit(9)[:9] in page.text
    assert "A possible step" in page.text


def test_every_case_has_a_figure_that_plotly_accepts(page: Page) -> None:
    figures = page.figures()
    assert len(figures) == 3
    for figure in figures.values():
        go.Figure(data=figure["data"], layout=figure["layout"])


def test_a_figure_has_points_levels_and_the_places_of_a_step(page: Page) -> None:
    vit, swin, _ = page.figures().values()
    lines = [trace for trace in vit["data"] if trace["mode"] == "lines"]
    assert [round(line["y"][0]) for line in lines] == [10, 12]
    (points,) = [trace for trace in vit["data"] if trace["mode"] == "markers"]
    assert points["x"] == list(range(18))
    assert len(points["error_y"]["array"]) == 18
    assert [(s["x0"], s["x1"]) for s in vit["layout"]["shapes"]] == [(8, 9)]
    counted, apart = [trace for trace in swin["data"] if trace["mode"] == "markers"]
    assert 4 not in counted["x"]
    assert apart["x"] == [4]
    assert swin["layout"]["shapes"] == []


def test_series_apart_have_a_colour_each_in_one_figure(tmp_path: Path) -> None:
    for day in range(8):
        record = sides.record(seed=day)
        made.add_run(tmp_path, day, [record], torch="2.13" if day > 3 else "2.12")
    path = tmp_path / "page.html"
    path.write_text(render(history([tmp_path])), encoding="utf-8")
    (figure,) = Page(path).figures().values()
    points = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert [trace["name"] for trace in points] == ["torch 2.12", "torch 2.13"]
    assert len({trace["marker"]["color"] for trace in points}) == 2
    assert figure["layout"]["showlegend"]


def test_of_very_many_cases_some_are_drawn(tmp_path: Path) -> None:
    for day in range(3):
        records = [sides.record(f"m{i}", seed=day) for i in range(MOST_DRAWN + 2)]
        made.add_run(tmp_path, day, records)
    path = tmp_path / "page.html"
    path.write_text(render(history([tmp_path])), encoding="utf-8")
    page = Page(path)
    assert len(page.figures()) == MOST_DRAWN
    assert "2 are in the table alone" in page.text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    for day, factor in enumerate(UP):
        record = sides.record(EVIL, slower=factor, seed=day)
        made.add_run(tmp_path, day, [record], of_commit=f"{EVIL}{day}", torch=EVIL + str(day // 9))
    found = history([tmp_path])
    path = tmp_path / "page.html"
    path.write_text(render(found), encoding="utf-8")
    page = Page(path)
    assert page.open == []
    assert len(page.attribute("script", "id")) == len(page.scripts) - 2
    for figure in page.figures().values():
        assert "<script" not in json.dumps(figure)
    outside_code = re.sub("`[^`]*`", "", to_markdown(found))
    assert "<script" not in outside_code


def typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["paca-bench", "history", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        cli.main()
    return (int(end.value.code or 0), *capsys.readouterr())


def test_the_command_writes_what_it_is_asked_for(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {kind: tmp_path / f"history.{kind}" for kind in ("json", "html", "markdown")}
    options = [part for kind, path in files.items() for part in (f"--{kind}", path)]
    code, out, err = typed(capsys, monkeypatch, folder, *options)
    assert (code, err) == (0, "")
    assert "2 steps found" in out
    assert json.loads(files["json"].read_text())["schema"] == 1
    assert files["html"].read_text().startswith("<!doctype html>")
    assert files["markdown"].read_text().startswith("### ✅")


def test_the_command_exits_1_for_what_a_rule_forbids(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = sorted(folder.iterdir())
    assert typed(capsys, monkeypatch, *runs, "--fail-on", "latency>5%")[0] == 1
    assert typed(capsys, monkeypatch, *runs[:9], "--fail-on", "latency>5%")[0] == 0


@pytest.mark.parametrize(
    ("count", "arguments", "code", "says"),
    [
        (2, (), 3, "a history needs 3 runs of a case"),
        (3, ("--fail-on", "speed"), 2, "--fail-on 'speed' is not understood"),
        (3, ("--html", "no/such/page.html"), 2, "the folder no/such does not exist"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    got, out, err = typed(capsys, monkeypatch, *sorted(folder.iterdir())[:count], *arguments)
    assert (got, out) == (code, "")
    assert says in err
    assert err.count("\n") == 1
