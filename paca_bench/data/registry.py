"""Which data sets there are: ``mnist5k``, ``folder:DIR``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paca_bench.errors import DataError

if TYPE_CHECKING:
    from paca_bench.data.dataset import ImageDataset

OnError = Literal["raise", "skip"]

DEFAULT_DATASET = "mnist5k"


@dataclass(frozen=True)
class _Source:
    """``argument`` names what stands behind the colon; empty if nothing does."""

    argument: str
    description: str
    load: Callable[[str, OnError], ImageDataset]


def _mnist5k(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.mnist5k import load_mnist5k

    return load_mnist5k()


def _folder(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.folder import load_folder

    return load_folder(argument, on_error=on_error)


_SOURCES = {
    "mnist5k": _Source("", "5,000 real handwritten digits (4,000 train, 1,000 test)", _mnist5k),
    "folder": _Source(
        "DIR",
        "your own images: DIR/train/CLASS/* and DIR/val/CLASS/* (or test), or DIR/CLASS/*",
        _folder,
    ),
}


def load_dataset(spec: str, *, on_error: OnError = "raise") -> ImageDataset:
    """The data set that ``spec`` names.

    Args:
        spec: ``mnist5k`` or ``folder:DIR``.
        on_error: what to do about images that cannot be read: ``raise``, or ``skip`` them
            and say so in the data set's notes.

    Raises:
        DataError: there is no such data set, or it is missing, unreadable or unusable.
    """
    if on_error not in ("raise", "skip"):
        raise DataError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
    source, argument = _parse(spec)
    return source.load(argument, on_error)


def check_dataset(spec: str) -> None:
    """Whether ``spec`` names a data set that is there, without reading it.

    Raises:
        DataError: there is no such data set or folder.
    """
    source, argument = _parse(spec)
    if source.argument and not Path(argument).expanduser().is_dir():
        raise DataError(f"data set {spec}: there is no such folder; give {source.description}")


def _parse(spec: str) -> tuple[_Source, str]:
    """The source that ``spec`` names, and what stands behind the colon."""
    name, colon, argument = spec.partition(":")
    source = _SOURCES.get(name)
    if source is None:
        known = ", ".join(name for name, _ in describe_datasets())
        raise DataError(f"unknown data set {spec!r}; choose from {known}")
    if bool(source.argument) != bool(argument) or (colon and not source.argument):
        form = _form(name, source)
        raise DataError(f"data set {spec!r} is not of the form {form}; write --data {form}")
    return source, argument


def describe_datasets() -> list[tuple[str, str]]:
    """``(what --data takes, description)`` of every data set."""
    return [(_form(name, source), source.description) for name, source in _SOURCES.items()]


def _form(name: str, source: _Source) -> str:
    return f"{name}:{source.argument}" if source.argument else name
