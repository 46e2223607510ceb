"""What a comparison leaves: terminal, Markdown, HTML, JSON, JUnit, GitHub; and the command."""

import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.console import Console

from paca_bench import cli
from paca_bench.compare import compare
from paca_bench.compare.machine import to_annotations, to_json, to_junit
from paca_bench.compare.markdown import to_markdown
from paca_bench.compare.text import print_comparison
from paca_bench.record import Status
from paca_bench.report import compare_page
from paca_bench.report.compare_page import draw, render
from tests.builders import censored
from tests.compare.sides import benchmark_file, record, run

HOSTILE = "<script>alert(1)</script> | `x` @all \x00\nnext"


@pytest.fixture
def sides(tmp_path):
    """BASE, and a NEW in which one case is slower, one has more MACs, one broke."""
    base = [record("vit", macs=10**6), record("pvt"), record("swin"), record("pvt_linear")]
    new = [
        record("vit", seed=1, macs=10**6 + 1),
        record("pvt", slower=1.2),
        censored(record("swin"), status=Status.CRASH, reason=HOSTILE),
        record("pvt_linear", seed=1),
    ]
    return run(tmp_path / "base", base), run(tmp_path / "new", new)


@pytest.fixture
def found(sides):
    return compare(*sides)


def text(comparison, width=120):
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_terminal_ends_with_the_verdict(found, width):
    lines = text(found, width).rstrip()
    assert "1,000,001" in lines
    assert re.search(r"1\.(19|2)\d? \[1\.", lines)
    assert " ".join(lines.split()).endswith(
        "Regression: 1 of 3 cases slower and macs of 1 case against the rule macs>0."
    )


def test_markdown_has_the_verdict_first_and_regressions_before_all(found):
    lines = to_markdown(found).splitlines()
    assert lines[0].startswith("### ❌ Regression")
    table = [line for line in lines if line.startswith("| `")]
    assert "macs" in table[0]
    assert "**regression**" in table[0]
    assert "**slower**" in table[1]
    assert sum("<details>" in line for line in lines) == 2


def test_markdown_keeps_what_records_say_as_text(found):
    content = to_markdown(found)
    assert "<script" not in content
    assert "@all" not in content
    cells = [len(re.findall(r"(?<!\\)\|", x)) for x in content.splitlines() if x.startswith("| `")]
    assert set(cells) == {6, 7}


def test_markdown_of_many_cases_fits_a_comment(tmp_path):
    def side(name, macs):
        many = [record("vit", macs=macs) for _ in range(300)]
        cases = [
            replace(one, case=replace(one.case, batch=n)) for n, one in enumerate(many, start=1)
        ]
        return run(tmp_path / name, cases)

    content = to_markdown(compare(side("base", 1), side("new", 2)))
    assert len(content) < 65_536
    assert "and 270 more" in content


def test_json_holds_everything(found):
    content = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert content["exit_code"] == 1
    by_id = {case["case_id"].split("/")[1]: case for case in content["cases"]}
    assert by_id["pvt"]["latency"]["verdict"] == "slower"
    assert by_id["pvt"]["latency"]["ratio_low"] > 1
    assert by_id["vit"]["static"]["macs"] == {
        "base": 10**6, "new": 10**6 + 1, "changed": True, "regression": True,
    }  # fmt: skip
    assert by_id["swin"]["latency"] is None
    assert "crash" in by_id["swin"]["broken"][0]
    assert content["counts"]["same"] == 2


def test_junit_counts_failures_errors_and_skipped(found, tmp_path):
    suite = ElementTree.fromstring(to_junit(found))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "1", "0")
    assert int(suite.get("tests")) == len(suite.findall("testcase"))
    failed = [test.get("classname") for test in suite if test.find("failure") is not None]
    assert failed == ["macs", "latency"]
    base, new = benchmark_file(tmp_path / "a.json"), benchmark_file(tmp_path / "b.json", seed=1)
    assert ElementTree.fromstring(to_junit(compare(base, new))).get("skipped") == "2"


