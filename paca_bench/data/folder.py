"""``folder:DIR``: a user's own images, one folder a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paca_bench.data.images import SUFFIXES, read_upright
from paca_bench.data.listing import Listing, make_dataset, printable, summary
from paca_bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from paca_bench.data.dataset import ImageDataset
    from paca_bench.data.registry import OnError

HELD_OUT_NAMES = ("test", "val")
_SHOWN = 3
_LAYOUT = "the layout is DIR/CLASS/*, or DIR/train/CLASS/* with DIR/val/CLASS/* (or test)"


@dataclass(frozen=True)
class _Files:
    """A ``Source``: image files."""

    paths: tuple[Path, ...]

    def image(self, row: int) -> Image:
        return read_upright(self.paths[row])

    def name(self, row: int) -> str:
        return str(self.paths[row])


def load_folder(directory: str, *, on_error: OnError = "raise") -> ImageDataset:
    """A class-per-folder data set; every image is decoded once here, to know it can be.

    ``DIR/train`` with ``DIR/test`` or ``DIR/val`` are taken as they are (``test`` where both
    have classes). Otherwise the classes are the folders of DIR, and the same 20% of each is
    held out at every call. Hidden files, and files that are not images by their suffix, are
    left out; the notes count the latter. Links are followed; a broken one is an image that
    cannot be read.

    Raises:
        DataError: the folder is missing, has fewer than two classes, or differing class
            folders in its two parts; with ``on_error="raise"``, also if an image or a class
            folder cannot be read, or a class has too few images.
    """
    root = Path(directory).expanduser()
    if not root.is_dir():
        raise DataError(f"data set folder:{directory}: there is no such folder; {_LAYOUT}")
    notes: list[str] = []
    try:
        train, test = _find_parts(root, on_error, notes)
    except OSError as error:
        raise DataError(f"cannot list {root}: {error.strerror or error}") from error
    return make_dataset(f"folder:{directory}", train, test, on_error, notes)


def _find_parts(root: Path, on_error: OnError, notes: list[str]) -> tuple[Listing, Listing | None]:
    """The files to train on and the files held out; None if those must still be drawn."""
    # A folder called "train" that has images in it, not folders, is a class.
    if not _folders(root / "train"):
        return _scan(root, on_error, notes), None
    held_out = [root / name for name in HELD_OUT_NAMES if _folders(root / name)]
    if not held_out:
        raise DataError(f"{root} has train/CLASS but neither val/CLASS nor test/CLASS; {_LAYOUT}")
    train, test = (_scan(part, on_error, notes) for part in (root / "train", held_out[0]))
    if train.classes != test.classes:
        raise DataError(_class_mismatch(root / "train", train, held_out[0], test))
    notes.append(f"held-out images from {held_out[0].name}/")
    return train, test


def _scan(root: Path, on_error: OnError, notes: list[str]) -> Listing:
    """All that are image files by their suffix in the class folders of ``root``."""
    folders = _folders(root)
    if not folders:
        raise DataError(f"{root} has no class folders; {_LAYOUT}")
    paths: list[Path] = []
    labels: list[int] = []
    closed: list[str] = []
    others: Counter[str] = Counter()
    for label, folder in enumerate(folders):
        try:
            files = [path for path in _visible(folder) if _is_file(path)]
        except OSError as error:
            closed.append(f"{printable(str(folder))} ({error.strerror or error})")
            continue
        suffixes = [path.suffix.lower() for path in files]
        images = [path for path, suffix in zip(files, suffixes, strict=True) if suffix in SUFFIXES]
        others.update(suffix for suffix in suffixes if suffix not in SUFFIXES)
        paths += images
        labels += [label] * len(images)
    if closed:
        text = f"{len(closed)} of {len(folders)} class folders cannot be listed: {summary(closed)}"
        if on_error == "raise":
            raise DataError(f"{text}. Make them readable, or leave them out by --bad-images skip")
        notes.append(f"skipped: {text}")
    if others:
        kinds = ", ".join(sorted(printable(suffix or "no suffix") for suffix in others))
        where = printable(root.name)
        notes.append(f"{others.total()} files in {where}/ are no images by their suffix ({kinds})")
    classes = tuple(printable(folder.name) for folder in folders)
    rows = np.arange(len(paths))
    return Listing(classes, np.array(labels, dtype=np.int64), rows, _Files(tuple(paths)))


def _class_mismatch(train_root: Path, train: Listing, test_root: Path, test: Listing) -> str:
    only_train = sorted(set(train.classes) - set(test.classes))
    only_test = sorted(set(test.classes) - set(train.classes))
    parts = [
        f"only in {root}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for root, names in ((train_root, only_train), (test_root, only_test))
        if names
    ]
    return f"the two parts must have the same classes; {'; '.join(parts)}"


def _folders(root: Path) -> Sequence[Path]:
    """Visible folders in ``root`` by name; none if it is not a folder."""
    return [path for path in _visible(root) if path.is_dir()] if root.is_dir() else []


def _visible(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.iterdir()) if not p.name.startswith("."))


def _is_file(path: Path) -> bool:
    """True of files and of broken links, not of folders, pipes and sockets.

    A pipe would never end being read.
    """
    try:
        return path.is_file() or (path.is_symlink() and not path.exists())
    except OSError:
        return True  # Reading it will say why it cannot be read.
