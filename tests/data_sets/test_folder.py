from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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
    (flat / "pear" / "README").write_text("not an image")
    dataset = load_dataset(f"folder:{flat}")
    note = f"2 files in {flat.name}/ are no images by their suffix (.txt, no suffix)"
    assert dataset.notes[0] == note
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


def test_a_class_without_readable_images_is_left_out_when_skipping(flat: Path) -> None:
    fill(flat / "fig", 4)
    damage(list((flat / "apple").iterdir()))
    (flat / "empty").mkdir()
    dataset = load_dataset(f"folder:{flat}", on_error="skip")
    assert dataset.classes == ("fig", "pear")
    assert set(dataset.train.labels) == set(dataset.test.labels) == {0, 1}
    assert dataset.notes[0].startswith("skipped: 10 of 29 images cannot be read")
    assert dataset.notes[1] == (
        "left out: 2 of 4 classes have fewer than 2 readable images, one to hold out: apple (0); "
        "empty (0)"
    )
    labels = dataset.test.labels
    assert dataset.test.load(4)[0][labels == 1][0, :, 2, 2].tolist()[1] > 150  # pears are green


def test_two_classes_must_be_left_when_skipping(flat: Path) -> None:
    damage(list((flat / "apple").iterdir()))
    with pytest.raises(DataError, match=r"at least 2 classes.*there is pear; left out: 1 of 2"):
        load_dataset(f"folder:{flat}", on_error="skip")


def test_a_class_empty_in_one_part_is_left_out_of_both(split: tuple[Path, str]) -> None:
    root, held_out = split
    fill(root / "train" / "fig", 2)
    (root / held_out / "fig").mkdir()
    assert "1 of 3 classes have fewer than 1 readable image a part: fig (0)" in complaint(root)
    dataset = load_dataset(f"folder:{root}", on_error="skip")
    assert dataset.classes == ("apple", "pear")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


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
    assert "needs at least 2 classes with images, and there is apple" in complaint(tmp_path)


def test_empty_class(flat: Path) -> None:
    (flat / "fig").mkdir()
    text = complaint(flat)
    assert "1 of 3 classes have fewer than 2 readable images, one to hold out: fig (0)" in text
    assert "--bad-images skip" in text


def test_class_of_one_image_cannot_be_split(flat: Path) -> None:
    fill(flat / "fig", 1)
    assert "one to hold out: fig (1)" in complaint(flat)


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


def test_a_broken_link_is_an_unreadable_image_and_a_good_one_is_followed(flat: Path) -> None:
    (flat / "apple" / "link.png").symlink_to(flat / "pear" / "00.png")
    assert len(load_dataset(f"folder:{flat}").train) == 8 + 12 + 1
    (flat / "pear" / "gone.png").symlink_to(flat / "nowhere.png")
    (flat / "pear" / "loop.png").symlink_to(flat / "pear" / "loop.png")
    text = complaint(flat)
    assert "2 of 28 images cannot be read" in text
    assert "gone.png" in text
    assert "loop.png" in text


def test_a_pipe_and_a_folder_called_like_images_are_no_images(flat: Path) -> None:
    os.mkfifo(flat / "apple" / "pipe.png")
    (flat / "apple" / "folder.png").mkdir()
    dataset = load_dataset(f"folder:{flat}")
    assert len(dataset.train) + len(dataset.test) == 25


def test_odd_names_are_printable_in_messages_and_classes(flat: Path) -> None:
    folder = flat / os.fsdecode(b"caf\xe9\n\xf0\x9f\x8d\x90")
    fill(folder, 3)
    (folder / "broken.png").write_bytes(b"")
    text = complaint(flat)
    assert "caf\\udce9\\n🍐" in text
    text.encode()
    dataset = load_dataset(f"folder:{flat}", on_error="skip")
    assert dataset.classes == ("apple", "caf\\udce9\\n🍐", "pear")
    "".join([*dataset.classes, *dataset.notes]).encode()


def test_what_the_user_may_not_read_is_named(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is made up."""
    fill(flat / "fig", 2)
    listed, opened = Path.iterdir, Image.open

    def iterdir(folder: Path) -> Iterator[Path]:
        if folder.name == "fig":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    def open_image(path: Path) -> Image.Image:
        if path == flat / "pear" / "03.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Image, "open", open_image)
    text = complaint(flat)
    assert f"1 of 3 class folders cannot be listed: {flat / 'fig'} (Permission denied)" in text
    dataset = load_dataset(f"folder:{flat}", on_error="skip")
    assert dataset.classes == ("apple", "pear")
    assert "1 of 3 class folders cannot be listed" in dataset.notes[0]
    assert "03.png ([Errno 13] Permission denied" in dataset.notes[1]
    assert "left out: 1 of 3 classes" in dataset.notes[2]


def test_a_class_folder_in_which_nothing_can_be_looked_at(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listable, but not to be entered: even asking what a name is, is refused."""
    is_file = Path.is_file

    def refuse(path: Path) -> bool:
        if path.name == "04.png":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    dataset = load_dataset(f"folder:{flat}")
    assert len(dataset.train) + len(dataset.test) == 25  # They could be read after all.
