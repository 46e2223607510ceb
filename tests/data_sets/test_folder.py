from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paca_bench.data.registry import load_dataset
from paca_bench.errors import DataError


def fill(folder: Path, count: int, colour: tuple[int, int, int] = (200, 30, 30)) -> list[Path]:
    """``count`` images of slightly different grey levels of ``colour``."""
    folder.mkdir(parents=True)
    paths = [folder / f"{index:02}.png" for index in range(count)]
    for index, path in enumerate(paths):
        Image.new("RGB", (12, 10), tuple(c + index for c in colour)).save(path)
    return paths


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two classes, 10 and 15 images, without a split."""
    fill(tmp_path / "apple", 10)
    fill(tmp_path / "pear", 15, (10, 180, 20))
    return tmp_path


@pytest.fixture(params=["val", "test"])
def split(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    for part, count in (("train", 3), (request.param, 2)):
        fill(tmp_path / part / "apple", count)
        fill(tmp_path / part / "pear", count, (10, 180, 20))
    return tmp_path, request.param


def contents(images: torch.Tensor) -> set[bytes]:
    return {image.contiguous().numpy().tobytes() for image in images}


def complaint(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(f"folder:{root}")
    return str(caught.value)


def test_flat_layout_holds_out_a_fifth_of_each_class(flat: Path) -> None:
    dataset = load_dataset(f"folder:{flat}")
    assert dataset.name == f"folder:{flat}"
    assert dataset.classes == ("apple", "pear")
    assert np.bincount(dataset.train.labels).tolist() == [8, 12]
    assert np.bincount(dataset.test.labels).tolist() == [2, 3]
    assert dataset.notes == ("20% of each class held out by a fixed seed",)
    train, test = (s.load(8)[0] for s in (dataset.train, dataset.test))
    assert not contents(train) & contents(test)
    assert len(contents(train) | contents(test)) == 25


def test_flat_split_is_the_same_every_time(flat: Path) -> None:
    first, second = (load_dataset(f"folder:{flat}").test.load(8)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_given_split_is_kept(split: tuple[Path, str]) -> None:
    root, held_out = split
    dataset = load_dataset(f"folder:{root}")
    assert dataset.classes == ("apple", "pear")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.notes == (f"held-out images from {held_out}/",)


def test_load_gives_rgb_bytes_and_labels(split: tuple[Path, str]) -> None:
    images, labels = load_dataset(f"folder:{split[0]}").train.load(6)
    assert images.shape == (6, 3, 6, 6)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert images[0].unique(dim=2).flatten().unique().tolist() == [30, 200]
    assert images[-1, :, 3, 3].tolist() == [12, 182, 22]


def test_a_class_may_be_called_train(flat: Path) -> None:
    fill(flat / "train", 5)
    assert load_dataset(f"folder:{flat}").classes == ("apple", "pear", "train")


def test_test_is_preferred_to_val_where_it_has_classes(split: tuple[Path, str]) -> None:
    root, held_out = split
    other = {"val": "test", "test": "val"}[held_out]
    (root / other).mkdir()
    assert load_dataset(f"folder:{root}").notes == (f"held-out images from {held_out}/",)
    for name in ("apple", "pear"):
        fill(root / other / name, 1)
    assert load_dataset(f"folder:{root}").notes == ("held-out images from test/",)


def test_hidden_and_foreign_files_are_left_out(flat: Path) -> None:
    (flat / ".cache").mkdir()
    (flat / "readme.md").write_text("not a class")
    (flat / "apple" / ".hidden.png").write_bytes(b"not an image")
    (flat / "apple" / "notes.txt").write_text("not an image")
    dataset = load_dataset(f"folder:{flat}")
    assert dataset.classes == ("apple", "pear")
    assert len(dataset.train) + len(dataset.test) == 25


def damage(paths: Sequence[Path]) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[:40])


def test_unreadable_images_are_counted_and_named(flat: Path) -> None:
    damage(sorted((flat / "apple").iterdir())[:5])
    text = complaint(flat)
    assert "5 of 25 images cannot be read" in text
    assert str(flat / "apple" / "00.png") in text
    assert "03.png" not in text
    assert "skip" in text


def test_unreadable_images_can_be_skipped_and_are_noted(flat: Path) -> None:
    damage([flat / "apple" / "04.png"])
    (flat / "pear" / "00.png").write_text("a page that says 404")
    dataset = load_dataset(f"folder:{flat}", on_error="skip")
    assert len(dataset.train) + len(dataset.test) == 23
    assert "skipped: 2 of 25 images cannot be read" in dataset.notes[0]
    assert "04.png" in dataset.notes[0]
    assert len(dataset.train.load(8)[0]) == len(dataset.train)


def test_a_class_without_readable_images_is_refused_even_when_skipping(flat: Path) -> None:
    damage(list((flat / "apple").iterdir()))
    with pytest.raises(DataError, match="no image of class apple can be read"):
        load_dataset(f"folder:{flat}", on_error="skip")


def test_an_image_that_vanished_after_the_check_is_named(flat: Path) -> None:
    dataset = load_dataset(f"folder:{flat}")
    for path in (flat / "pear").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*pear.* any more"):
        dataset.train.load(8)


def test_missing_folder(tmp_path: Path) -> None:
    assert "there is no such folder" in complaint(tmp_path / "absent")


def test_file_instead_of_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "there is no such folder" in complaint(tmp_path / "file")


def test_empty_folder(tmp_path: Path) -> None:
    assert "no class folders" in complaint(tmp_path)


def test_images_without_class_folders(tmp_path: Path) -> None:
    fill(tmp_path / "all", 3)
    assert "no class folders; the layout is" in complaint(tmp_path / "all")


def test_single_class(tmp_path: Path) -> None:
    fill(tmp_path / "apple", 3)
    assert "has one class (apple)" in complaint(tmp_path)


def test_empty_class(flat: Path) -> None:
    (flat / "fig").mkdir()
    assert f"class folder {flat / 'fig'} has no images" in complaint(flat)


def test_class_of_one_image_cannot_be_split(flat: Path) -> None:
    fill(flat / "fig", 1)
    assert "class fig" in complaint(flat)


def test_train_without_held_out_part(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "apple", 2)
    assert "neither val/CLASS nor test/CLASS" in complaint(tmp_path)


def test_parts_with_different_classes(split: tuple[Path, str]) -> None:
    root, held_out = split
    fill(root / held_out / "fig", 2)
    (root / "train" / "pear").rename(root / "train" / "plum")
    text = complaint(root)
    assert f"only in {root / 'train'}: plum" in text
    assert f"only in {root / held_out}: fig, pear" in text
