"""How a published evaluation makes a model's input from an image file."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paca_bench.data.images import read_upright

Triple = tuple[float, float, float]

# Of ImageNet's training images, on the scale 0 to 1.
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
# Resized, a longer strip would take gigabytes of which the centre alone is seen.
MAX_ASPECT = 100


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize (bicubic, antialiased), cut the centre square, normalise.

    Attributes:
        source: where the published evaluation says so.
        crop: the side of the square over the resized shorter side; None squeezes the whole
            image into the square, whatever its proportions.
        mean: of each channel, on the scale 0 to 1.
        std: likewise.
    """

    source: str
    crop: Fraction | None = Fraction(7, 8)
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD

    def resized(self, width: int, height: int, side: int) -> tuple[int, int]:
        """(width, height) that an image is resized to; fractions of a pixel are dropped."""
        if self.crop is None:
            return side, side
        short = int(side / self.crop)
        if width <= height:
            return short, short * height // width
        return short * width // height, short

    def read(self, path: Path, side: int) -> NDArray[np.uint8]:
        """The image at ``[side, side, 3]``, not yet normalised.

        Images are decoded as everywhere here (``read_upright``): turned as their EXIF
        orientation says, transparent parts white. The published evaluations do neither.

        Raises:
            OSError: the file cannot be read as an image, or is a strip more than
                ``MAX_ASPECT`` times as long as wide.
        """
        image = read_upright(path)
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise OSError(f"{image.width}x{image.height} pixels is too thin a strip")
        image = image.resize(self.resized(*image.size, side), Image.Resampling.BICUBIC)
        # Half a pixel is rounded to the even side, as the published evaluations do.
        left, top = (round((length - side) / 2) for length in image.size)
        return np.asarray(image.crop((left, top, left + side, top + side)))

    def describe(self, side: int) -> str:
        """How an image is resized and cut, in words."""
        if self.crop is None:
            return f"both sides to {side} px (bicubic), whatever the proportions"
        return f"shorter side to {int(side / self.crop)} px (bicubic), then the centre"

    @property
    def normalisation(self) -> str:
        """How pixels are normalised, in words."""
        return f"mean {_listed(self.mean)}, std {_listed(self.std)}"


def _listed(values: Triple) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else ", ".join(f"{v:g}" for v in values)
