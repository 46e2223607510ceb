"""``stripes``: are the stripes along the left and the right edge of one colour? Drawn, not stored.

The smallest task that needs long range, and needs nothing else. No stripe alone says anything,
only both together, and they lie ``GAP`` of the side apart or farther. A network whose features
see less than that at once, and whose score is linear in their mean, is a sum of what each stripe
adds alone. As "equal" is the exclusive or of two colours, the cross-entropy of such a sum is
least where it says nothing, and no such sum is right on more than three of the four pictures.

The geometry is in units of the image's side, so an image of a number is the same at every
resolution, and each resolution is drawn natively.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.colours import hues_to_rgb
from paca_bench.data.dataset import ImageDataset, Split
from paca_bench.data.drawn import MAX_IMAGES, MIN_IMAGES, TEST_SHARE, batches
from paca_bench.data.draws import Floats, Indices, paired_labels, uniform
from paca_bench.data.options import split_options, whole_number
from paca_bench.data.strokes import Blend, Stroke, paint

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = ("different", "equal")
# Wide, as what the mean of all tokens tells of a stripe falls with its share of the image.
NARROWEST, WIDEST = 0.10, 0.13
# The least distance between the stripes.
GAP = 1 - 2 * WIDEST
# Of a full colour; orange and azure are the first of two.
DARKEST = 0.7
FIRST_HUE = 1 / 12
# Grey discs between the stripes, which say nothing.
MAX_DISCS = 12
DISC_RADIUS = 0.04
# Of a disc's centre, so that it never touches a stripe.
_MARGIN = WIDEST + 2 * DISC_RADIUS

_MAX_COLOURS = 8
_TRAIN_SEED, _TEST_SEED = 3, 4
_LABELS, _DISCS = 10, 20
# Of the stripes: the first colour, how far the second is from it, two widths, two brightnesses.
_DRAWS = 6


@dataclass(frozen=True, slots=True)
class Options:
    """``[n=IMAGES][,colours=K][,discs=D]``, all optional.

    Attributes:
        n: training images; there are a quarter as many test images.
        colours: that a stripe may have.
        discs: grey discs in each image.
    """

    n: int = 1000
    colours: int = 2
    discs: int = 4

    @classmethod
    def parse(cls, argument: str) -> Options:
        """From what stands behind ``stripes:``.

        Raises:
            DataError: an option is unknown, or a value out of range.
        """
        spec = f"stripes:{argument}"
        ranges = {
            "n": (MIN_IMAGES, MAX_IMAGES),
            "colours": (2, _MAX_COLOURS),
            "discs": (0, MAX_DISCS),
        }
        _, options = split_options(spec, f",{argument}" if argument else "", ranges)
        return cls(
            **{key: whole_number(spec, key, text, *ranges[key]) for key, text in options.items()}
        )


def load_stripes(argument: str = "") -> ImageDataset:
    """The data set that ``stripes:ARGUMENT`` names; it needs no file.

    Raises:
        DataError: as ``Options.parse``.
    """
    options = Options.parse(argument)
    tests = options.n // TEST_SHARE
    return ImageDataset(
        name=f"stripes:{argument}" if argument else "stripes",
        classes=CLASSES,
        train=_split(_TRAIN_SEED, options.n, options),
        test=_split(_TEST_SEED, tests, options),
        notes=(
            f"drawn, not photographed: {options.n:,} training and {tests:,} test images; half are "
            f"equal, so chance is 50%",
            f"the stripes are at least {GAP:.0%} of the side apart: a network that sees less at "
            f"once and averages what it sees has nothing to learn from",
        ),
    )


def _split(seed: int, count: int, options: Options) -> Split:
    labels = paired_labels(seed + _LABELS, count)

    def read(resolution: int) -> Tensor:
        import torch

        pixels = np.empty((count, resolution, resolution, 3), dtype=np.uint8)
        for images in batches(count, resolution):
            pixels[images] = _draw(seed, images, labels[images] == 1, options, resolution)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    return Split(labels, read)


def _draw(
    seed: int, images: Indices, equal: NDArray[np.bool_], options: Options, resolution: int
) -> NDArray[np.uint8]:
    """``[n, R, R, 3]``."""
    canvas = np.zeros((len(images), resolution, resolution, 3), dtype=np.float32)
    _paint_discs(canvas, seed, images, options.discs)
    draws = uniform(seed, images, np.zeros_like(images), _DRAWS)
    first = np.floor(draws[:, 0] * options.colours)
    other = np.where(equal, 0, 1 + np.floor(draws[:, 1] * (options.colours - 1)))
    hues = np.stack([first, first + other], axis=1) / options.colours + FIRST_HUE
    brightness = DARKEST + (1 - DARKEST) * draws[:, 4:6]
    colours = hues_to_rgb(hues) * brightness[..., None].astype(np.float32)
    widths = NARROWEST + (WIDEST - NARROWEST) * draws[:, 2:4]
    for side, edge in enumerate((canvas, canvas[:, :, ::-1])):
        cover = _cover(widths[:, side], resolution)[:, None, :, None]
        painted = edge[:, :, : cover.shape[2]]
        painted += cover * (colours[:, side, None, None] - painted)
    return np.rint(canvas * 255).astype(np.uint8)


def _cover(widths: Floats, resolution: int) -> NDArray[np.float32]:
    """The share of each column of pixels, from the edge on, that a stripe covers: ``[n, columns]``.

    Only of columns that the widest stripe reaches.
    """
    columns = np.arange(int(np.ceil(WIDEST * resolution)))
    covered = np.clip(widths[:, None] * resolution - columns, 0, 1)
    return covered.astype(np.float32)


def _paint_discs(canvas: NDArray[Any], seed: int, images: Indices, discs: int) -> None:
    for disc in range(discs):
        draws = uniform(seed + _DISCS, images, np.full_like(images, 3 * disc), 3)
        place = _MARGIN + (1 - 2 * _MARGIN) * draws[:, :2]
        paint(canvas, Stroke(place, place, DISC_RADIUS), _lighten(draws[:, 2]))


def _lighten(greys: Floats) -> Blend:
    """To ``greys`` ``[n]``, as far as covered; nothing becomes darker."""
    levels = greys.astype(np.float32)[:, None, None]
    return lambda old, cover: np.maximum(old, (cover * levels)[..., None])
