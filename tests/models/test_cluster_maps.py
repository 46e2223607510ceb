"""Assignments as arrays: of models and hosts, and from an image file to its clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from paca_bench.attention.registry import get_mechanism
from paca_bench.data.images import read_fitted
from paca_bench.errors import CheckpointError, DataError, SpecError
from paca_bench.models.cluster_maps import assignments, has_clusters, image_clusters
from paca_bench.models.geometry import get_geometry
from paca_bench.models.host import Host
from paca_bench.models.registry import create_model
from paca_bench.models.segmenter import create_segmenter

TINY = "pacavit_tiny_p2cconv_100_0"
FEW: dict[str, Any] = {"depths": (1, 1, 1, 1), "clusters": (4, 4, 4, 0)}


def picture(path: Path, width: int = 80, height: int = 60) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture(tmp_path_factory.mktemp("images") / "noise.png")


def make_host(mechanism: str, **options: Any) -> Host:
    torch.manual_seed(0)
    geometry = get_geometry("nano")
    return Host(get_mechanism(mechanism), geometry, height=32, width=64, **options).eval()


def test_a_host_gives_the_assignments_that_its_blocks_use() -> None:
    host, images = make_host("paca", num_clusters=5), torch.randn(2, 3, 32, 64)
    stages = assignments(host, images)
    assert stages[3] is None
    tokens, grid = host.downsamples[0](images)
    block = host.stages[0][0]
    with torch.no_grad():
        expected = block.attention.make_shared(block.norm1(tokens), grid)
    assert stages[0] is not None
    np.testing.assert_array_equal(stages[0], expected.numpy())
    for stage, tokens in enumerate((128, 32, 8)):
        z = stages[stage]
        assert z is not None
        assert (z.shape, z.dtype) == ((2, 5, tokens), np.float32)
        np.testing.assert_allclose(z.sum(axis=2), 1, rtol=1e-5)


def test_looking_leaves_a_host_as_it_was() -> None:
    host, images = make_host("paca", num_clusters=5), torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        before = host(images)
        host.shared_states(images)
        assert torch.equal(host(images), before)
    assert not any(module._forward_hooks for module in host.modules())


def test_hooks_are_taken_off_after_an_error() -> None:
    host = make_host("paca", num_clusters=5)
    with pytest.raises(RuntimeError):
        host.shared_states(torch.randn(2, 7, 32, 64))
    assert not any(module._forward_hooks for module in host.modules())


@pytest.mark.parametrize("mechanism", ["vit", "swin", "pvt"])
def test_others_share_nothing(mechanism: str) -> None:
    host = make_host(mechanism)
    assert not has_clusters(host)
    assert assignments(host, torch.randn(1, 3, 32, 64)) == [None] * 4


def test_has_clusters() -> None:
    assert has_clusters(make_host("paca", num_clusters=2))
    assert not has_clusters(make_host("paca", num_clusters=0))


def test_an_image_is_seen_as_the_official_models_see_it(image: Path) -> None:
    found = image_clusters(image, TINY, (64, 96), options=FEW)
    pixels = read_fitted(image, 64, 96)
    assert np.array_equal(found.pixels, pixels)
    assert found.name == "noise.png"

    torch.manual_seed(0)
    model = create_model(TINY, num_classes=0, img_size=(64, 96), **FEW).eval()
    scaled = pixels.astype(np.float64) / 255
    normed = (scaled - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        expected = model.assignments(torch.tensor(normed).permute(2, 0, 1)[None].float())
    assert [stage.grid for stage in found.stages] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [stage.num_clusters for stage in found.stages] == [4, 4, 4, 0]
    for stage, z in zip(found.stages[:3], expected, strict=False):
        weights = z[0].double().numpy()
        by_index = stage.levels[np.argsort(stage.indices)]
        direct = 255 * weights / weights.max(axis=1, keepdims=True)
        # The two normalisations differ in the last bit of a float32.
        assert np.abs(by_index - direct).max() < 0.51
        assert (stage.strongest == weights.argmax(axis=0)).mean() > 0.99


def test_random_weights_are_the_same_each_time_and_leave_the_generator(image: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (image_clusters(image, TINY, (64, 64), options=FEW) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(first.stages[0].levels, second.stages[0].levels)


def test_a_teacher_makes_the_assignments(image: Path) -> None:
    options = {**FEW, "clusters": (3, 3, 3, 3), "teacher_depths": (1, 1, 1, 1)}
    found = image_clusters(image, "pacavit_convmixer_tiny_100", (64, 64), options=options)
    assert [stage.num_clusters for stage in found.stages] == [3, 3, 3, 3]


def saved(path: Path, module: torch.nn.Module) -> Path:
    torch.save({"model": module.state_dict()}, path)
    return path


def test_a_checkpoint_of_any_number_of_classes(image: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = create_model(TINY, num_classes=3, **FEW)
    file = saved(tmp_path / "fine_tuned.pth", model)
    trained = image_clusters(image, TINY, (64, 64), checkpoint=file, options=FEW)
    random = image_clusters(image, TINY, (64, 64), options=FEW)
    assert not np.array_equal(trained.stages[0].levels, random.stages[0].levels)
    model.head = torch.nn.Identity()
    with torch.no_grad():
        z = model.eval().assignments(_normed(trained.pixels))[2]
    np.testing.assert_allclose(np.sort(trained.stages[2].peaks), np.sort(z[0].amax(1)), rtol=1e-5)


def _normed(pixels: np.ndarray) -> torch.Tensor:
    scaled = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return torch.tensor(scaled).permute(2, 0, 1)[None].float()


def test_a_checkpoint_of_a_segmenter(image: Path, tmp_path: Path) -> None:
    segmenter = create_segmenter(TINY, num_classes=3, **FEW)
    file = saved(tmp_path / "segmenter.pth", segmenter)
    assert image_clusters(image, TINY, (64, 64), checkpoint=file, options=FEW).stages


@pytest.mark.parametrize(
    "changes",
    [{"depths": (1, 2, 1, 1)}, {"clusters": (4, 5, 4, 0)}, {"clustering": "linear"}],
    ids=["deeper", "other M", "other clustering"],
)
def test_a_checkpoint_of_another_variant_is_refused(
    image: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    file = saved(tmp_path / "other.pth", create_model(TINY, num_classes=3, **{**FEW, **changes}))
    with pytest.raises(CheckpointError, match="does not fit"):
        image_clusters(image, TINY, (64, 64), checkpoint=file, options=FEW)


def test_a_checkpoint_of_nonsense_is_refused(image: Path, tmp_path: Path) -> None:
    model = create_model(TINY, num_classes=0, **FEW)
    with torch.no_grad():
        model.patch_embed.norm.weight.fill_(torch.nan)
    file = saved(tmp_path / "nan.pth", model)
    with pytest.raises(CheckpointError, match="not finite"):
        image_clusters(image, TINY, (64, 64), checkpoint=file, options=FEW)


def test_mistakes(image: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no clusters to show; those that have are pacavit_tiny"):
        image_clusters(image, "swin_tiny_patch4_window7_224", (64, 64))
    with pytest.raises(SpecError, match="unknown model 'pacavit'"):
        image_clusters(image, "pacavit", (64, 64))
    with pytest.raises(SpecError, match="no clusters in any stage"):
        image_clusters(image, TINY, (64, 64), options={"clusters": (0, 0, 0, 0)})
    with pytest.raises(SpecError, match="at most 1024"):
        image_clusters(image, TINY, (64, 1056))
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    for path in (text, tmp_path / "absent.png", tmp_path):
        with pytest.raises(DataError, match=r"cannot read .* as an image"):
            image_clusters(path, TINY, (64, 64))
