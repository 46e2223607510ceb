"""Runs larger than a screen: all cases in pages, figures of a part, and a note of what is left."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from paca_bench.report import downloads
from paca_bench.report.drawn import MOST_CURVES, MOST_PLACES, MOST_RESOLUTIONS, drawn
from paca_bench.report.html import write_report
from paca_bench.report.table import PAGE_ROWS, case_table
from paca_bench.report.theme import label_order
from paca_bench.results import load_compact, load_results
from tests.builders import censored, make_fit_record, make_record, make_run
from tests.report.test_html import Page


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    records = [make_record("vit", resolution=32 * i) for i in range(1, 81)]
    records += [make_record("paca", m, resolution=r) for m in range(1, 101) for r in (224, 448)]
    records += [censored(make_record("swin")), make_fit_record("vit")]
    return load_results(make_run(tmp_path_factory.mktemp("runs") / "large", records).path)


def column(packed: dict, row: int) -> str:
    index = packed.get("index")
    return packed["values"][index[row] if index else row]


def test_packed_columns_hold_every_case_in_the_order_of_exact_values(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    table = case_table(frame)
    data = json.loads(table.packed)
    assert data["ids"] == frame["case_id"].tolist()
    assert data["bad"] == [280]
    titles = [one.title for one in table.columns]
    packed = dict(zip(titles, data["columns"], strict=True))
    assert [column(packed["Mechanism"], i) for i in range(len(frame))] == frame["label"].tolist()
    ranks = packed["Latency (ms)"]["ranks"]
    known = frame["latency_s"].notna() & (frame["latency_status"] == "ok")
    assert [rank < 0 for rank in ranks] == (~known).tolist()
    pairs = zip(ranks, frame["latency_s"], strict=True)
    ordered = sorted((rank, value) for rank, value in pairs if rank >= 0)
    assert [value for _, value in ordered] == sorted(frame["latency_s"][known])
    assert column(packed["Latency (ms)"]["notes"], 0).startswith("[")
    assert column(data["axes"]["mechanism"], 80) == "paca"


def test_the_first_page_stands_in_the_html_and_all_rows_in_the_data(tmp_path: Path) -> None:
    records = [make_record("vit", resolution=32 * i) for i in range(1, PAGE_ROWS + 51)]
    page = Page(write_report(make_run(tmp_path / "run", records).path, tmp_path / "r.html"))
    assert len(page.cells) == PAGE_ROWS
    assert len(page.unpacked("case-data")["ids"]) == PAGE_ROWS + 50
    assert f"The first {PAGE_ROWS} of {PAGE_ROWS + 50}" in page.text
    assert page.attribute("tr", "title")[-1] == records[PAGE_ROWS - 1].case.id


def test_figures_show_labels_of_every_mechanism_and_both_ends_of_a_curve(
    frame: pd.DataFrame,
) -> None:
    labels = label_order(frame)
    shown = drawn(frame, labels)
    assert len(shown.labels) == MOST_CURVES
    assert {"vit", "swin", "paca (M=1)", "paca (M=100)"} <= set(shown.labels)
    assert shown.labels == [label for label in labels if label in shown.labels]
    (place,) = shown.places
    sides = place.rows[place.rows["label"] == "vit"]["resolution"]
    assert len(sides) <= MOST_RESOLUTIONS
    assert (sides.min(), sides.max()) == (32, 2560)
    assert len(shown.frame[shown.frame["label"] == "vit"]) == 81, "exponents rest on all"
    assert f"{MOST_CURVES} of 102 labels" in shown.notes[0]
    assert "table below has all" in shown.notes[-1]


def test_what_fits_a_screen_is_drawn_whole(frame: pd.DataFrame) -> None:
    small = frame[frame["label"].isin(["paca (M=1)", "paca (M=2)"])]
    shown = drawn(small, label_order(small))
    assert shown.notes == []
    assert sum(len(place.rows) for place in shown.places) == len(small)


def test_many_places_are_chosen_from_a_list(tmp_path: Path) -> None:
    records = [make_record("swin", batch=b, resolution=64) for b in range(1, MOST_PLACES + 3)]
    page = Page(write_report(make_run(tmp_path / "run", records).path, tmp_path / "r.html"))
    assert page.attribute("select", "id")[0] == "scaling-choice"
    assert "tablist" not in page.attribute("div", "role")
    assert f"first {MOST_PLACES} of {MOST_PLACES + 2} places" in page.text


def test_files_too_large_for_a_page_are_named_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", 100)
    monkeypatch.setattr(downloads, "MOST_ROWS", 0)
    page = Page(write_report(make_run(tmp_path / "run", [make_record()]).path, tmp_path / "r.html"))
    assert page.attribute("button", "data-download") == []
    text = page.text
    assert "records.jsonl" in text
    assert "it is records.jsonl in the run folder run" in text
    assert "Both are inside" not in text


def test_compact_frames_hold_the_same_numbers(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run").path
    whole, compact = load_results(path), load_compact(path)
    assert [[list(p) for p in taken] for taken in compact["latency_samples_s"]] == (
        whole["latency_samples_s"].tolist()
    )
    rest = whole.columns.difference(["latency_samples_s", "details"])
    pd.testing.assert_frame_equal(whole[rest], compact[rest])
    assert compact["details"][0] == whole["details"][0]