def test_junit_of_nothing_compared_is_an_error(tmp_path):
    comparison = compare(run(tmp_path / "a", [record("vit")]), run(tmp_path / "b", [record("pvt")]))
    suite = ElementTree.fromstring(to_junit(comparison))
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_annotations_are_one_line_each(found):
    lines = to_annotations(found)
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * 3
    assert "1,000,000 → 1,000,001" in lines[0]
    assert all("\n" not in line for line in lines)
    # A percent sign would start an escape.
    assert "%0A" in lines[2]


def test_annotations_are_few(tmp_path):
    base = [replace(r, case=replace(r.case, batch=n)) for n, r in enumerate([record()] * 15, 1)]
    new = [replace(r, metrics={**r.metrics, "macs": 1e12}) for r in base]
    found = compare(run(tmp_path / "a", base), run(tmp_path / "b", new))
    lines = to_annotations(found)
    assert len(lines) == 10
    assert "and 6 more" in lines[-1]


class Page(HTMLParser):
    def __init__(self, content):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_draws_both_sides_and_loads_nothing(found):
    page = Page(render(found))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    links = [attrs.get("href", "") for _, attrs in page.tags]
    assert all(link.startswith(("#", "data:")) for link in links if link)
    drawn = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert len(drawn) == 3
    assert all("over 8 processes" in label for label in drawn)
    assert "Regression: 1 of 3 cases slower" in " ".join(page.text)
    assert sum(tag == "circle" for tag, _ in page.tags) == 3 * 2 * 8 * 20


def test_a_page_of_many_cases_draws_the_first_and_says_so(found, monkeypatch):
    monkeypatch.setattr(compare_page, "MOST_DRAWN", 2)
    page = Page(render(found))
    assert sum(tag == "svg" for tag, _ in page.tags) == 1  # the broken case comes first
    assert sum(tag == "article" for tag, _ in page.tags) == 4
    assert "The first 2 cases are drawn" in " ".join(page.text)


def test_a_drawing_stays_within_its_box_and_shows_the_shift(found):
    slow = next(case for case in found.cases if "pvt/" in case.id)
    drawing = draw(slow)
    base, new = drawing.strips
    assert base.middle < new.middle
    for strip in drawing.strips:
        assert all(0 < dot.x < 640 and 0 < dot.y < drawing.height for dot in strip.dots)
        assert len(strip.medians) == 8


# ---- the command


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["paca-bench", "compare", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capsys.readouterr()

    return call


def test_the_command_writes_every_output(command, sides, tmp_path):
    code, printed = command(
        *sides, "--markdown", "c.md", "--html", "c.html", "--json", "c.json", "--junit", "c.xml"
    )
    assert code == 1
    assert printed.err == ""
    assert "Regression" in printed.out
    written = {path.name for path in tmp_path.glob("c.*")}
    assert written == {"c.md", "c.html", "c.json", "c.xml"}
    assert json.loads((tmp_path / "c.json").read_text())["exit_code"] == 1


def test_the_command_speaks_to_github(command, sides, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    code, printed = command(*sides, "--github")
    assert code == 1
    assert "::error title=slower::" in printed.out
    assert (tmp_path / "summary.md").read_text().startswith("### ❌ Regression")


def test_a_clean_comparison_exits_0_and_a_missing_baseline_3(command, sides):
    base, _ = sides
    assert command(base, base)[0] == 0
    code, printed = command("missing", base)
    assert code == 3
    assert printed.err.startswith("paca-bench: BASE missing does not exist")
    assert printed.err.count("\n") == 1


def test_bad_usage_exits_2_before_anything_is_read(command, sides):
    for arguments in (("--fail-on", "speed>5%"), ("--q", "7"), ("--html", "no/such/folder.html")):
        code, printed = command(*sides, *arguments)
        assert code == 2
        assert printed.out == ""
        assert printed.err.startswith("paca-bench: ")
