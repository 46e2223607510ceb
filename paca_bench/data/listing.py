"""Labelled images that lie somewhere outside, and what becomes of those that cannot be used.

Folders, Hugging Face data sets and torchvision's all end here: every image is decoded once,
what cannot be is named and counted, and refused or left out as the user chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.dataset import HELD_OUT_SHARE, ImageDataset, Split, stratified_split
from paca_bench.data.images import fit
from paca_bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from paca_bench.data.registry import OnError

_SHOWN = 3
_SKIP = "leave them out by --bad-images skip"


class Source(Protocol):
    """Where images lie."""

    def image(self, row: int) -> Image:
        """One image, upright, in 8-bit RGB.

        Raises:
            OSError: it cannot be read.
        """

    def name(self, row: int) -> str:
        """What a message calls it."""


@dataclass(frozen=True, eq=False)
class Listing:
    """Images of one part of a data set, not yet read.

    Attributes:
        classes: names; some may have no image.
        labels: int64 ``[n]``, indices into ``classes``.
        rows: int64 ``[n]``, which images of ``source``.
        source: where they lie.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    source: Source

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Listing:
        """Only the ``chosen``, by their places or by a mask."""
        return replace(self, labels=self.labels[chosen], rows=self.rows[chosen])

    def keep_classes(self, kept: NDArray[np.int64]) -> Listing:
        """Only the images of the classes ``kept`` (ascending), labelled anew."""
        within = self.take(np.isin(self.labels, kept))
        return replace(
            within,
            classes=tuple(self.classes[label] for label in kept),
            labels=np.searchsorted(kept, within.labels),
        )


def make_dataset(
    name: str, train: Listing, test: Listing | None, on_error: OnError, notes: Sequence[str] = ()
) -> ImageDataset:
    """The data set of a part to train on and one to test on, all images decoded once.

    Args:
        name: what ``--data`` takes.
        train: to train on.
        test: held out, of the same classes; None to hold out the same 20% of each class at
            every call.
        on_error: ``raise``, or ``skip``: leave out images that cannot be read, and then
            classes that have too few to be both trained on and tested. A left-out class
            makes another task, so the notes name it.
        notes: what is known already.

    Raises:
        DataError: an image cannot be read or a class has too few, and is not to be skipped;
            or fewer than two classes are left.
    """
    said = list(notes)
    train = _readable(train, on_error, said)
    test = None if test is None else _readable(test, on_error, said)
    kept = _full_classes(name, train, test, on_error, said)
    train = train.keep_classes(kept)
    if test is None:
        staying, leaving = stratified_split(train.labels)
        train, test = train.take(staying), train.take(leaving)
        said.append(f"{HELD_OUT_SHARE:.0%} of each class held out by a fixed seed")
    else:
        test = test.keep_classes(kept)
    return ImageDataset(name, train.classes, _split(train), _split(test), tuple(said))


def summary(entries: Sequence[str]) -> str:
    """The first few of ``entries``."""
    return "; ".join(entries[:_SHOWN]) + ("; ..." if len(entries) > _SHOWN else "")


def printable(text: str) -> str:
    """``text`` on one line and in valid Unicode: what is not is written as an escape."""
    shown = "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else _escape(c) for c in text)
    return shown.encode("utf-8", "backslashreplace").decode()


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _readable(listing: Listing, on_error: OnError, notes: list[str]) -> Listing:
    """``listing`` without the images that cannot be decoded."""
    reasons = [_why_not(listing.source, row) for row in listing.rows.tolist()]
    bad = [
        f"{printable(listing.source.name(row))} ({printable(reason)})"
        for row, reason in zip(listing.rows.tolist(), reasons, strict=True)
        if reason is not None
    ]
    if not bad:
        return listing
    text = f"{len(bad)} of {len(listing)} images cannot be read: {summary(bad)}"
    if on_error == "raise":
        raise DataError(f"{text}. Mend or remove them, or {_SKIP}")
    notes.append(f"skipped: {text}")
    return listing.take(np.array([reason is None for reason in reasons]))


def _why_not(source: Source, row: int) -> str | None:
    try:
        source.image(row)
    except OSError as error:
        return str(error) or type(error).__name__
    return None


def _full_classes(
    name: str, train: Listing, test: Listing | None, on_error: OnError, notes: list[str]
) -> NDArray[np.int64]:
    """The classes with enough images in each part: one, or two where some are held out."""
    parts = [train] if test is None else [train, test]
    needed = 2 if test is None else 1
    counts = [np.bincount(part.labels, minlength=len(train.classes)) for part in parts]
    fewest = np.min(counts, axis=0)
    lacking = np.flatnonzero(fewest < needed)
    kept = np.flatnonzero(fewest >= needed)
    if len(lacking):
        named = summary(
            [f"{printable(train.classes[label])} ({fewest[label]})" for label in lacking]
        )
        least = "2 readable images, one to hold out" if test is None else "1 readable image a part"
        text = f"{len(lacking)} of {len(train.classes)} classes have fewer than {least}: {named}"
        if on_error == "raise":
            raise DataError(f"data set {name}: {text}. Fill or remove them, or {_SKIP}")
        notes.append(f"left out: {text}")
    if len(kept) < 2:
        left = ", ".join(printable(train.classes[label]) for label in kept) or "none"
        raise DataError(
            f"data set {name}: a classifier needs at least 2 classes with images, and there is "
            f"{left}" + (f"; {notes[-1]}" if len(lacking) else "")
        )
    return kept


def _split(listing: Listing) -> Split:
    def read(resolution: int) -> Tensor:
        import torch

        pixels = np.empty((len(listing), resolution, resolution, 3), dtype=np.uint8)
        for place, row in enumerate(listing.rows.tolist()):
            try:
                pixels[place] = fit(listing.source.image(row), resolution, resolution)
            except OSError as error:
                name = printable(listing.source.name(row))
                raise DataError(f"cannot read {name} any more: {error}") from error
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    return Split(listing.labels, read)
