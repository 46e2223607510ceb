"""The HTML report: complete, self-contained, escaped, and true to the frame."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from paca_bench.errors import NothingMeasuredError, StoreError
from paca_bench.record import Status
from paca_bench.report.html import write_report
from paca_bench.results import load_results
from paca_bench.store import RunFolder
from tests.builders import censored, make_fit_record, make_record, make_run

EVIL = '"><script>alert(1)</script>'
PLOTLY = get_plotlyjs()
SECTIONS = ["scaling", "clusters", "front", "cases", "missing", "method", "downloads"]
TRAINED = ["beside", *SECTIONS]
VOID = {"meta", "link", "input", "br", "img", "hr", "path", "line"}


class Page(HTMLParser):
    """Elements with attributes, script bodies by id, and the visible text of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        whole = path.read_text(encoding="utf-8")
        self.copies_of_plotly = whole.count(PLOTLY)
        # Five megabytes that need no parsing.
        self.source = whole.replace(PLOTLY, "plotly")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.cells: list[list[dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag == "script":
            self.scripts.append((values, ""))
        if tag == "tr" and "data-axes" in values:
            self.cells.append([])
        if tag == "td" and self.cells and "data-value" in values:
            self.cells[-1].append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, body = self.scripts[-1]
            self.scripts[-1] = (attributes, body + data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def script(self, id_: str) -> str:
        return next(body for attributes, body in self.scripts if attributes.get("id") == id_)

    def unpacked(self, id_: str) -> Any:
        """Embedded JSON, whether as text or as gzip in base64."""
        (attributes,) = [a for a, _ in self.scripts if a.get("id") == id_]
        body = self.script(id_)
        if attributes["type"] == "application/json":
            return json.loads(body)
        return json.loads(gzip.decompress(base64.b64decode(body)))

    def figures(self) -> dict[str, dict]:
        ids = [a["data-figure"] for tag, a in self.elements if "data-figure" in a]
        return {str(id_): self.unpacked(str(id_)) for id_ in ids}

    def attribute(self, tag: str, name: str) -> list[str]:
        return [str(a[name]) for t, a in self.elements if t == tag and name in a]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs") / "sweep")


@pytest.fixture(scope="module")
def page(folder: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(folder.path, tmp_path_factory.mktemp("out") / "report.html"))


def report(tmp_path: Path, *records) -> Page:
    run = make_run(tmp_path / "run", list(records))
    return Page(write_report(run.path, tmp_path / "report.html"))


def test_all_elements_are_closed_and_ids_are_unique(page: Page) -> None:
    assert page.open == []
    ids = [str(a["id"]) for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_sections_stand_in_order_and_are_linked(page: Page) -> None:
    assert page.attribute("section", "id") == TRAINED
    assert page.attribute("a", "href")[1:] == [f"#{name}" for name in TRAINED]


def test_title_generator_and_machine(page: Page) -> None:
    assert 'name="generator" content="paca-bench 0.1.0"' in page.source
    assert "<title>sweep · paca-bench</title>" in page.source
    assert "Made-up CPU · torch 2.13.0 · Python 3.11.7 · paca-bench 0.1.0" in page.text
    assert "16.0 GiB (17,179,869,184 B)" in page.text


def test_verdict_is_the_heading(page: Page, folder: RunFolder) -> None:
    from paca_bench.analyse.summary import verdict

    outcome = verdict(load_results(folder.path))
    assert " ".join(outcome.question.split()) in page.text
    for sentence in outcome.sentences:
        assert " ".join(sentence.split()) in page.text


def test_page_loads_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "plotlyServerURL" in page.scripts[-1][1]
    assert "http" not in page.scripts[-1][1]


def test_policy_allows_only_our_own_scripts(page: Page) -> None:
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    run = [body for attributes, body in page.scripts if "type" not in attributes]
    assert len(run) == 2
    assert run[0] == "plotly"
    for body in (PLOTLY, run[1]):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.count("sha256-") == 2
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_plotly_is_inside_once(page: Page) -> None:
    assert page.copies_of_plotly == 1
    assert "</script" not in PLOTLY


def test_downloads_are_exact(page: Page, folder: RunFolder) -> None:
    names = page.attribute("button", "data-filename")
    ids = page.attribute("button", "data-download")
    assert names == ["records.jsonl", "cases.csv"]
    records, table = (gzip.decompress(base64.b64decode(page.script(id_))) for id_ in ids)
    assert records == (folder.path / "records.jsonl").read_bytes()
    frame = load_results(folder.path)
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [row["case_id"] for row in rows] == frame["case_id"].tolist()
    for row, latency in zip(rows, frame["latency_s"], strict=True):
        assert (float(row["latency_s"]) == latency) if row["latency_s"] else latency != latency


def test_superseded_and_torn_lines_are_downloaded_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record(seed=1), make_record(seed=2)])
    with (run.path / "records.jsonl").open("a") as file:
        file.write('{"schema": 1, "ca')
    with pytest.warns(UserWarning, match="torn"):
        page = Page(write_report(run.path, tmp_path / "report.html"))
    (id_, _) = page.attribute("button", "data-download")
    content = gzip.decompress(base64.b64decode(page.script(id_)))
    assert content == (run.path / "records.jsonl").read_bytes()
    assert len(page.cells) == 1


def test_case_table_sorts_by_exact_numbers(page: Page, folder: RunFolder) -> None:
    frame = load_results(folder.path)
    start = page.elements.index(("table", {"id": "case-table"}))
    headers = [a for t, a in page.elements[start:] if t == "th" and "data-kind" in a]
    assert {a["aria-sort"] for a in headers} == {"none"}
    kinds = [a["data-kind"] for a in headers]
    assert len(page.cells) == len(frame)
    assert all(len(row) == len(kinds) for row in page.cells)
    for row in page.cells:
        for kind, cell in zip(kinds, row, strict=True):
            if kind == "number" and cell["data-value"]:
                float(cell["data-value"])
    found = {
        float(str(cell["data-value"]))
        for row in page.cells
        for kind, cell in zip(kinds, row, strict=True)
        if kind == "number" and cell["data-value"]
    }
    for metric in ("latency_s", "macs", "peak_memory_bytes", "accuracy", "images_per_s"):
        assert set(frame[metric].dropna()) <= found, metric


def test_filters_offer_the_axes_that_vary(page: Page) -> None:
    axes = page.attribute("select", "data-axis")
    assert axes == ["level", "stage", "mechanism", "mode", "batch", "status"]
    chosen = json.loads(str(next(a["data-axes"] for _, a in page.elements if "data-axes" in a)))
    assert set(axes) <= set(chosen)


def test_scaling_figures_have_log_axes_intervals_and_one_trace_a_label(page: Page) -> None:
    figures = page.figures()
    figure = figures["scaling-0-latency_s-forward-json"]
    assert figure["layout"]["xaxis"]["type"] == figure["layout"]["yaxis"]["type"] == "log"
    assert figure["layout"]["xaxis"]["ticktext"] == ["224", "320", "448", "576", "768", "1024"]
    curves = [trace for trace in figure["data"] if "labels" in trace["meta"]]
    assert len(curves) == 7
    for trace in curves:
        assert len(trace["error_y"]["array"]) == len(trace["x"]) == 6
        assert min(trace["error_y"]["array"] + trace["error_y"]["arrayminus"]) >= 0
    assert "3,136 tokens" in curves[0]["customdata"][0]
    assert [t["meta"]["guide"] for t in figure["data"] if "guide" in t["meta"]] == [1, 2]


def test_plotly_accepts_every_figure(page: Page) -> None:
    for figure in page.figures().values():
        go.Figure(figure)


def test_one_style_per_label_in_all_figures(page: Page) -> None:
    styles: dict[str, set[tuple[str, str]]] = {}
    for figure in page.figures().values():
        for trace in figure["data"]:
            labels = trace["meta"].get("labels", [])
            marker = trace.get("marker", {})
            symbols = marker["symbol"] if labels else []
            colors = marker["color"] if labels else []
            symbols = [symbols] * len(labels) if isinstance(symbols, str) else symbols
            colors = [colors] * len(labels) if isinstance(colors, str) else colors
            for label, symbol, color in zip(labels, symbols, colors, strict=True):
                styles.setdefault(label, set()).add((symbol.removesuffix("-open"), color))
    assert len(styles) == 7
    assert all(len(found) == 1 for found in styles.values())
    assert len(set().union(*styles.values())) == 7


def test_a_censored_point_is_drawn_at_the_top_and_listed(page: Page) -> None:
    figure = page.figures()["scaling-0-latency_s-train-json"]
    (missing,) = [trace for trace in figure["data"] if trace["meta"].get("censored")]
    assert missing["marker"]["symbol"].endswith("-open")
    assert missing["x"] == [1024]
    measured = [
        y for t in figure["data"] if "labels" in t["meta"] and t is not missing for y in t["y"]
    ]
    assert missing["y"][0] > max(measured)
    assert "predicted 41 min" in missing["customdata"][0].replace("<br>", " ")
    assert "vit at 1024 px: over budget: predicted 41 min" in page.text
    assert "--budget" in page.text.split("What was not measured")[1]


def test_front_has_intervals_both_ways_and_says_the_training_resolution(page: Page) -> None:
    fronts = {k: v for k, v in page.figures().items() if k.startswith("front-")}
    assert len(fronts) == 12
    points = [t for t in fronts["front-0-json"]["data"] if "on_front" in t["meta"]]
    assert len(points) == 7
    assert all(t["error_x"]["array"] and t["error_y"]["array"] for t in points)
    assert any(t["meta"]["on_front"] for t in points)
    assert any(t["meta"].get("front") for t in fronts["front-0-json"]["data"])
    assert "training and testing at 32 px" in page.text


def test_clusters_figures_join_m_and_show_the_others(page: Page) -> None:
    figure = page.figures()["clusters-0-json"]
    (line,) = [t for t in figure["data"] if len(set(t["meta"]["labels"])) > 1]
    assert line["x"] == [25, 49, 100]
    others = {t["meta"]["labels"][0] for t in figure["data"] if t is not line}
    assert others == {"vit", "swin", "pvt", "pvt_linear"}


def test_exponents_of_the_report_are_those_of_the_analysis(page: Page, folder: RunFolder) -> None:
    from paca_bench.analyse.scaling import scaling_table

    table = scaling_table(load_results(folder.path), "latency_s")
    for row in table.to_dict("records"):
        shown = "{exponent:.2f} [{exponent_low:.2f}, {exponent_high:.2f}]".format(**row)
        assert shown in page.text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    record = make_record(EVIL)
    bad = censored(make_record(EVIL, resolution=448), reason="</script><script>alert(2)</script>")
    page = report(tmp_path, record, bad)
    assert "<script>alert" not in page.source
    assert "</script><script>alert" not in page.source
    assert page.open == []
    assert EVIL in page.text
    assert "</script><script>alert(2)</script>" in page.text
    for figure in page.figures().values():
        assert EVIL not in json.dumps([t.get("customdata") for t in figure["data"]])


def test_hostile_environment_stays_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record()])
    run.header["environment"] = {EVIL: EVIL, "nested": {"list": [EVIL, None, True]}}
    run.header["paca_bench"] = EVIL
    run.write_header()
    page = Page(write_report(run.path, tmp_path / "report.html"))
    assert "<script>alert" not in page.source
    assert "nested.list" in page.text


