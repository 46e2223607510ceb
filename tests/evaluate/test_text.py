"""An evaluation as text: whole on a narrow terminal, and its progress."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from paca_bench.analyse.proportion import proportion_estimate
from paca_bench.analyse.statistics import Estimate
from paca_bench.data.stream import BadImage
from paca_bench.evaluate import text
from paca_bench.evaluate.published import PublishedTop1
from paca_bench.evaluate.result import Header, Row
from paca_bench.evaluate.run import prepare
from tests.evaluate.colours import CLASSES, NAME, colours_checkpoint, make_folder, register_colours

HEADER = Header(
    model="swin_tiny_patch4_window7_224",
    options={},
    checkpoint="swin[0].pth",
    sha256="0123456789abcdef",
    data="imagenet/val",
    num_classes=1000,
    classes_present=1000,
    images=50_000,
    preprocessing="mean 0.5, std 0.5 (somewhere)",
    computing="float32",
    batch=64,
    environment={"device": "cuda:0"},
    notes=(),
)


def rate(value: float) -> Estimate:
    return Estimate(value, 0.98 * value, 1.02 * value, "95% t over 10 groups", 10, 700)


ROW = Row(
    side=224,
    preprocessing="shorter side to 256 px",
    published=PublishedTop1(percent=81.2, source="the README"),
    images=49_994,
    bad=tuple(BadImage(Path(f"val/x/{i}.JPEG"), "truncated") for i in range(6)),
    top1=proportion_estimate(40_600, 49_994),
    top5=proportion_estimate(47_800, 49_994),
    model_images_per_s=rate(2345.0),
    images_per_s=rate(1234.0),
    kernel="math",
)


def printed(rows: list[Row], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    text.print_evaluation(HEADER, rows, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_number_is_cut_off(width: int) -> None:
    shown = printed([ROW], width)
    assert "…" not in shown
    for number in ("81.21", "[80.86, 81.55]", "95.61", "81.2", "+0.01", "2340", "1230"):
        assert number in shown, number
    assert "swin[0].pth (sha256 0123456789ab)" in shown


def test_the_first_bad_files_are_named_and_the_rest_counted() -> None:
    shown = " ".join(printed([ROW], 400).split())
    assert "skipped: 6 files that cannot be read: val/x/0.JPEG (truncated)" in shown
    assert "and 3 more, which --json names" in shown
    assert "val/x/3.JPEG" not in shown


def test_a_row_that_was_not_measured_says_why() -> None:
    reason = "out of memory in batches of 64; take a smaller --batch"
    row = Row(side=1024, preprocessing="p", published=PublishedTop1(why_none="w"), reason=reason)
    shown = printed([ROW, row], 400)
    assert f"1024 px: not measured: {reason}" in shown
    assert "no published top-1 beside it: w" in shown


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_shown_as_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    register_colours(monkeypatch)
    monkeypatch.setattr(text, "_EVERY_S", 0.0)
    make_folder(tmp_path / "data", {name: ["red"] for name in CLASSES})
    weights = colours_checkpoint(tmp_path / "w.pth")
    evaluation = prepare(NAME, weights, f"folder:{tmp_path / 'data'}", res="16,32", batch=4)
    console = Console(file=io.StringIO(), width=80, force_terminal=is_terminal)
    with text.progress(evaluation, console) as observer:
        rows = list(evaluation.rows(observer))
    assert [row.images for row in rows] == [6, 6]
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    if is_terminal:
        assert "32 px" in shown
        assert "6/6" in shown
    else:
        assert shown.splitlines() == [
            f"{side} px: {done} of 6 images" for side in (16, 32) for done in (4, 6)
        ]
