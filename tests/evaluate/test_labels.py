"""Which image belongs to which logit."""

from __future__ import annotations

from pathlib import Path

import pytest

from paca_bench.errors import DataError
from paca_bench.evaluate.labels import check_class_count, find_images, read_class_names
from tests.evaluate.colours import make_folder


def found(root: Path, **options: object) -> dict[str, int]:
    """Path below the class root -> label."""
    images = find_images(f"folder:{root}", **options)
    relative = [str(path.relative_to(images.root)) for path in images.paths]
    return dict(zip(relative, images.labels, strict=True))


def test_folders_in_the_order_of_their_names_are_the_logits(tmp_path: Path) -> None:
    make_folder(tmp_path, {"b": ["red"], "B": ["red"], "a10": ["red"], "a2": ["red", "red"]})
    assert found(tmp_path) == {
        "B/0.png": 0,
        "a10/0.png": 1,
        "a2/0.png": 2,
        "a2/1.png": 2,
        "b/0.png": 3,
    }


def test_val_goes_before_test_and_both_before_the_folder_itself(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", {"x": ["red"]})
    make_folder(tmp_path / "test", {"t": ["red"], "u": ["red"]})
    assert list(found(tmp_path)) == ["t/0.png", "u/0.png"]
    make_folder(tmp_path / "val", {"v": ["red"], "w": ["red"]})
    assert list(found(tmp_path)) == ["v/0.png", "w/0.png"]
    assert list(found(tmp_path / "train")) == ["x/0.png"]


def test_what_is_hidden_or_no_image_is_left_out(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": ["red"], ".cache": ["red"]})
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / ".hidden.png").write_bytes(b"")
    (tmp_path / "a" / "UPPER.JPEG").write_bytes(b"")
    assert list(found(tmp_path)) == ["a/0.png", "a/UPPER.JPEG"]


def test_a_file_of_names_gives_the_logits(tmp_path: Path) -> None:
    make_folder(tmp_path / "val", {"cat": ["red"], "ant": ["red"]})
    names = tmp_path / "names.txt"
    names.write_text("\ufeffdog\r\ncat\nsea lion \nant\n\n", encoding="utf-8")
    order = read_class_names(names)
    assert order == ("dog", "cat", "sea lion", "ant")
    assert found(tmp_path, names=order) == {"ant/0.png": 3, "cat/0.png": 1}
    with pytest.raises(DataError, match=r"1 of the 2 class folders in .*--classes: ant"):
        found(tmp_path, names=("dog", "cat"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a\n\nb", "line 2 is empty"),
        ("a\nb\na", "'a' is in lines 1 and 3"),
    ],
)
def test_a_file_of_names_that_would_move_the_logits_is_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DataError, match=says):
        read_class_names(tmp_path / "names.txt")


def test_a_file_of_names_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read --classes"):
        read_class_names(tmp_path / "absent.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot read --classes"):
        read_class_names(tmp_path / "binary")


def test_empty_classes_are_named_or_counted(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": ["red"], "b": [], "c": []})
    with pytest.raises(DataError, match=r"2 class folders .* have no images .*: b, c; .*skip"):
        found(tmp_path)
    images = find_images(f"folder:{tmp_path}", on_error="skip")
    assert (images.empty, images.classes, images.labels) == (("b", "c"), ("a", "b", "c"), (0,))


def test_without_any_image_there_is_nothing_to_skip(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": [], "b": []})
    with pytest.raises(DataError, match=r"no class folder in .* has an image"):
        found(tmp_path, on_error="skip")


@pytest.mark.parametrize("data", ["mnist5k", "folder:", "folder", "hf:x"])
def test_only_folders_are_evaluated_on(data: str) -> None:
    with pytest.raises(DataError, match="write --data folder:DIR"):
        find_images(data)


def test_folders_that_are_missing_or_flat(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; the layout is DIR/val/CLASS"):
        find_images(f"folder:{tmp_path}/absent")
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="no class folders; the layout is"):
        find_images(f"folder:{tmp_path}")


def test_a_wrong_number_of_classes_says_what_was_found(tmp_path: Path) -> None:
    make_folder(tmp_path, {name: ["red"] for name in "abcd"})
    images = find_images(f"folder:{tmp_path}")
    check_class_count(images, 4, Path("w.pth"), None)
    with pytest.raises(
        DataError, match=r"4 class folders \(a, b, c, ...\).*w.pth has 1000 outputs.*--classes FILE"
    ):
        check_class_count(images, 1000, Path("w.pth"), None)
    with pytest.raises(DataError, match=r"--classes n.txt names 4 classes.*of every logit"):
        check_class_count(images, 5, Path("w.pth"), Path("n.txt"))
