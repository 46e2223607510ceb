"""Against a stand-in of ``torchvision.datasets`` with the signatures that it has."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from paca_bench.data import torch_vision
from paca_bench.data.torch_vision import default_root, load_torchvision
from paca_bench.errors import DataError


class _Fake:
    """Images of the grey levels ``values``; a level below 0 cannot be decoded."""

    def __init__(self, root: str, values: list[int], labels: list[Any]) -> None:
        if not Path(root).is_dir():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.values, self.kept = values, labels

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> tuple[Image.Image, Any]:
        if self.values[row] < 0:
            raise SyntaxError("broken PNG file")
        return Image.new("L", (6, 6), self.values[row]), self.kept[row]


class Digits(_Fake):
    """Like MNIST: ``train``, ``classes`` and ``targets``."""

    classes = ("zero", "one")

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        super().__init__(root, [10, 20, 30, 40] if train else [50, 60], [0, 1, 1, 0])
        self.targets = torch.tensor(self.kept[: len(self)])


class Pets(_Fake):
    """Like OxfordIIITPet: ``split``, of which ``trainval`` is the default."""

    classes = ("cat", "dog")

    def __init__(self, root: str, split: str = "trainval", download: bool = False) -> None:
        if split not in ("trainval", "test"):
            raise ValueError(f"Unknown value '{split}' for argument split.")
        super().__init__(root, [1, 2, 3, 4], [0, 1, 0, 1])
        self._labels = self.kept


class Net(_Fake):
    """Like ImageNet: ``val`` and no ``test``, and one image broken."""

    def __init__(self, root: str, split: str = "train") -> None:
        if split not in ("train", "val"):
            raise ValueError(f"Unknown value '{split}' for argument split.")
        super().__init__(root, [5, -1, 7, 8], [0, 0, 1, 2 if split == "train" else 0])


class Aerial(_Fake):
    """Like EuroSAT: one part, no names."""

    def __init__(self, root: str, download: bool = False) -> None:
        super().__init__(root, list(range(20)), [0, 1] * 10)


class Flow(_Fake):
    """Like the optical flows: no class."""

    def __init__(self, root: str, split: str = "train") -> None:
        super().__init__(root, [1, 2], [None, (1, 2)])


class Unlabelled(_Fake):
    def __init__(self, root: str) -> None:
        super().__init__(root, [1, 2], [-1, -1])


class Fake:
    def __init__(self, size: int = 3) -> None: ...


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    makers = (Digits, Pets, Net, Aerial, Flow, Unlabelled, Fake)
    module = SimpleNamespace(
        __all__=[*(maker.__name__ for maker in makers), "helper", "absent"],
        helper=lambda root: None,
        **{maker.__name__: maker for maker in makers},
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(datasets=module))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)


def test_train_and_test(tmp_path: Path) -> None:
    dataset = load_torchvision(f"Digits,root={tmp_path}")
    assert dataset.name == f"torchvision:Digits,root={tmp_path}"
    assert dataset.classes == ("zero", "one")
    assert dataset.train.labels.tolist() == [0, 1, 1, 0]
    images, labels = dataset.test.load(3)
    assert images[:, 1, 1, 1].tolist() == [50, 60]
    assert labels.tolist() == [0, 1]
    assert dataset.notes == ("trained on train", "held-out images from test")


def test_split_names_of_its_own(tmp_path: Path) -> None:
    dataset = load_torchvision(f"Pets,root={tmp_path}")
    assert dataset.notes == ("trained on trainval", "held-out images from test")
    assert dataset.train.labels.tolist() == [0, 1, 0, 1]


def test_broken_images_are_handled_as_chosen_and_classes_are_those_of_both_parts(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=r"1 of 4 images cannot be read: image 1 of train \(brok"):
        load_torchvision(f"Net,root={tmp_path}")
    dataset = load_torchvision(f"Net,root={tmp_path}", on_error="skip")
    # Class 2 has no image in val.
    assert dataset.classes == ("0", "1")
    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.test.labels.tolist() == [0, 1, 0]
    assert dataset.notes[1] == "held-out images from val"
    assert "left out: 1 of 3 classes" in dataset.notes[-1]


def test_one_part_is_divided(tmp_path: Path) -> None:
    dataset = load_torchvision(f"Aerial,root={tmp_path}")
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    assert dataset.notes == ("trained on all", "20% of each class held out by a fixed seed")


def test_what_is_not_downloaded_comes_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_torchvision(f"Digits,root={tmp_path / 'absent'}")
    assert "Dataset not found" in str(caught.value)
    assert f"Digits('{tmp_path / 'absent'}', train=True, download=True)" in str(caught.value)


def test_the_default_folder_is_torchs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert default_root() == tmp_path / "datasets"
    (tmp_path / "datasets").mkdir()
    assert len(load_torchvision("Digits").train) == 4


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Digit", "no data set 'Digit' in a folder; did you mean 'Digits'"),
        ("helper", "no data set 'helper' in a folder"),
        ("Fake", "no data set 'Fake' in a folder"),
        ("__all__", "no data set '__all__' in a folder"),
        ("Flow", r"not one of images with one class each: a label is \(1, 2\)"),
        ("Unlabelled", "has images without a label"),
    ],
)
def test_what_cannot_be_used_is_said(name: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        load_torchvision(f"{name},root={tmp_path}")


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DataError, match=r"needs torchvision.*paca-bench\[torchvision\]"):
        load_torchvision("CIFAR10")


def test_made_for_another_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torch_vision, "import_module", fail)
    with pytest.raises(DataError, match=r"made for this torch \(operator torchvision::nms"):
        load_torchvision("CIFAR10")
