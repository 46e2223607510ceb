"""Images in class folders, and which logit each class is. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paca_bench.axes import shown
from paca_bench.data.images import SUFFIXES
from paca_bench.data.registry import OnError
from paca_bench.errors import DataError

_SPLITS = ("val", "test")
_LAYOUT = "the layout is DIR/val/CLASS/* or DIR/CLASS/*"
_NAMED = 3


@dataclass(frozen=True)
class LabelledImages:
    """The images of a tree, class by class.

    Attributes:
        root: the folder whose folders are the classes.
        classes: class folder names; a label is an index into them, and into the logits.
        paths: of the images.
        labels: of each image.
        empty: class folders without images.
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    empty: tuple[str, ...]


def find_images(
    data: str, names: Sequence[str] | None = None, on_error: OnError = "raise"
) -> LabelledImages:
    """The labelled images that ``folder:DIR`` names; none is opened.

    They lie in ``DIR/val/CLASS``, in ``DIR/test/CLASS`` where there is no ``val``, or in
    ``DIR/CLASS``. Hidden files, and files that are not images by their suffix, are left out.

    Args:
        data: ``folder:DIR``.
        names: the class folders in the order of the logits, of which some may be missing;
            None takes the folders in the order of their names, as the official evaluations.
        on_error: ``skip`` goes on where a class folder has no images.

    Raises:
        DataError: the folder is missing or has no class folders or no images, a class folder
            has none and is not to be skipped, or is not among ``names``.
    """
    try:
        return _find(_class_root(data), names, on_error)
    except OSError as error:
        raise DataError(f"cannot list {error.filename}: {error.strerror or error}") from error


def _find(root: Path, names: Sequence[str] | None, on_error: OnError) -> LabelledImages:
    found = [folder.name for folder in _folders(root)]
    classes = tuple(found if names is None else names)
    foreign = [name for name in found if name not in set(classes)]
    if foreign:
        raise DataError(
            f"{len(foreign)} of the {len(found)} class folders in {root} are not in the file of "
            f"--classes: {_first(foreign)}; add them there, or move them away"
        )
    index = {name: label for label, name in enumerate(classes)}
    images = {name: list(_images(root / name)) for name in found}
    empty = tuple(name for name, paths in images.items() if not paths)
    kinds = ", ".join(sorted(SUFFIXES))
    if len(empty) == len(found):
        raise DataError(f"no class folder in {root} has an image ({kinds})")
    if empty and on_error == "raise":
        raise DataError(
            f"{len(empty)} class folders in {root} have no images ({kinds}): {_first(empty)}; fill "
            f"or remove them, or go on without them by --bad-images skip"
        )
    pairs = [(path, index[name]) for name, paths in images.items() for path in paths]
    paths, labels = zip(*pairs, strict=True)
    return LabelledImages(root, classes, paths, labels, empty)


def read_class_names(path: Path) -> tuple[str, ...]:
    """The class folder names in a file, one a line, in the order of the logits.

    Raises:
        DataError: it cannot be read, is empty, has an empty line before its end, or names a
            class twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read --classes {path}: {error}") from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        raise DataError(f"--classes {path} is empty; write one class folder name a line")
    first: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        # A line left out would move all classes after it by one.
        if not name:
            raise DataError(f"--classes {path}: line {number} is empty; each line is a logit")
        if name in first:
            raise DataError(
                f"--classes {path}: {shown(name)} is in lines {first[name]} and {number}; "
                f"each line is a logit"
            )
        first[name] = number
    return tuple(names)


def check_class_count(
    images: LabelledImages, outputs: int, checkpoint: Path, names: Path | None
) -> None:
    """Raise ``DataError`` unless the checkpoint has one logit a class; ``names`` is their file."""
    count = len(images.classes)
    if count == outputs:
        return
    found = f"--classes {names} names {count} classes ({_first(images.classes)})"
    step = "name the class folder of every logit, those without images too"
    if names is None:
        found = f"{images.root} has {count} class folders ({_first(images.classes)})"
        step = (
            f"for a subset of the classes, give a file that names all {outputs} class folders in "
            f"the order of the logits, by --classes FILE"
        )
    raise DataError(f"{found}, but the classifier in {checkpoint} has {outputs} outputs; {step}")


def _class_root(data: str) -> Path:
    kind, _, directory = data.partition(":")
    if kind != "folder" or not directory:
        raise DataError(
            f"--data {shown(data)}: images to evaluate on come from class folders; write "
            f"--data folder:DIR"
        )
    root = Path(directory).expanduser()
    if not root.is_dir():
        raise DataError(f"--data {data}: there is no such folder; {_LAYOUT}")
    splits = (root / name for name in _SPLITS)
    root = next((split for split in splits if _folders(split)), root)
    if not _folders(root):
        raise DataError(f"{root} has no class folders; {_LAYOUT}")
    return root


def _folders(root: Path) -> list[Path]:
    """Visible folders in ``root`` by name; none if it is not a folder."""
    return [path for path in _visible(root) if path.is_dir()] if root.is_dir() else []


def _images(folder: Path) -> Iterator[Path]:
    return (p for p in _visible(folder) if p.suffix.lower() in SUFFIXES and p.is_file())


def _visible(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.name[0] != "."), key=lambda path: path.name)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