@pytest.mark.parametrize(
    "name", ["a/b", "ätt 注意", "x<y&z'", "{{ 7*7 }}", "%{x}", "\u2028", "=1+1"]
)
def test_odd_plugin_names_survive(tmp_path: Path, name: str) -> None:
    page = report(tmp_path, make_record(name), make_record(name, resolution=448))
    assert page.attribute("button", "data-label")[0] == name


def test_layer_only_run(tmp_path: Path) -> None:
    page = report(
        tmp_path,
        *(make_record("paca", 49, level="layer", stage=3, resolution=r) for r in (224, 448)),
    )
    assert page.attribute("section", "id") == SECTIONS
    assert "Layer, stage 3 of nano" in page.text
    assert "No mechanism has both an accuracy and a host latency" in page.text


def test_fit_only_run(tmp_path: Path) -> None:
    page = report(tmp_path, make_fit_record("vit"))
    assert "holds trainings only" in page.text
    assert page.figures() == {}


def test_only_censored_run_says_so_and_is_still_a_report(tmp_path: Path) -> None:
    record = censored(censored(make_record()), "memory", Status.OUT_OF_MEMORY, "allocator gave up")
    data = record.to_json()
    data["statuses"]["complexity"] = "error"
    data["reasons"]["complexity"] = "no counter for foo"
    data["metrics"] = {}
    page = report(tmp_path, type(record).from_json(data))
    assert page.figures() == {}
    assert page.text.count("No value was measured.") == 3
    assert "out of memory: allocator gave up" in page.text
    assert "error: no counter for foo" in page.text


