"""What a training keeps of its clusters, and that keeping it changes nothing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paca_bench.clusters import KEPT_IMAGES, image_from_json
from paca_bench.data.dataset import ImageDataset
from paca_bench.measure.accuracy import train_and_test
from paca_bench.measure.clusters import first_of_each, kept_clusters
from paca_bench.models.cluster_maps import assignments
from paca_bench.models.subject import build_subject
from paca_bench.training_job import train
from tests.measure.test_accuracy import RECIPE, make_case, stripes

pytestmark = pytest.mark.usefixtures("one_thread", "no_peak")


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return ImageDataset("stripes", ("lying", "standing"), stripes(20, 0), stripes(10, 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keeping_clusters_changes_no_bit_of_the_result(dataset: ImageDataset, dtype: str) -> None:
    case = make_case("paca", 9, dtype=dtype)
    state = torch.get_rng_state()
    plain = train_and_test(case, dataset, RECIPE, seed=2)
    kept = train_and_test(case, dataset, RECIPE, seed=2, keep_clusters=True)
    assert (kept.train_loss, kept.outcomes) == (plain.train_loss, plain.outcomes)
    assert torch.equal(torch.get_rng_state(), state)
    assert plain.clusters == []
    images = [image_from_json(one) for one in kept.clusters]
    assert [image.name for image in images] == ["lying", "standing"]
    assert [stage.num_clusters for stage in images[0].stages] == [9, 9, 9, 0]
    assert [stage.grid for stage in images[0].stages] == [(8, 8), (4, 4), (2, 2), (1, 1)]


def test_a_host_without_clusters_keeps_none(dataset: ImageDataset) -> None:
    for case in (make_case("vit"), make_case("paca", 0)):
        assert train_and_test(case, dataset, RECIPE, seed=2, keep_clusters=True).clusters == []


def test_the_worker_puts_them_into_the_details(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, name in itertools.product(("train", "test"), ("ant", "bee")):
        (tmp_path / part / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    job = {
        "case": make_case("paca", 9).to_json(),
        "data": f"folder:{tmp_path}",
        "recipe": RECIPE.to_json(),
        "seed": 4,
    }
    plain, kept = train(job), train({**job, "keep_clusters": True})
    assert "clusters" not in plain.details
    assert plain.samples["accuracy"] == kept.samples["accuracy"]
    assert plain.details["weights_sha256"] == kept.details["weights_sha256"]
    assert kept.details["clusters"]["seed"] == 4
    names = [image_from_json(one).name for one in kept.details["clusters"]["images"]]
    assert names == ["ant", "bee"]
    assert json.loads(json.dumps(kept.details))["clusters"] == kept.details["clusters"]


def test_what_is_kept_is_what_the_host_computes() -> None:
    torch.manual_seed(0)
    host = build_subject(make_case("paca", 7), num_classes=3).eval()
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    labels = torch.tensor([2, 2, 1, 0, 1, 0, 2, 0])
    kept = kept_clusters(host, images, labels, ("a", "b", "c"), lambda x: x / 255)
    weights = assignments(host, images[[3, 2, 0]] / 255)
    assert [one["name"] for one in kept] == ["a", "b", "c"]
    for position, (data, index) in enumerate(zip(kept, (3, 2, 0), strict=True)):
        image = image_from_json(data)
        assert np.array_equal(image.pixels, images[index].permute(1, 2, 0).numpy())
        for stage, z in zip(image.stages, weights, strict=True):
            if z is None:
                assert stage.num_clusters == 0
                continue
            assert np.array_equal(stage.strongest, z[position].argmax(axis=0))
            rows = z[position][stage.indices]
            levels = 255 * rows / rows.max(axis=1, keepdims=True)
            assert np.abs(stage.levels - levels).max() <= 0.5 + 1e-4
            np.testing.assert_allclose(stage.peaks, rows.max(axis=1), rtol=1e-6)


def test_large_images_are_kept_small() -> None:
    torch.manual_seed(0)
    host = build_subject(make_case("paca", 4, height=128, width=128), num_classes=3).eval()
    images = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
    kept = kept_clusters(host, images, torch.arange(3), ("a", "b", "c"), lambda x: x / 255)
    pixels = image_from_json(kept[0]).pixels
    blocks = images[0].double().unfold(1, 2, 2).unfold(2, 2, 2).mean(dim=(3, 4))
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels - blocks.permute(1, 2, 0).numpy()).max() <= 0.5


def test_the_first_image_of_the_first_classes_that_have_one() -> None:
    labels = torch.tensor([5, 3, 3, 0, 5, 4, 2, 7])
    assert first_of_each(labels, 9) == [3, 6, 1, 5]
    assert len(first_of_each(labels, 9)) == KEPT_IMAGES
    assert first_of_each(labels, 3) == [3, 6]
