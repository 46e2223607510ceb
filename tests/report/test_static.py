"""Runs that measured nothing, growth of closed forms, the roofline, local exponents."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest
from rich.console import Console

from paca_bench.analyse.summary import verdict
from paca_bench.complexity.roofline import Ceilings
from paca_bench.record import Record, Status
from paca_bench.report.growth import growth_rows
from paca_bench.report.html import write_report
from paca_bench.report.roofline import run_ceilings
from paca_bench.report.text import print_summary
from paca_bench.results import load_results
from paca_bench.store import RunFolder
from tests.builders import LAWS, make_record, make_run
from tests.report.test_html import Page

SIDES = (64, 128, 256, 512, 1024)
CEILINGS = Ceilings({"float32": 1e11}, ((2**18, 6e10), (2**22, 4e10), (2**28, 1e10)))
GROWTH = {
    "level": "host",
    "host": "nano",
    "label": "paca (M=49)",
    "resolution": 224,
    "stages": [
        {
            "stage": f"stage{number}",
            "macs": macs,
            "share": macs / 100,
            "degree": degree,
            "degree_share": 0.5,
            "exponent": 1.0 + 0.02 * (degree - 1),
        }
        for number, macs, degree in ((1, 40, 1), (2, 30, 1), (3, 20, 1), (4, 10, 2))
    ],
    "winner": "stage4",
    "largest_from": 960,
    "dominates_from": 2560,
}


def static(record: Record) -> Record:
    """What ``analyze`` would know of a case."""
    tokens = record.details["tokens"]
    quadratic = record.case.mechanism == "vit"
    macs = 10_000 * tokens + (tokens**2 if quadratic else 0)
    return replace(
        record,
        statuses={"complexity": Status.OK},
        metrics={
            "macs": macs,
            "flops": 2 * macs,
            "params": 1000,
            "backward_macs": 2 * macs,
            "macs_exponent": 1 + (tokens**2 / macs if quadratic else 0),
            "moved_bytes": 4000 * tokens,
            "intensity_flops_per_byte": 2 * macs / (4000 * tokens),
            "predicted_peak_memory_bytes": 900 * tokens,
        },
        samples={},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("runs") / "static"
    records = [static(make_record(*law, resolution=side)) for law in LAWS for side in SIDES]
    run = make_run(path, records)
    run.header["growth"] = [GROWTH]
    run.write_header()
    return run


@pytest.fixture(scope="module")
def page(folder: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(folder.path, tmp_path_factory.mktemp("out") / "report.html"))


def test_a_static_run_draws_what_it_knows(page: Page) -> None:
    scaling = {name for name in page.figures() if name.startswith("scaling-0")}
    assert scaling == {
        "scaling-0-macs-json",
        "scaling-0-moved_bytes-forward-json",
        "scaling-0-predicted_peak_memory_bytes-forward-json",
        "scaling-0-local-forward-json",
    }
    assert "roofline" not in page.attribute("section", "id")
    headers = [text for text in ("Moved (MiB)", "Predicted memory (MiB)") if text in page.text]
    assert headers == ["Moved (MiB)", "Predicted memory (MiB)"]
    assert "MACs backward" not in page.text, "says nothing where no case trains"


def test_the_verdict_of_a_static_run_says_who_grows_how_and_where_they_cross(
    folder: RunFolder,
) -> None:
    sentences = verdict(load_results(folder.path)).sentences
    assert sentences[0].startswith("Nothing was run: this follows from closed forms alone.")
    assert any("paca (M=49) has fewer MACs than vit at all 5" in text for text in sentences)
    claim = next(text for text in sentences if text.startswith("Is growth linear"))
    assert "vit: in MACs it does not hold" in claim
    assert "paca (M=49): in MACs it holds" in claim


def test_the_local_exponent_is_drawn_between_linear_and_quadratic(page: Page) -> None:
    figure = page.figures()["scaling-0-local-forward-json"]
    go.Figure(figure)
    assert [t["meta"]["reference"] for t in figure["data"] if "reference" in t["meta"]] == [1, 2]
    lines = {t["name"]: t["y"] for t in figure["data"] if t["meta"].get("exact")}
    assert lines["swin"] == [1] * 5
    assert lines["vit"] == sorted(lines["vit"])
    assert figure["layout"]["yaxis"]["range"][1] > 2


def test_measured_exponents_carry_the_intervals_of_both_neighbours(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [make_record("swin", resolution=r) for r in (64, 128)])
    page = Page(write_report(run.path, tmp_path / "report.html"))
    (trace,) = [
        t for t in page.figures()["scaling-0-local-forward-json"]["data"] if t["meta"].get("labels")
    ]
    first, last = (record.metrics for record in run.records())
    run_length = 4  # four times the tokens
    slope = last["latency_s"] / first["latency_s"]
    assert run_length ** trace["y"][0] == pytest.approx(slope, rel=1e-4)
    assert trace["x"] == [pytest.approx((64 * 128) ** 0.5, rel=1e-5)]
    assert trace["error_y"]["array"][0] > 0


def test_growth_names_the_stage_that_wins_and_from_where(page: Page) -> None:
    assert "growth" in page.attribute("section", "id")
    text = page.text.split("How the closed form grows")[1]
    assert "linear in the tokens: stage1, stage2, stage3; quadratic in the tokens: stage4" in text
    assert "stage4 costs most from 960 px, and more than all the rest together from 2560" in text
    widths = [str(a["style"]) for t, a in page.elements if t == "i" and "style" in a]
    assert widths == ["width: 40.0%", "width: 30.0%", "width: 20.0%", "width: 10.0%"]


def test_growth_of_several_runs_is_said_once_and_of_older_runs_not_at_all() -> None:
    (row,) = growth_rows([{}, {"growth": [GROWTH]}, {"growth": [GROWTH, {**GROWTH, "stages": []}]}])
    assert (row.degree, row.resolution) == ("quadratic", 224)


def test_a_static_summary_has_both_ends_and_no_empty_latency(folder: RunFolder) -> None:
    out = io.StringIO()
    print_summary(load_results(folder.path), Console(file=out, width=100), [folder.header])
    text = out.getvalue()
    header, rest = text.split("──", 1)
    assert "latency" not in header
    assert header.count("MACs") == 2
    assert "predicted" in header
    assert "moved" in header
    vit = next(line for line in rest.splitlines() if line.startswith("vit"))
    assert "4.95 G" in vit
    assert "56.2 MiB" in vit
    assert "host nano, paca (M=49): linear in the tokens: stage1" in " ".join(text.split())


def timed(record: Record, share: float) -> Record:
    """A measured case that reaches ``share`` of its bound."""
    known = static(record).metrics
    factor = 3 if record.case.mode == "train" else 1
    latency = record.metrics["latency_s"]
    metrics = {**record.metrics, **known, "bound_s": share * latency, "roof_share": share}
    metrics["intensity_flops_per_byte"] = 2 * factor * known["macs"] / known["moved_bytes"]
    return replace(record, metrics=metrics)


def roofline_page(tmp_path: Path, shares: tuple[float, ...], ceilings: object) -> Page:
    records = [
        timed(make_record("swin", resolution=side, mode=mode, batch=2), share)
        for mode in ("forward", "train")
        for side, share in zip(SIDES, shares, strict=False)
    ]
    run = make_run(tmp_path / "run", records)
    run.header["environment"]["ceilings"] = ceilings
    run.write_header()
    return Page(write_report(run.path, tmp_path / "report.html"))


def test_roofline_shows_the_rate_of_whole_calls_below_the_ceilings(tmp_path: Path) -> None:
    page = roofline_page(tmp_path, (0.2, 0.4), CEILINGS.to_json())
    for number, (mode, factor) in enumerate((("forward", 1), ("train", 3))):
        figure = page.figures()[f"roofline-{number}-json"]
        go.Figure(figure)
        (curve,) = [t for t in figure["data"] if "labels" in t["meta"]]
        latency = make_record("swin", resolution=64, mode=mode, batch=2).metrics["latency_s"]
        rate = 2 * 2 * factor * 10_000 * 256 / latency
        unit = {"GFLOP/s": 1e9, "TFLOP/s": 1e12}[
            figure["layout"]["yaxis"]["title"]["text"].split("(")[1][:-1]
        ]
        assert curve["y"][0] * unit == pytest.approx(rate, rel=1e-4)
        assert "20.0% of its roof" in curve["customdata"][0]
        roofs = {t["name"]: t["y"][-1] for t in figure["data"] if "roof" in t["meta"]}
        assert list(roofs) == [
            "memory 10.0 GB/s",
            "cache 60.0 GB/s",
            "float32 products 200 GFLOP/s",
        ]
        assert set(roofs.values()) == {2e11 / unit}, "all meet the flat roof"
    assert "above 100%" not in page.text
    assert "memory, copies of 256 MiB; cache, copies of 256 KiB" in page.text


def test_a_share_above_the_roof_is_pointed_out(tmp_path: Path) -> None:
    page = roofline_page(tmp_path, (0.5, 1.12), CEILINGS.to_json())
    assert "1 of 2 points above 100% of the roof, the farthest swin at 128 px with 112.0%" in (
        page.text
    )
    assert "112.0" in page.text.split("All cases")[1], "and not hidden in the table"


@pytest.mark.parametrize(
    "old", [None, 3, {}, {"matmul": 1e12}, {"macs_per_s": {}, "bytes_per_s": []}]
)
def test_older_ceilings_draw_no_roofline(tmp_path: Path, old: object) -> None:
    page = roofline_page(tmp_path, (0.5, 0.6), old)
    assert "roofline" not in page.attribute("section", "id")
    assert run_ceilings({"environment": {"ceilings": old}}) is None


def test_laws_and_the_claim_stand_below_the_exponents(tmp_path: Path) -> None:
    records = [make_record(m, resolution=r) for m in ("vit", "swin") for r in (*SIDES, 768)]
    page = Page(write_report(make_run(tmp_path / "run", records).path, tmp_path / "r.html"))
    claims = [
        a["class"] for t, a in page.elements if t == "span" and "claim" in str(a.get("class"))
    ]
    assert "claim slower" in claims
    assert "linear does not hold" in page.text


def test_predictions_stand_beside_measured_memory_without_a_chart_of_their_own(
    tmp_path: Path,
) -> None:
    records = [make_record("vit", resolution=side) for side in SIDES]
    page = Page(write_report(make_run(tmp_path / "run", records).path, tmp_path / "r.html"))
    assert "Predicted memory (MiB)" in page.text
    assert not any("predicted" in name for name in page.figures())
    assert json.dumps(page.figures()).count("moved") == 0