def test_a_wrong_result_shows_no_speed(tmp_path: Path) -> None:
    good = make_record("vit")
    wrong = make_record("swin", resolution=448)
    wrong = replace(
        wrong,
        statuses={**wrong.statuses, "latency": Status.WRONG},
        reasons={"latency": "differs from the reference by 0.3"},
    )
    page = report(tmp_path, good, wrong)
    labels = [
        t["meta"]["labels"]
        for t in page.figures()["scaling-0-latency_s-forward-json"]["data"]
        if "labels" in t["meta"] and not t["meta"].get("censored")
    ]
    assert labels == [["vit"]]
    values = {cell["data-value"] for row in page.cells for cell in row}
    assert str(wrong.metrics["latency_s"]) not in values


def test_zero_clusters_is_a_reference_and_breaks_no_log_axis(tmp_path: Path) -> None:
    page = report(tmp_path, *(make_record("paca", m) for m in (0, 25, 49)))
    (figure,) = [v for k, v in page.figures().items() if k.startswith("clusters-")]
    assert all(x > 0 for trace in figure["data"] for x in trace["x"])


def test_non_square_resolutions_are_named_by_both_sides(tmp_path: Path) -> None:
    record = make_record()
    tall = replace(record, case=replace(record.case, height=256, width=192))
    page = report(tmp_path, record, tall)
    figure = page.figures()["scaling-0-macs-json"]
    assert set(figure["layout"]["xaxis"]["ticktext"]) == {"224", "256x192"}


