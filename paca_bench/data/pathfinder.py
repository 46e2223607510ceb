"""``pathfinder``: are two dots joined by one dashed curve, or on two? Drawn, not stored.

In the manner of Linsley, Kim, Veerabadran, Windolf, Serre, "Learning long-range spatial
dependencies with horizontal gated recurrent units", NeurIPS 2018, and of the Long Range Arena
(Tay et al., ICLR 2021); own geometry. Nothing that is near a dot says which it is, nor does any
count of pixels: the same picture has either label, by where its two dots are put.

The geometry is in units of the image's side, so an image of a number is the same at every
resolution, and each resolution is drawn natively: it has more detail, not larger pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paca_bench.axes import suggest
from paca_bench.data.colours import hues_to_rgb
from paca_bench.data.dataset import ImageDataset, Split
from paca_bench.data.drawn import MAX_IMAGES, MIN_IMAGES, TEST_SHARE, batches
from paca_bench.data.draws import Indices, paired_labels, uniform
from paca_bench.data.options import split_options, whole_number
from paca_bench.data.scenes import MAX_DISTRACTORS, Scenes, make_scenes
from paca_bench.data.strokes import Blend, Stroke, paint
from paca_bench.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = ("apart", "joined")
MASK_CLASSES = ("background", "curve without a dot", "curve with a dot", "dot")
DOT_RADIUS = 0.045
DASH_RADIUS = 0.012
# Of a step of a curve, between the centres of a dash's round ends.
DASH_SHARE = 0.4

_TRAIN_SEED, _TEST_SEED = 1, 2
_LABELS, _COLOURS = 10, 20


@dataclass(frozen=True, slots=True)
class Difficulty:
    """``[LEVEL][,n=IMAGES][,distractors=CURVES][,colours=own|white]``, all optional.

    Attributes:
        n: training images; there are a quarter as many test images.
        distractors: short curves in each image, besides the two long ones.
        colours: ``own``: each curve of an image has its own; ``white``: all are alike.
    """

    n: int = 4000
    distractors: int = 4
    colours: str = "own"

    @classmethod
    def parse(cls, argument: str) -> Difficulty:
        """From what stands behind ``pathfinder:``.

        Raises:
            DataError: a level or option is unknown, or a value out of range.
        """
        spec = f"pathfinder:{argument}"
        keys = ("n", "distractors", "colours")
        # An option may stand first.
        level, options = split_options(
            spec, f",{argument}" if "=" in argument.partition(",")[0] else argument, keys
        )
        if level not in LEVELS:
            raise DataError(
                f"data set {spec}: there is no level {level!r}; "
                f"{suggest(level, [name for name in LEVELS if name])}"
            )
        changed: dict[str, Any] = {}
        for key, low, high in (
            ("n", MIN_IMAGES, MAX_IMAGES),
            ("distractors", 0, MAX_DISTRACTORS),
        ):
            if key in options:
                changed[key] = whole_number(spec, key, options[key], low, high)
        if "colours" in options:
            if options["colours"] not in ("own", "white"):
                raise DataError(
                    f"data set {spec}: colours must be own or white, not {options['colours']!r}"
                )
            changed["colours"] = options["colours"]
        return replace(LEVELS[level], **changed)


LEVELS = {
    "": Difficulty(),
    "easy": Difficulty(distractors=0),
    "hard": Difficulty(distractors=6, colours="white"),
}


def load_pathfinder(argument: str = "") -> ImageDataset:
    """The data set that ``pathfinder:ARGUMENT`` names; it needs no file.

    Raises:
        DataError: as ``Difficulty.parse``.
    """
    difficulty = Difficulty.parse(argument)
    curves = {
        "own": "each curve of an image has a colour of its own, so two dots can be told to be "
        "on one curve by its colour as well as by following it",
        "white": "all curves are white, so that two dots are on one curve can only be told by "
        "following it",
    }
    return ImageDataset(
        name=f"pathfinder:{argument}" if argument else "pathfinder",
        classes=CLASSES,
        train=_split(_TRAIN_SEED, difficulty.n, difficulty),
        test=_split(_TEST_SEED, difficulty.n // TEST_SHARE, difficulty),
        notes=(
            f"drawn, not photographed: {difficulty.n:,} training and "
            f"{difficulty.n // TEST_SHARE:,} test images; half are joined, so chance is 50%",
            f"two long dashed curves and {difficulty.distractors} short ones; "
            f"{curves[difficulty.colours]}",
        ),
        mask_classes=MASK_CLASSES,
    )


def _split(seed: int, count: int, difficulty: Difficulty) -> Split:
    labels = paired_labels(seed + _LABELS, count)

    def scenes(resolution: int) -> Iterator[tuple[Indices, Scenes]]:
        for images in batches(count, resolution):
            yield images, make_scenes(seed, images, difficulty.distractors)

    def read(resolution: int) -> Tensor:
        import torch

        coloured = difficulty.colours == "own"
        pixels = np.empty((count, resolution, resolution, 3 if coloured else 1), dtype=np.uint8)
        for images, some in scenes(resolution):
            colours = _colours(seed, images, 2 + difficulty.distractors) if coloured else None
            pixels[images] = _draw(some, labels[images] == 1, colours, resolution)
        # Of white curves the three equal channels are one in memory.
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)

    def read_masks(resolution: int) -> Tensor:
        import torch

        masks = np.empty((count, resolution, resolution), dtype=np.uint8)
        for images, some in scenes(resolution):
            masks[images] = _mask(some, labels[images] == 1, resolution)
        return torch.from_numpy(masks)

    return Split(labels, read, read_masks)


def _colours(seed: int, images: Indices, curves: int) -> NDArray[np.float32]:
    """``[n, curves, 3]``: hues evenly around the circle from anywhere, in any order."""
    draws = uniform(seed + _COLOURS, images, np.zeros_like(images), curves + 1)
    ranks = draws[:, 1:].argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return hues_to_rgb(draws[:, :1] + ranks / curves)


def _dashes(scenes: Scenes) -> Iterator[tuple[int, Stroke]]:
    """``(curve, strokes)``, the long curves first; one stroke in each scene."""
    curves = [*np.moveaxis(scenes.long, 1, 0), *np.moveaxis(scenes.short, 1, 0)]
    for number, points in enumerate(curves):
        for start, end in itertools.pairwise(points.swapaxes(0, 1)):
            inset = (end - start) * ((1 - DASH_SHARE) / 2)
            yield number, Stroke(start + inset, end - inset, DASH_RADIUS)


def _dots(scenes: Scenes, joined: NDArray[np.bool_]) -> list[Stroke]:
    return [Stroke(place, place, DOT_RADIUS) for place in scenes.dots(joined).swapaxes(0, 1)]


def _draw(
    scenes: Scenes,
    joined: NDArray[np.bool_],
    colours: NDArray[np.float32] | None,
    resolution: int,
) -> NDArray[np.uint8]:
    """``[n, R, R, 3]``, or with one channel where there are no colours; dots are white."""
    channels = 1 if colours is None else 3
    n = len(joined)
    canvas = np.zeros((n, resolution, resolution, channels), dtype=np.float32)
    white = np.ones((n, 1), dtype=np.float32)
    for number, stroke in _dashes(scenes):
        paint(canvas, stroke, _lighten(white if colours is None else colours[:, number]))
    for stroke in _dots(scenes, joined):
        paint(canvas, stroke, _lighten(white))
    return np.rint(canvas * 255).astype(np.uint8)


def _mask(scenes: Scenes, joined: NDArray[np.bool_], resolution: int) -> NDArray[np.uint8]:
    """``[n, R, R]``: what covers at least about half of a pixel, as ``MASK_CLASSES``."""
    canvas = np.zeros((len(joined), resolution, resolution), dtype=np.uint8)
    for number, stroke in _dashes(scenes):
        # The first long curve always has a dot, the second where they are not joined.
        dotted = np.full(len(joined), number == 0) | ((number == 1) & ~joined)
        paint(canvas, stroke, _replace(np.where(dotted, 2, 1).astype(np.uint8)))
    for stroke in _dots(scenes, joined):
        paint(canvas, stroke, _replace(np.full(len(joined), 3, dtype=np.uint8)))
    return canvas


def _lighten(colours: NDArray[np.float32]) -> Blend:
    """To ``colours`` ``[n, channels]``, as far as covered; nothing becomes darker."""
    return lambda old, cover: np.maximum(old, cover[..., None] * colours[:, None, None])


def _replace(kinds: NDArray[np.uint8]) -> Blend:
    """By ``kinds`` ``[n]`` where at least half is covered."""
    return lambda old, cover: np.where(cover >= 0.5, kinds[:, None, None], old)
