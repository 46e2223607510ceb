"""Clusters as pictures: the pixels drawn, the page of one image, and the report's section."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paca_bench.clusters import ImageClusters, image_to_json, stage_clusters
from paca_bench.errors import StoreError
from paca_bench.record import Record
from paca_bench.report.clusters import (
    SEGMENT_OPACITY,
    heat_gradient,
    heat_palette,
    image_views,
    stage_colors,
    write_clusters_page,
)
from tests.builders import make_fit_record, make_record
from tests.report.test_html import EVIL, TRAINED, Page, report
from tests.test_clusters import make_image, random_weights


def decoded(url: str) -> np.ndarray:
    """``[H, W, 4]`` of a PNG in a data URL."""
    kind, _, content = url.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))


def place_in_sheet(position: str, columns: int, rows: int) -> tuple[int, int]:
    """(row, column) that a CSS background position in percent shows."""
    x, y = (float(part.removesuffix("%")) / 100 for part in position.split())
    return round(y * (rows - 1)), round(x * (columns - 1))


@pytest.mark.parametrize("clusters", [1, 2, 5, 12])
def test_every_map_is_where_its_thumbnail_looks(clusters: int) -> None:
    image = make_image(clusters)
    stage, view = image.stages[0], image_views([image])[0].stages[0]
    sheet = decoded(view.sheet)
    columns, rows = (int(p.removesuffix("%")) // 100 for p in view.sheet_size.split())
    assert sheet.shape[:2] == (4 * rows, 6 * columns)
    assert (rows - 1) * columns < clusters <= rows * columns
    assert [int(thumb.name) for thumb in view.clusters] == stage.indices.tolist()
    for levels, thumb in zip(stage.levels, view.clusters, strict=True):
        row, column = place_in_sheet(thumb.position, columns, rows)
        shown = sheet[4 * row : 4 * row + 4, 6 * column : 6 * column + 6]
        assert np.array_equal(shown, heat_palette()[levels.reshape(4, 6)])


def test_the_overlay_has_each_token_in_its_clusters_colour() -> None:
    image = make_image(5)
    stage, view = image.stages[0], image_views([image])[0].stages[0]
    overlay = decoded(view.overlay)
    swatches = {int(c.name): c.color for c in view.clusters if c.color}
    assert set(swatches) == set(stage.strongest.tolist())
    assert len(set(swatches.values())) == len(swatches)
    for token, cluster in enumerate(stage.strongest):
        pixel = overlay[token // 6, token % 6].tolist()
        assert "#{:02x}{:02x}{:02x}".format(*pixel[:3]) == swatches[cluster]
        assert pixel[3] == round(255 * SEGMENT_OPACITY)


def test_captions_are_shares_of_tokens() -> None:
    weights = np.array([[0.5, 0.25, 0.25, 0.0], [0.1, 0.3, 0.3, 0.3], [0.2, 0.2, 0.3, 0.3]])
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    image = ImageClusters("x", pixels, (stage_clusters(1, (2, 2), weights),))
    view = image_views([image])[0].stages[0]
    captions = [(c.name, c.share, bool(c.color)) for c in view.clusters]
    assert captions == [("1", "75.0%", True), ("0", "25.0%", True), ("2", "0.0%", False)]
    assert view.used == 2
    assert view.clusters[1].hint == (
        "cluster 0: strongest for 1 of 4 tokens; largest weight 0.500, 2.00 times the mean 1/N; "
        "spread over 2.83 tokens"
    )


def test_a_cluster_has_one_colour_on_all_images_and_the_largest_differ_most() -> None:
    images = [make_image(6, seed=seed) for seed in (0, 1, 2)]
    colors = stage_colors([image.stages[0] for image in images])
    assert len({tuple(color) for color in colors.tolist()}) == 6
    seen: dict[str, set[str]] = {}
    for view in image_views(images):
        for cluster in view.stages[0].clusters:
            if cluster.color:
                seen.setdefault(cluster.name, set()).add(cluster.color)
    assert all(len(found) == 1 for found in seen.values())
    counts = sum(np.bincount(image.stages[0].strongest, minlength=6) for image in images)
    first, second, third = colors[np.argsort(-counts, kind="stable")[:3]].astype(int)
    assert min(np.abs(a - b).sum() for a, b in ((first, second), (second, third))) > 200


def test_heat_runs_from_dark_to_light() -> None:
    brightness = heat_palette()[:, :3].astype(int).sum(axis=1)
    assert (np.diff(brightness) >= 0).all()
    assert heat_gradient().startswith("linear-gradient(90deg, #080626 0%")


def test_more_clusters_than_bytes_have_values() -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    stage = stage_clusters(1, (20, 20), random_weights(400, 400))
    view = image_views([ImageClusters("x", pixels, (stage,))])[0].stages[0]
    assert len(view.clusters) == 400
    assert decoded(view.overlay).shape == (20, 20, 4)


# ---- the page of one image


def clusters_page(tmp_path: Path, image: ImageClusters, **changes: Any) -> Page:
    settings = {"model": "pacavit", "checkpoint": "weights.pth", **changes}
    return Page(write_clusters_page(image, tmp_path / "clusters.html", **settings))


def test_the_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    page = clusters_page(tmp_path, make_image())
    assert page.open == []
    assert page.scripts == []
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'none';")
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert str(attributes.get(name) or "#").startswith(("#", "data:"))
    urls = re.findall(r"url\(([^)]*)\)", page.source)
    assert len(urls) == 3
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    assert "@import" not in page.source


def test_the_page_shows_the_numbers_of_every_stage(tmp_path: Path) -> None:
    image = make_image(5)
    page = clusters_page(tmp_path, image)
    hints = page.attribute("li", "title")
    assert hints == [c.hint for c in image_views([image])[0].stages[0].clusters]
    assert "5 clusters over 4x6 tokens" in page.text
    assert "no clusters (M = 0)" in page.text
    assert "This stage has no clusters (M = 0): its 2x3 tokens" in page.text
    assert "a softmax over the tokens" in page.text
    assert "largest z[m, n] over m" in page.text
    assert "cat at 16x24 px" in page.text
    photo = re.search(r"--photo: url\(([^)]*)\)", page.source)
    assert photo is not None
    assert np.array_equal(decoded(photo[1])[..., :3], image.pixels)


def test_random_weights_are_called_so(tmp_path: Path) -> None:
    trained = clusters_page(tmp_path, make_image())
    assert "weights of weights.pth" in trained.text
    assert "random" not in trained.text
    random = clusters_page(tmp_path, make_image(), checkpoint=None)
    assert "Clusters of an untrained pacavit" in random.text
    assert "The weights are random: no checkpoint was given" in random.text
    assert "--checkpoint FILE" in random.text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    page = clusters_page(tmp_path, make_image(name=EVIL), model=EVIL, checkpoint=EVIL)
    assert "<script" not in page.source
    assert page.open == []
    assert page.text.count(EVIL) >= 3


def test_unwritable_targets(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "no" / "page.html"):
        with pytest.raises(StoreError):
            write_clusters_page(make_image(), target, model="m", checkpoint=None)
    assert list(tmp_path.iterdir()) == []


# ---- the report's section


def trained(clusters: int, *images: ImageClusters, **kept: Any) -> Record:
    record = make_fit_record("paca", clusters)
    data = {"seed": 7, "images": [image_to_json(image) for image in images], **kept}
    return replace(record, details={**record.details, "clusters": data})


def test_no_section_without_a_trained_host_with_clusters(tmp_path: Path) -> None:
    page = report(tmp_path, make_record("paca", 49), make_fit_record("paca", 49))
    assert page.attribute("section", "id") == TRAINED
    assert ".photo" not in page.source


def test_the_section_shows_every_kept_image(tmp_path: Path) -> None:
    images = [make_image(5, "zero", 0), make_image(5, "one", 1)]
    page = report(tmp_path, make_fit_record("vit"), trained(5, *images))
    assert "learned" in page.attribute("section", "id")
    assert "#learned" in page.attribute("a", "href")
    assert "paca (M=5), host nano, trained at 32 px" in page.text
    assert "training on mnist5k at 32 px, seed 7" in page.text
    assert "A test image of class zero" in page.text
    assert "A test image of class one" in page.text
    hints = [c.hint for view in image_views(images) for c in view.stages[0].clusters]
    assert page.attribute("li", "title") == hints
    assert "learned-choice" not in page.source
    assert page.open == []
    ids = [str(a["id"]) for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_one_host_of_several_is_shown_at_a_time(tmp_path: Path) -> None:
    page = report(tmp_path, trained(5, make_image(5)), trained(9, make_image(9)))
    chosen = [v for v in page.attribute("option", "value") if v.startswith("learned-")]
    assert chosen == ["learned-0", "learned-1"]
    panels = [a for _, a in page.elements if a.get("id") in chosen]
    assert ["hidden" in a for a in panels] == [False, True]


def test_fewer_maps_than_clusters_are_said_to_be_fewer(tmp_path: Path) -> None:
    few = stage_clusters(1, (4, 6), random_weights(9, 24), keep=2)
    none = stage_clusters(2, (2, 3), random_weights(9, 6), keep=0)
    image = replace(make_image(), stages=(few, none))
    page = report(tmp_path, trained(9, image))
    assert "the 2 clusters that are strongest most often, of 9, 4x6 tokens" in page.text
    assert "Maps of stage 2" not in page.text
    assert len(page.attribute("li", "title")) == 2


def test_a_hostile_class_name_stays_text(tmp_path: Path) -> None:
    page = report(tmp_path, trained(5, make_image(name=EVIL), seed=EVIL))
    assert "<script>alert" not in page.source
    assert f"A test image of class {EVIL}" in page.text


def test_a_damaged_record_is_one_clear_error(tmp_path: Path) -> None:
    record = trained(5, make_image())
    record.details["clusters"]["images"][0]["pixels"] = "AAAA"
    with pytest.raises(StoreError, match="learned clusters are damaged"):
        report(tmp_path, record)
