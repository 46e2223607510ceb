"""``folder:DIR``: a user's own images, one folder a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paca_bench.data.dataset import HELD_OUT_SHARE, ImageDataset, Split, stratified_split
from paca_bench.data.images import SUFFIXES, check_readable, read_square
from paca_bench.data.registry import OnError
from paca_bench.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

HELD_OUT_NAMES = ("test", "val")
_SHOWN = 3
_LAYOUT = "the layout is DIR/CLASS/*, or DIR/train/CLASS/* with DIR/val/CLASS/* (or test)"


@dataclass(frozen=True)
class _Files:
    """Images of one tree, class by class; ``labels`` index ``classes``."""

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]


def load_folder(directory: str, *, on_error: OnError = "raise") -> ImageDataset:
    """A class-per-folder data set; every image is decoded once here, to know it can be.

    ``DIR/train`` with ``DIR/test`` or ``DIR/val`` are taken as they are (``test`` where both
    have classes). Otherwise the classes are the folders of DIR, and the same 20% of each is
    held out at every call. Hidden files, and files that are not images by their suffix, are
    left out.

    Raises:
        DataError: the folder is missing, has fewer than two classes, an empty class or
            differing classes in its two parts; with ``on_error="raise"``, also if an image
            cannot be read.
    """
    root = Path(directory).expanduser()
    if not root.is_dir():
        raise DataError(f"data set folder:{directory}: there is no such folder; {_LAYOUT}")
    notes: list[str] = []
    try:
        train, test = _find_splits(root, notes)
    except OSError as error:
        raise DataError(f"cannot list {root}: {error.strerror or error}") from error
    train = _readable(train, on_error, notes)
    if test is None:
        train, test = _hold_out(train, root)
        notes.append(f"{HELD_OUT_SHARE:.0%} of each class held out by a fixed seed")
    else:
        test = _readable(test, on_error, notes)
    return ImageDataset(
        f"folder:{directory}", train.classes, _split(train), _split(test), tuple(notes)
    )


def _find_splits(root: Path, notes: list[str]) -> tuple[_Files, _Files | None]:
    """The files to train on and the files held out; None if those must still be drawn."""
    # A folder called "train" that has images in it, not folders, is a class.
    if not _folders(root / "train"):
        return _scan(root), None
    held_out = [root / name for name in HELD_OUT_NAMES if _folders(root / name)]
    if not held_out:
        raise DataError(f"{root} has train/CLASS but neither val/CLASS nor test/CLASS; {_LAYOUT}")
    train, test = _scan(root / "train"), _scan(held_out[0])
    if train.classes != test.classes:
        raise DataError(_class_mismatch(root / "train", train, held_out[0], test))
    notes.append(f"held-out images from {held_out[0].name}/")
    return train, test


def _scan(root: Path) -> _Files:
    folders = _folders(root)
    if not folders:
        raise DataError(f"{root} has no class folders; {_LAYOUT}")
    if len(folders) < 2:
        raise DataError(f"{root} has one class ({folders[0].name}); a data set needs at least 2")
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        images = [p for p in _visible(folder) if p.suffix.lower() in SUFFIXES and p.is_file()]
        if not images:
            kinds = ", ".join(sorted(SUFFIXES))
            raise DataError(f"class folder {folder} has no images ({kinds}); fill or remove it")
        paths += images
        labels += [label] * len(images)
    return _Files(tuple(folder.name for folder in folders), tuple(paths), tuple(labels))


def _readable(files: _Files, on_error: OnError, notes: list[str]) -> _Files:
    """``files`` without those that cannot be decoded."""
    reasons = [check_readable(path) for path in files.paths]
    bad = [f"{p} ({r})" for p, r in zip(files.paths, reasons, strict=True) if r is not None]
    if not bad:
        return files
    named = "; ".join(bad[:_SHOWN]) + ("; ..." if len(bad) > _SHOWN else "")
    summary = f"{len(bad)} of {len(files.paths)} images cannot be read: {named}"
    if on_error == "raise":
        raise DataError(f"{summary}. Mend or remove them, or leave them out with on_error='skip'")
    notes.append(f"skipped: {summary}")
    kept = _take(files, [i for i, reason in enumerate(reasons) if reason is None])
    for label, name in enumerate(files.classes):
        if label not in kept.labels:
            raise DataError(f"no image of class {name} can be read; {summary}")
    return kept


def _hold_out(files: _Files, root: Path) -> tuple[_Files, _Files]:
    counts = np.bincount(files.labels)
    if counts.min() < 2:
        name = files.classes[int(counts.argmin())]
        raise DataError(
            f"class {name} of {root} has a single image; to hold some out, each class needs at "
            f"least 2"
        )
    train, test = stratified_split(np.array(files.labels, dtype=np.int64))
    return _take(files, train.tolist()), _take(files, test.tolist())


def _take(files: _Files, indices: Sequence[int]) -> _Files:
    paths, labels = files.paths, files.labels
    return _Files(
        files.classes, tuple(paths[i] for i in indices), tuple(labels[i] for i in indices)
    )


def _split(files: _Files) -> Split:
    def read(resolution: int) -> Tensor:
        import torch

        pixels = np.empty((len(files.paths), resolution, resolution, 3), dtype=np.uint8)
        for index, path in enumerate(files.paths):
            try:
                pixels[index] = read_square(path, resolution)
            except OSError as error:
                raise DataError(f"cannot read {path} any more: {error}") from error
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    return Split(np.array(files.labels, dtype=np.int64), read)


def _class_mismatch(train_root: Path, train: _Files, test_root: Path, test: _Files) -> str:
    only_train = sorted(set(train.classes) - set(test.classes))
    only_test = sorted(set(test.classes) - set(train.classes))
    parts = [
        f"only in {root}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for root, names in ((train_root, only_train), (test_root, only_test))
        if names
    ]
    return f"the two parts must have the same classes; {'; '.join(parts)}"


def _folders(root: Path) -> list[Path]:
    """Visible folders in ``root`` by name; none if it is not a folder."""
    return [path for path in _visible(root) if path.is_dir()] if root.is_dir() else []


def _visible(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.iterdir()) if not p.name.startswith("."))
