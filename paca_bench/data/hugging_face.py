"""``hf:NAME``: image data sets that the Hugging Face ``datasets`` library can load.

NAME is what its ``load_dataset`` takes: a data set of the Hub or of its cache, or a local
folder. Images come from the one column of images and labels from the one column of class
labels; where there are several, the user says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.images import read_upright
from paca_bench.data.listing import Listing, make_dataset, printable
from paca_bench.data.options import split_options
from paca_bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from paca_bench.data.dataset import ImageDataset
    from paca_bench.data.registry import OnError

OPTIONS = ("image", "label", "train", "test")
TEST_NAMES = ("test", "validation", "valid", "val", "dev")


@dataclass(frozen=True)
class Request:
    """``NAME[@CONFIG][,image=COLUMN][,label=COLUMN][,train=SPLIT][,test=SPLIT]``."""

    spec: str
    name: str
    config: str | None
    options: Mapping[str, str]

    @classmethod
    def parse(cls, argument: str) -> Request:
        """From what stands behind ``hf:``.

        Raises:
            DataError: there is no name, or an option is unknown or empty.
        """
        spec = f"hf:{argument}"
        head, options = split_options(spec, argument, OPTIONS)
        name, at, config = head.partition("@")
        if not name or (at and not config):
            raise DataError(f"data set {spec!r} is not of the form hf:NAME or hf:NAME@CONFIG")
        return cls(spec, name, config or None, options)


@dataclass(frozen=True)
class _Rows:
    """A ``Source``: a table with a column of undecoded images."""

    part: str
    table: Any
    column: str

    def image(self, row: int) -> Image:
        value = self.table[row][self.column]
        if value is None:
            raise OSError("the row has no image")
        if value["bytes"] is not None:
            return read_upright(BytesIO(value["bytes"]))
        return read_upright(Path(value["path"]))

    def name(self, row: int) -> str:
        return f"row {row} of {self.part}"


def load_hugging_face(argument: str, *, on_error: OnError = "raise") -> ImageDataset:
    """The data set that ``hf:ARGUMENT`` names; every image is decoded once here.

    It is trained on ``train`` and tested on the first of ``test``, ``validation``, ... that
    has labels (the Hub often keeps those of the test images back); without any, the same 20%
    of each class is held out at every call. What is not cached is downloaded, by the library
    and its rules.

    Raises:
        DataError: ``datasets`` is not installed, cannot load it, or the images or labels are
            not unambiguous; and as ``make_dataset``.
    """
    request = Request.parse(argument)
    library = import_datasets(request.spec)
    parts = _load(library, request)
    train_name = _train_name(request, list(parts))
    image, label = _columns(library, request, parts[train_name].features)
    classes = _classes(parts[train_name], label)
    notes = [f"images of column {image}, labels of column {label}, trained on {train_name}"]

    def listing(part: str) -> Listing | None:
        table = parts[part]
        labels = _labels(request, part, table, label, classes)
        if labels is None:
            return None
        undecoded = table.cast_column(image, library.Image(decode=False))
        rows = _Rows(part, undecoded, image)
        return Listing(tuple(map(printable, classes)), labels, np.arange(len(labels)), rows)

    train = listing(train_name)
    if train is None:
        raise DataError(f"data set {request.spec}: split {train_name} has rows without a label")
    test = None
    for name in _test_names(request, list(parts), train_name):
        test = listing(name)
        if test is not None:
            notes.append(f"held-out images from {name}")
            break
        notes.append(f"{name} has no labels")
    return make_dataset(request.spec, train, test, on_error, notes)


def import_datasets(spec: str) -> Any:
    """The library.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module("datasets")
    except ImportError as error:
        raise DataError(
            f"data set {spec} needs the library datasets ({error}); "
            f"pip install 'paca-bench[datasets]'"
        ) from error


def _load(library: Any, request: Request) -> Mapping[str, Any]:
    """Split name -> table."""
    try:
        parts = library.load_dataset(request.name, request.config)
    except Exception as error:  # The library and its builders raise almost anything.
        raise DataError(
            f"data set {request.spec}: datasets cannot load it ({printable(str(error))}); check "
            f"the name, and the network where it is not cached"
        ) from error
    loaded: Mapping[str, Any] = parts
    return loaded


def _train_name(request: Request, names: Sequence[str]) -> str:
    if "train" in request.options or "train" in names:
        return _known(request, "train", request.options.get("train", "train"), names)
    if len(names) == 1:
        return names[0]
    raise DataError(
        f"data set {request.spec} has no split called train; add ,train=SPLIT with one of "
        f"{', '.join(names)}"
    )


def _test_names(request: Request, names: Sequence[str], train: str) -> Sequence[str]:
    if "test" in request.options:
        return [_known(request, "test", request.options["test"], names)]
    return [name for name in TEST_NAMES if name in names and name != train]


def _columns(library: Any, request: Request, features: Mapping[str, Any]) -> tuple[str, str]:
    """The names of the columns of images and of labels."""
    found = []
    for key, kind in (("image", library.Image), ("label", library.ClassLabel)):
        fitting = [name for name, feature in features.items() if isinstance(feature, kind)]
        if key in request.options:
            column = _known(request, key, request.options[key], list(features))
            if key == "image" and column not in fitting:
                raise DataError(
                    f"data set {request.spec}: column {column} holds no images; those that do: "
                    f"{', '.join(fitting) or 'none'}"
                )
            if key == "label" and not isinstance(features[column], (kind, library.Value)):
                raise DataError(
                    f"data set {request.spec}: column {column} does not hold one label a row; "
                    f"choose another by ,label=COLUMN"
                )
            found.append(column)
        elif len(fitting) == 1:
            found += fitting
        else:
            raise DataError(
                f"data set {request.spec} has {len(fitting) or 'no'} columns of {key}s; add "
                f",{key}=COLUMN with one of {', '.join(fitting or features)}"
            )
    return found[0], found[1]


def _known(request: Request, key: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise DataError(
            f"data set {request.spec}: there is no {value!r} for {key}; choose from "
            f"{', '.join(allowed)}"
        )
    return value


def _classes(train: Any, label: str) -> tuple[str, ...]:
    """The names of the class labels, or the different values of a plain column."""
    names = getattr(train.features[label], "names", None)
    if names is not None:
        return tuple(names)
    return tuple(str(value) for value in sorted({v for v in train[label] if v is not None}))


def _labels(
    request: Request, part: str, table: Any, label: str, classes: Sequence[str]
) -> NDArray[np.int64] | None:
    """Indices into ``classes``; None if any row has no label."""
    if label not in table.features:
        return None
    values = list(table[label])
    if getattr(table.features[label], "names", None) is None:
        places = {name: place for place, name in enumerate(classes)}
        unknown = sorted({str(v) for v in values if v is not None} - places.keys())
        if unknown:
            raise DataError(
                f"data set {request.spec}: {part} has labels that the training images do not "
                f"have: {', '.join(map(printable, unknown[:3]))}"
            )
        values = [None if v is None else places[str(v)] for v in values]
    if any(value is None or value < 0 for value in values):
        return None
    return np.array(values, dtype=np.int64)
