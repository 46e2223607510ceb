"""``torchvision:NAME``: the classification data sets of torchvision, once downloaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paca_bench.axes import shown, suggest
from paca_bench.data.images import upright
from paca_bench.data.listing import Listing, make_dataset, printable
from paca_bench.data.options import split_options
from paca_bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from paca_bench.data.dataset import ImageDataset
    from paca_bench.data.registry import OnError

OPTIONS = ("root",)
TEST_NAMES = ("test", "val")
# Where its data sets keep their labels, which saves decoding the images to have them.
_LABELS = ("targets", "labels", "_labels")

_Choice = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Request:
    """``NAME[,root=DIR]``."""

    spec: str
    name: str
    root: Path | None

    @classmethod
    def parse(cls, argument: str) -> Request:
        """From what stands behind ``torchvision:``.

        Raises:
            DataError: there is no name, or an option is unknown or empty.
        """
        spec = f"torchvision:{argument}"
        name, options = split_options(spec, argument, OPTIONS)
        if not name:
            raise DataError(f"data set {spec!r} is not of the form torchvision:NAME")
        root = options.get("root")
        return cls(spec, name, None if root is None else Path(root).expanduser())


@dataclass(frozen=True)
class _Items:
    """A ``Source``: a data set of torchvision, whose items are (image, label)."""

    part: str
    items: Any

    def image(self, row: int) -> Image:
        return upright(self._item(row)[0])

    def label(self, row: int) -> Any:
        """The label of one image, whatever its type. Raises as ``image``."""
        return self._item(row)[1]

    def name(self, row: int) -> str:
        return f"image {row} of {self.part}"

    def _item(self, row: int) -> Any:
        try:
            return self.items[row]
        except Exception as error:  # Decoders of damaged files raise almost anything.
            raise OSError(str(error) or type(error).__name__) from error


def load_torchvision(argument: str, *, on_error: OnError = "raise") -> ImageDataset:
    """The data set that ``torchvision:ARGUMENT`` names; every image is decoded once here.

    Its own split is kept where it has one (``train`` against ``test``, or ``val``);
    otherwise the same 20% of each class is held out at every call. Nothing is downloaded:
    the message says how, where something is missing.

    Raises:
        DataError: torchvision is not installed or has no such data set, it is not downloaded,
            or it is not one of images with one class each; and as ``make_dataset``.
    """
    request = Request.parse(argument)
    make = _maker(import_torchvision(request.spec), request)
    root = request.root or default_root()
    to_train, to_test = _choices(make)
    train = _first(request, make, root, to_train)
    if train is None:
        raise DataError(f"data set {request.spec} has no part to train on that is known here")
    test = _first(request, make, root, to_test)
    notes = [f"trained on {train.part}", *([f"held-out images from {test.part}"] if test else [])]
    listings = [_listing(request, part) for part in (train, test) if part is not None]
    # Without names a part may lack the last classes.
    classes = max((listing.classes for listing in listings), key=len)
    listings = [replace(listing, classes=classes) for listing in listings]
    return make_dataset(
        request.spec, listings[0], listings[1] if test is not None else None, on_error, notes
    )


def import_torchvision(spec: str) -> Any:
    """``torchvision.datasets``.

    Raises:
        DataError: it is not installed, or for another torch.
    """
    try:
        return import_module("torchvision.datasets")
    except Exception as error:  # One built for another torch raises what torch does.
        raise DataError(
            f"data set {spec} needs torchvision, made for this torch ({printable(str(error))}); "
            f"pip install 'paca-bench[torchvision]'"
        ) from error


def default_root() -> Path:
    """Where data sets are looked for: beside what else torch caches."""
    import torch

    return Path(torch.hub.get_dir()).parent / "datasets"


def _maker(library: Any, request: Request) -> Callable[..., Any]:
    """The class that opens it, which takes a folder."""
    names = [name for name in library.__all__ if _takes_root(getattr(library, name, None))]
    if request.name not in names:
        raise DataError(
            f"torchvision has no data set {request.name!r} in a folder; "
            f"{suggest(request.name, sorted(names))}"
        )
    maker: Callable[..., Any] = getattr(library, request.name)
    return maker


def _takes_root(candidate: Any) -> bool:
    return inspect.isclass(candidate) and "root" in inspect.signature(candidate).parameters


def _choices(make: Callable[..., Any]) -> tuple[Sequence[_Choice], Sequence[_Choice]]:
    """``(name, arguments)`` of parts to train on, and to test on, best first."""
    parameters = inspect.signature(make).parameters
    if "train" in parameters:
        return [("train", {"train": True})], [("test", {"train": False})]
    if "split" in parameters:
        default = parameters["split"].default
        name = default if isinstance(default, str) else "train"
        return [(name, {"split": name})], [(part, {"split": part}) for part in TEST_NAMES]
    return [("all", {})], []


def _first(
    request: Request, make: Callable[..., Any], root: Path, choices: Sequence[_Choice]
) -> _Items | None:
    """The first part that the data set knows."""
    for part, arguments in choices:
        try:
            return _Items(part, make(root=str(root), **arguments))
        except ValueError:
            continue  # It has no such part.
        except Exception as error:  # Not downloaded, or damaged; each class says it differently.
            given = "".join(f", {key}={value!r}" for key, value in arguments.items())
            raise DataError(
                f"data set {request.spec}: {part} cannot be read in {root} "
                f'({printable(str(error))}); to download it: python -c "from torchvision.datasets '
                f"import {request.name}; {request.name}('{root}'{given}, download=True)\", or give "
                f"the folder it is in by ,root=DIR"
            ) from error
    return None


def _listing(request: Request, items: _Items) -> Listing:
    labels = np.array([_index(request, label) for label in _raw_labels(items)], dtype=np.int64)
    return Listing(_names(items.items, labels), labels, np.arange(len(labels)), items)


def _raw_labels(items: _Items) -> Sequence[Any]:
    """One label an image; None where neither it nor the image can be read."""
    for name in _LABELS:
        kept = getattr(items.items, name, None)
        if kept is not None and len(kept) == len(items.items):
            return list(kept)
    found: list[Any] = []
    for row in range(len(items.items)):
        try:
            found.append(items.label(row))
        except OSError:
            found.append(None)
    return found


def _index(request: Request, label: Any) -> int:
    """The class index; 0 for None, whose image will be found unreadable."""
    try:
        index = 0 if label is None else int(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"data set {request.spec} is not one of images with one class each: a label is "
            f"{shown(label)}; choose another"
        ) from error
    if index < 0:
        raise DataError(f"data set {request.spec} has images without a label; choose another")
    return index


def _names(items: Any, labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Of the classes; their numbers where they have no names."""
    count = int(labels.max(initial=-1)) + 1
    names = getattr(items, "classes", None) or ()
    return tuple(map(str, names)) if len(names) >= count else tuple(map(str, range(count)))
