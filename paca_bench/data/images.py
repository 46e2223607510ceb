"""Image files to RGB arrays of a fixed size."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})


def read_square(path: Path, resolution: int) -> NDArray[np.uint8]:
    """The image at ``[R, R, 3]``: shorter side resized to R (bicubic, antialiased), centre cut.

    Raises:
        OSError: the file cannot be read as an image.
    """
    return read_fitted(path, resolution, resolution)


def read_fitted(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """The image at ``[H, W, 3]``: resized (bicubic, antialiased) to just cover it, centre cut.

    The first frame counts, turned as its EXIF orientation says.

    Raises:
        OSError: the file cannot be read as an image.
    """
    return fit(read_upright(path), height, width)


def fit(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """``image`` at ``[H, W, 3]``, as ``read_fitted`` does."""
    # One resampling of the centred part: the same as to resize and then to cut.
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC))


def read_upright(path: Path | IO[bytes]) -> Image.Image:
    """The whole image in 8-bit RGB: its first frame, turned as its EXIF orientation says.

    An EXIF block that cannot be read turns nothing.

    Raises:
        OSError: the file cannot be read as an image.
    """
    with _open(path) as image:
        return upright(image)


def upright(image: Image.Image) -> Image.Image:
    """``image`` in 8-bit RGB, turned as its EXIF orientation says. Raises as ``to_rgb``."""
    return to_rgb(_turned(image))


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Parsers of damaged EXIF raise almost anything; the pixels are sound.
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB from any mode; transparent parts on white, 16-bit grey scaled to 8 bits.

    Raises:
        OSError: the pixels are floats, which have no agreed range.
    """
    if image.mode == "F":
        raise OSError("floating-point pixels have no agreed range; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        # Pillow's own conversion would clip at 255. 65535 / 257 = 255.
        grey = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        solid = image.convert("RGBA")
        # Colours under full transparency are arbitrary; they must not become visible.
        return Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    return image.convert("RGB")


def _open(path: Path | IO[bytes]) -> Image.Image:
    """The decoded image; whatever a decoder raises becomes an ``OSError``."""
    try:
        image = Image.open(path)
        try:
            image.load()
        except BaseException:
            image.close()
            raise
    except Exception as error:  # Decoders of damaged files raise almost anything.
        raise OSError(str(error) or type(error).__name__) from error
    return image
