"""What a report says of accuracy: fronts, pairs, maps, losses, side by side."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest

from paca_bench.complexity.published import published_rows
from paca_bench.record import Record, Status
from paca_bench.report.beside import beside_tables
from paca_bench.report.html import write_report
from paca_bench.report.losses import MOST_POINTS, mean_curve
from paca_bench.report.pairs import pair_tables
from paca_bench.report.surface import surface_figure, surfaces
from paca_bench.report.theme import label_order
from paca_bench.results import load_compact, load_results
from paca_bench.units import format_count
from tests.builders import make_record, make_run, make_training
from tests.report.test_html import EVIL, Page

CLUSTERS = (25, 49, 100)


def trained(**metrics: float) -> list[Record]:
    """A host with every kind of cost, trained at two sizes; one training is over budget."""
    records = []
    for name, clusters, logit in (("vit", None, 4), *(("paca", m, 2) for m in CLUSTERS)):
        for side in (32, 64):
            records.append(make_record(name, clusters, resolution=side))
            fit = make_training(name, clusters, logit=logit, resolution=side, macs=1000 * side)
            fit = replace(fit, metrics={**fit.metrics, "train_peak_memory_bytes": side * 1e6})
            records.append(fit)
    return [over_budget(r) if r.case.num_clusters == 100 and is_fit(r, 64) else r for r in records]


def is_fit(record: Record, side: int) -> bool:
    return record.case.mode == "fit" and record.case.height == side


def over_budget(record: Record) -> Record:
    return replace(
        record,
        statuses={**record.statuses, "accuracy": Status.OVER_BUDGET},
        reasons={"accuracy": "predicted 41 min; raise --budget"},
        metrics={"macs": record.metrics["macs"]},
        samples={},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "sweep", trained()).path


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(run, tmp_path_factory.mktemp("out") / "report.html"))


def figures(page: Page, prefix: str) -> list[dict]:
    return [figure for id_, figure in page.figures().items() if id_.startswith(prefix)]


def test_the_reader_finds_side_by_side_first(page: Page) -> None:
    assert page.attribute("section", "id")[:2] == ["beside", "scaling"]
    first = page.text.split("Side by side")[2].split("How cost grows with")[0]
    for word in ("Accuracy", "MACs", "Latency", "Peak memory", "Training memory", "On the front"):
        assert word in first
    assert page.open == []
    ids = [str(a["id"]) for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_plotly_accepts_every_figure(page: Page) -> None:
    for figure in page.figures().values():
        go.Figure(figure)


def test_fronts_of_every_cost_show_probabilities(page: Page) -> None:
    for prefix in ("front-", "memory-front-", "macs-front-", "train-memory-front-"):
        charts = figures(page, prefix)
        assert charts
        points = [t for c in charts for t in c["data"] if "front_probability" in t["meta"]]
        assert points
        for point in points:
            chance = point["meta"]["front_probability"]
            assert 0 <= chance <= 1
            assert point["marker"]["opacity"] == pytest.approx(0.45 + 0.55 * chance, rel=1e-4)
            assert point["marker"]["symbol"].endswith("-open") == (chance <= 0.05)
            assert point["text"][0].endswith("%")
            assert "probability" in point["customdata"][0]
    assert "with at least 95% probability: " in page.text
    assert "4000 draws of latencies by log-t over processes" in page.text


def test_fronts_of_macs_are_drawn_once_whatever_the_modes(tmp_path: Path) -> None:
    records = [
        make_record(name, mode=mode) for name in ("vit", "swin") for mode in ("forward", "train")
    ]
    records += [make_training("vit"), make_training("swin")]
    page = Page(write_report(make_run(tmp_path / "run", records).path, tmp_path / "r.html"))
    assert len(figures(page, "front-")) == 2
    assert len(figures(page, "memory-front-")) == 2
    (macs,) = figures(page, "macs-front-")
    assert sum("front_probability" in t["meta"] for t in macs["data"]) == 2


def test_accuracy_over_resolution_and_clusters(page: Page) -> None:
    (figure,) = figures(page, "surface-")
    cells, texts = figure["data"]
    assert cells["x"] == ["25", "49", "100"]
    assert cells["y"] == ["32", "64"]
    assert cells["z"][1][2] is None
    known = [value for row in cells["z"] for value in row if value is not None]
    assert len(known) == 5
    for value, text in zip(known[:3], texts["text"][:3], strict=True):
        assert re.match(r"<b>\d\d\.\d</b><br>±\d\.\d$", text)
        assert float(text[3:7]) == pytest.approx(value, abs=0.051)
    assert texts["text"][5] == "over<br>budget"
    assert "predicted 41 min" in texts["customdata"][5]


def test_a_map_needs_two_by_two_and_says_what_was_not_asked_for(run: Path) -> None:
    frame = load_results(run)
    assert len(surfaces(frame).charts) == 1
    fits = frame[(frame["mode"] == "fit") & (frame["mechanism"] == "paca")]
    assert surfaces(fits[fits["resolution"] == 32]).charts == []
    assert surfaces(fits[fits["num_clusters"] == 25]).charts == []
    hole = fits[~((fits["resolution"] == 32) & (fits["num_clusters"] == 25))]
    figure = surface_figure(hole.to_dict("records"))
    assert figure["data"][1]["text"][0] == "not asked for"
    assert "no training was asked for" in figure["data"][1]["customdata"][0]


def test_ink_stays_readable_on_equal_cells(run: Path) -> None:
    fits = load_results(run).query("mode == 'fit' and mechanism == 'paca'")
    figure = surface_figure(fits.assign(accuracy=0.9).to_dict("records"))
    cells, texts = figure["data"]
    assert cells["zmin"] < cells["zmax"]
    assert set(texts["textfont"]["color"][:5]) == {"#FDFDFD"}


def test_losses_are_means_over_seeds(page: Page, run: Path) -> None:
    charts = figures(page, "loss-")
    assert len(charts) == 2
    row = (
        load_results(run).query("mode == 'fit' and mechanism == 'vit' and resolution == 32").iloc[0]
    )
    # The charts stand by size, the largest first.
    (trace,) = [t for t in charts[1]["data"] if t["meta"]["labels"] == ["vit"]]
    losses = row["details"]["train_loss"]
    assert trace["x"] == list(range(1, 61))
    assert trace["y"][7] == pytest.approx(sum(one[7] for one in losses) / 3, rel=1e-5)
    assert "mean of 3 seeds" in trace["customdata"][0]


def test_loss_curves_are_thinned_and_read_with_care() -> None:
    long = mean_curve(
        {"train_loss": [[float(i + 1) for i in range(250)]], "train_loss_window": [4]}
    )
    assert long is not None
    assert len(long.steps) <= MOST_POINTS
    assert long.steps[0] == 12
    assert long.losses[0] == 2
    assert long.steps[-1] == 1000
    short = mean_curve({"train_loss": [[2.0, 1.0], [4.0]]})
    assert short is not None
    assert (short.steps, short.losses, short.seeds) == ([1], [3], 2)
    other = mean_curve({"train_loss": [[2.0], [4.0]], "train_loss_window": [1, 2]})
    assert other is not None
    assert (other.losses, other.seeds) == ([2], 1)
    diverged = mean_curve({"train_loss": [[2.0, float("inf"), 1.0]]})
    assert diverged is not None
    assert diverged.losses == [2]
    for nothing in ({}, {"train_loss": []}, {"train_loss": [[]]}, {"train_loss": [[float("nan")]]}):
        assert mean_curve(nothing) is None


def test_pairs_stand_in_the_reports_order_with_their_verdicts(page: Page, run: Path) -> None:
    frame = load_results(run)
    order = label_order(frame)
    large, small = pair_tables(frame, order)
    assert large.title == "Host nano, trained at 64 px on mnist5k"
    assert len(small.lines) == 6
    assert len(large.lines) == 3
    for line in small.lines:
        assert order.index(line.label) < order.index(line.other)
    (first,) = [x for x in small.lines if (x.label, x.other) == ("paca (M=49)", "vit")]
    assert first.verdict == "lower"
    assert first.css == "slower"
    assert first.difference < 0
    assert first.gap in page.text
    assert "With 3 seeds a difference had to be" in page.text
    assert "Least visible (points)" in page.text


def test_of_very_many_pairs_the_most_telling_are_shown(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = load_results(run)
    order = label_order(frame)
    (_, whole) = pair_tables(frame, order)
    monkeypatch.setattr("paca_bench.report.pairs.MOST_LINES", 2)
    (_, part) = pair_tables(frame, order)
    lowest = sorted(float(line.p_sort) for line in whole.lines)[:2]
    assert sorted(float(line.p_sort) for line in part.lines) == lowest
    assert part.note.startswith("The 2 of 6 pairs with the lowest p are shown. ")


def test_compact_frames_have_the_same_pairs_and_losses(run: Path) -> None:
    whole, compact = load_results(run), load_compact(run)
    order = label_order(whole)
    assert pair_tables(whole, order) == pair_tables(compact, order)
    assert beside_tables(whole, order) == beside_tables(compact, order)


def cells(table, label: str) -> dict[str, str]:
    (line,) = [cells for name, cells in table.lines if name == label]
    return {h.title: cell.text for h, cell in zip(table.headings, line, strict=True)}


def test_costs_stand_beside_the_accuracy_of_the_same_size(run: Path) -> None:
    frame = load_results(run)
    large, small = beside_tables(frame, label_order(frame))
    assert "at 64 px" in large.title
    assert "at 64 px, batch 1, float32 on cpu" in large.note
    row = frame.query("mechanism == 'vit' and mode == 'forward' and resolution == 32").iloc[0]
    shown = cells(small, "vit")
    assert shown["Latency"] == f"{1e3 * row['latency_s']:.2f} ms"
    assert shown["MACs"] == format_count(row["macs"])
    assert small.note.endswith("MACs: one image, forward, at 32 px.")
    assert shown["Training memory"] == "30.5 MiB"
    assert shown["On the front"].endswith("%")
    assert "Paper: top-1" not in shown
    assert cells(large, "paca (M=100)")["Accuracy"] == "over budget"


def test_all_costs_of_a_line_are_of_one_size(tmp_path: Path) -> None:
    records = [make_record("vit", resolution=416), make_training("vit", macs=7)]
    frame = load_results(make_run(tmp_path / "run", records).path)
    (table,) = beside_tables(frame, label_order(frame))
    shown = cells(table, "vit")
    assert shown["MACs"] == format_count(records[0].metrics["macs"])
    assert "one forward pass at 416 px" in table.note
    assert "MACs: one image, forward, at 416 px" in table.note


def test_trainings_alone_have_their_own_counts(tmp_path: Path) -> None:
    frame = load_results(make_run(tmp_path / "run", [make_training("vit", macs=7000)]).path)
    (table,) = beside_tables(frame, label_order(frame))
    assert cells(table, "vit")["MACs"] == "7.00 k"
    assert "No pass" in table.note


def test_models_have_the_papers_own_numbers(tmp_path: Path) -> None:
    name = "pacavit_small_p2cconv_49_0"
    (row,) = [r for r in published_rows() if r.model == name and r.task == "classification"]
    model = make_record(name, level="model", resolution=224)
    records = [replace(model, case=replace(model.case, host=""))]
    records += [make_training(name, level="model", resolution=32)]
    frame = load_results(make_run(tmp_path / "run", records).path)
    (table,) = beside_tables(frame, [name])
    shown = cells(table, name)
    assert shown["Paper: top-1"] == f"{row.score}%"
    notes = {h.title: cell.note for h, cell in zip(table.headings, table.lines[0][1], strict=True)}
    assert notes["MACs"] == f"paper, 224 px: {row.macs_g} G"
    assert notes["Parameters"] == f"paper, 224 px: {row.params_m} M"
    assert row.source in table.note
    assert "Accuracy" in shown
    untrained = load_results(make_run(tmp_path / "alone", records[:1]).path)
    (table,) = beside_tables(untrained, [name])
    assert table.title == "Published models"
    assert "Accuracy" not in cells(table, name)
    assert cells(table, name)["Paper: top-1"] == f"{row.score}%"


def test_hosts_without_trainings_have_no_table_of_their_own(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path / "run", [make_record()]).path, tmp_path / "r.html"))
    assert "beside" not in page.attribute("section", "id")
    assert "#beside" not in page.attribute("a", "href")


def test_runs_are_kept_apart_and_hostile_names_stay_text(tmp_path: Path) -> None:
    records = [make_training(EVIL, macs=10), make_training("swin", macs=20)]
    runs = [make_run(tmp_path / name, records).path for name in ("a", "b")]
    page = Page(write_report(runs, tmp_path / "r.html"))
    assert "<script>alert" not in page.source
    assert page.open == []
    assert "Host nano, trained at 32 px on mnist5k, run b" in page.text
    assert "On the front of run a, " in page.text
    (figure,) = figures(page, "macs-front-")
    assert {t["meta"]["run"] for t in figure["data"] if "run" in t["meta"]} == {"a", "b"}
