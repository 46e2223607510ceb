"""``paca-bench clusters``: from an image file to a page, and one line for every mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from paca_bench import cli
from paca_bench.models.cluster_maps import image_clusters
from paca_bench.models.registry import create_model
from paca_bench.report.clusters import image_views
from tests.models.test_cluster_maps import FEW, TINY, picture
from tests.report.test_html import Page

SMALL = ("--res", "64", "--option", "depths=1,1,1,1", "--option", "clusters=4,4,4,0")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["paca-bench", "clusters", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_page_shows_what_the_model_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image, page = picture(tmp_path / "noise.png"), tmp_path / "page.html"
    model = create_model(TINY, num_classes=2, **FEW)
    torch.save(model.state_dict(), tmp_path / "own.pth")
    arguments = (image, "--model", TINY, "--checkpoint", tmp_path / "own.pth", *SMALL, "-o", page)
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == f"Clusters: {page}\n"
    own = tmp_path / "own.pth"
    direct = image_clusters(image, TINY, (64, 64), checkpoint=own, options=FEW)
    views = image_views([direct])[0].stages
    shown = Page(page)
    assert shown.attribute("li", "title") == [c.hint for view in views for c in view.clusters]
    assert "Learned clusters of pacavit_tiny_p2cconv_100_0" in shown.text
    assert "weights of own.pth" in shown.text
    for view in views[:3]:
        assert view.overlay in shown.source
        assert view.sheet in shown.source


def test_without_a_checkpoint_the_page_says_that_weights_are_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, page = picture(tmp_path / "noise.png"), tmp_path / "page.html"
    assert run(monkeypatch, image, *SMALL, "-o", page) == 0
    assert "The weights are random" in Page(page).text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("absent.png", "-o", "page.html"), "cannot read absent.png as an image"),
        (("broken.png", "-o", "page.html"), "cannot read broken.png as an image"),
        (("noise.png", "-o", "no/page.html"), "does not exist"),
        (("noise.png", "-o", "."), "is a folder"),
        (("noise.png", "-o", "page.html", "--model", "deit_tiny_patch16_224"), "pacavit_tiny"),
        (("noise.png", "-o", "page.html", "--model", "nope"), "unknown model 'nope'"),
        (("noise.png", "-o", "page.html", "--res", "big"), "--res"),
        (("noise.png", "-o", "page.html", "--res", "2048"), "at most 1024"),
        (("noise.png", "-o", "page.html", "--option", "clusters"), "NAME=VALUE"),
        (("noise.png", "-o", "page.html", "--option", "flavour=3"), "no option 'flavour'"),
        (("noise.png", "-o", "page.html", "--checkpoint", "absent.pth"), "no checkpoint file"),
        (("noise.png", "-o", "page.html", "--checkpoint", "broken.png"), "cannot read broken.png"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "noise.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert run(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("paca-bench: ")
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "page.html").exists()
