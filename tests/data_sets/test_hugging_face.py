"""Against a stand-in of ``datasets`` with the part of its interface that is used."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image as Pillow

from paca_bench.data.hugging_face import load_hugging_face
from paca_bench.errors import DataError


@dataclass
class Image:
    decode: bool = True


@dataclass
class ClassLabel:
    names: list[str]


@dataclass
class Value:
    dtype: str


@dataclass
class Table:
    features: dict[str, Any]
    rows: list[dict[str, Any]]

    def cast_column(self, column: str, feature: Any) -> Table:
        assert feature == Image(decode=False)
        return Table({**self.features, column: feature}, self.rows)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return [row[key] for row in self.rows]
        undecoded = [n for n, f in self.features.items() if f == Image(decode=False)]
        assert undecoded, "rows are read with images undecoded only"
        return self.rows[key]


@dataclass
class Library:
    parts: dict[str, Table]
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def load_dataset(self, name: str, config: str | None) -> dict[str, Table]:
        self.asked.append((name, config))
        if name == "no/such":
            raise ConnectionError("Couldn't reach 'no/such' on the Hub")
        return self.parts


def png(red: int) -> dict[str, Any]:
    file = io.BytesIO()
    Pillow.new("RGB", (8, 6), (red, 0, 0)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


FEATURES = {"image": Image(), "label": ClassLabel(["cat", "dog"])}


def table(labels: Sequence[Any], features: dict[str, Any] = FEATURES, **more: Any) -> Table:
    image, label = list(features)[:2]
    rows = [{image: png(20 * i), label: y, **more} for i, y in enumerate(labels)]
    return Table(features, rows)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(**parts: Table) -> Library:
        library = Library(parts)
        module = SimpleNamespace(
            load_dataset=library.load_dataset, Image=Image, ClassLabel=ClassLabel, Value=Value
        )
        monkeypatch.setitem(sys.modules, "datasets", module)
        return library

    return put


def test_splits_labels_and_pixels(install: Any) -> None:
    library = install(train=table([0, 1, 1]), test=table([1, 0]))
    dataset = load_hugging_face("owner/pets@small")
    assert library.asked == [("owner/pets", "small")]
    assert dataset.name == "hf:owner/pets@small"
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0, 1, 1]
    assert dataset.test.labels.tolist() == [1, 0]
    images, _ = dataset.train.load(4)
    assert images[:, 0, 2, 2].tolist() == [0, 20, 40]
    assert dataset.notes == (
        "images of column image, labels of column label, trained on train",
        "held-out images from test",
    )


def test_images_that_are_files(install: Any, tmp_path: Path) -> None:
    Pillow.new("L", (5, 5), 200).save(tmp_path / "grey.png")
    train = table([0, 1, 0, 1])
    train.rows[0]["image"] = {"bytes": None, "path": str(tmp_path / "grey.png")}
    install(train=train, test=table([0, 1]))
    assert load_hugging_face("pets").train.load(2)[0][0].unique().tolist() == [200]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_other_names_of_the_held_out_part(install: Any, name: str) -> None:
    install(train=table([0, 1]), **{name: table([1, 0, 0])})
    assert load_hugging_face("pets").test.labels.tolist() == [1, 0, 0]


def test_test_images_whose_labels_are_kept_back_are_passed_over(install: Any) -> None:
    install(train=table([0, 1]), test=table([-1, -1]), validation=table([1, 0]))
    dataset = load_hugging_face("pets")
    assert dataset.test.labels.tolist() == [1, 0]
    assert dataset.notes[1:] == ("test has no labels", "held-out images from validation")


def test_without_a_labelled_test_part_some_are_held_out(install: Any) -> None:
    install(
        everything=table([0, 1] * 10),
    )
    dataset = load_hugging_face("pets")
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    assert dataset.notes[-1] == "20% of each class held out by a fixed seed"


def test_splits_and_columns_can_be_named(install: Any) -> None:
    features = {"left": Image(), "kind": Value("string"), "right": Image()}
    parts = {
        "a": table(["dog", "ape"], features, right=png(100)),
        "b": table(["ape", "dog"], features, right=png(100)),
    }
    install(**parts)
    with pytest.raises(DataError, match=r"no split called train; add ,train=SPLIT with.* a, b"):
        load_hugging_face("pets")
    with pytest.raises(DataError, match=r"2 columns of images; add ,image=COLUMN.* left, right"):
        load_hugging_face("pets,train=a")
    with pytest.raises(DataError, match=r"no columns of labels; add ,label=COLUMN.* left, kind"):
        load_hugging_face("pets,train=a,image=left")
    dataset = load_hugging_face("pets,train=a,image=right,label=kind,test=b")
    assert dataset.classes == ("ape", "dog")
    assert dataset.train.labels.tolist() == [1, 0]
    assert dataset.test.labels.tolist() == [0, 1]
    assert dataset.train.load(2)[0][:, 0, 0, 0].tolist() == [100, 100]


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("pets,train=trian", "no 'trian' for train; choose from train, test"),
        ("pets,test=val", "no 'val' for test; choose from train, test"),
        ("pets,image=picture", "no 'picture' for image; choose from image, label, box"),
        ("pets,image=label", "column label holds no images; those that do: image"),
        ("pets,label=box", "column box does not hold one label a row"),
        ("no/such", "datasets cannot load it .Couldn't reach.*check the name, and the network"),
    ],
)
def test_what_is_not_there_is_named(install: Any, argument: str, complaint: str) -> None:
    features = {**FEATURES, "box": object()}
    install(train=table([0, 1], features, box=[1]), test=table([0, 1], features, box=[1]))
    with pytest.raises(DataError, match=complaint):
        load_hugging_face(argument)


def test_rows_without_a_label_and_labels_that_only_the_test_has(install: Any) -> None:
    install(train=table([0, None]), test=table([0, 1]))
    with pytest.raises(DataError, match="split train has rows without a label"):
        load_hugging_face("pets")
    features = {"image": Image(), "label": Value("int64")}
    install(train=table([3, 10], features), test=table([3, 7], features))
    with pytest.raises(DataError, match=r"test has labels that the training images do not.*: 7"):
        load_hugging_face("pets,label=label")
    install(train=table([3, 10], features), test=table([3, 10], features))
    assert load_hugging_face("pets,label=label").classes == ("3", "10")


def test_bad_images_are_named_and_handled_as_chosen(install: Any) -> None:
    train = table([0, 0, 0, 1, 1])
    train.rows[1]["image"] = {"bytes": b"\x89PNG junk", "path": None}
    train.rows[2]["image"] = None
    install(train=train, test=table([0, 1]))
    with pytest.raises(DataError, match=r"2 of 5 images cannot be read: row 1 of train.*row 2"):
        load_hugging_face("pets")
    dataset = load_hugging_face("pets", on_error="skip")
    assert dataset.train.labels.tolist() == [0, 1, 1]
    assert any("row 2 of train (the row has no image)" in note for note in dataset.notes)


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"hf:pets needs the library datasets.*paca-bench\[datas"):
        load_hugging_face("pets")
