"""Arrays to PNG files in memory, for a page that holds its own images."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def color_png(pixels: NDArray[np.uint8]) -> bytes:
    """From ``[H, W, 3]`` (RGB) or ``[H, W, 4]`` (with opacity); the same bytes each time."""
    return _png(Image.fromarray(np.ascontiguousarray(pixels)))


def palette_png(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """From ``[H, W]`` indices into up to 256 colours ``[n, 4]``: a third of the colours' size."""
    image = Image.fromarray(np.ascontiguousarray(indices)).convert("P")
    image.putpalette(palette.tobytes(), "RGBA")
    return _png(image)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