def test_empty_run_raises(tmp_path: Path) -> None:
    make_run(tmp_path / "empty", [])
    with pytest.raises(NothingMeasuredError, match="no record"):
        write_report(tmp_path / "empty", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_unwritable_targets_raise_and_leave_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record()])
    with pytest.raises(StoreError, match="does not exist"):
        write_report(run.path, tmp_path / "no" / "report.html")
    with pytest.raises(StoreError, match="is a folder"):
        write_report(run.path, tmp_path)
    with pytest.raises(StoreError, match="named twice"):
        write_report([run.path, run.path], tmp_path / "report.html")
    with pytest.raises(StoreError, match="not a run folder"):
        write_report(tmp_path / "absent", tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_existing_file_is_replaced_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record()])
    target = tmp_path / "report.html"
    target.write_text("mine")
    assert write_report(str(run.path), str(target)) == target
    first = target.read_bytes()
    assert first.startswith(b"<!doctype html>")
    assert write_report(run.path, target).read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("two")
    slow = [
        make_record("vit", resolution=r, seed=1, latency_s=s) for r, s in ((224, 0.02), (448, 0.2))
    ]
    slow[1] = replace(slow[1], details={**slow[1].details, "kernel_path": "math"})
    fast = [
        make_record("vit", resolution=r, seed=2, latency_s=s)
        for r, s in ((224, 0.01), (448, 0.2), (896, 1.0))
    ]
    runs = [make_run(root / "old", slow).path, make_run(root / "new", fast).path]
    return Page(write_report(runs, root / "report.html"))


def test_runs_are_overlaid_with_a_dash_each(two: Page) -> None:
    figure = two.figures()["scaling-0-latency_s-forward-json"]
    dashes = {t["meta"]["run"]: t["line"]["dash"] for t in figure["data"] if "run" in t["meta"]}
    assert dashes == {"old": "solid", "new": "dash"}
    assert two.attribute("select", "data-axis")[0] == "run"


def test_same_cases_are_compared_by_ratio(two: Page) -> None:
    assert "compare" in two.attribute("section", "id")
    found = re.findall(r"(0|1)\.\d{3} \[\d\.\d{3}, \d\.\d{3}\] (faster|slower|not dist)", two.text)
    assert found[0] == ("0", "faster")
    assert len(found) == 2
    assert "math → flash" in two.text


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / side / "run", [make_record(seed=seed)]).path
        for seed, side in enumerate(("a", "b"))
    ]
    page = Page(write_report(runs, tmp_path / "report.html"))
    assert str(runs[0]) in page.text
    assert str(runs[1]) in page.text
    assert len(page.cells) == 2


def test_runs_without_a_common_case_say_so(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, [make_record(name)]).path for name in ("vit", "swin")]
    page = Page(write_report(runs, tmp_path / "report.html"))
    assert "No case was measured in both runs." in page.text
