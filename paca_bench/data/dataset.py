"""What a data set is: classes, and two splits that give tensors at any square resolution.

Reading tensors imports torch; sizes, labels and classes do not, so a plan can be made
without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paca_bench.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

SPLIT_SEED = 20_230_618
HELD_OUT_SHARE = 0.2
DATASETS_WITH_MASKS = ("pathfinder",)


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images, read when asked for.

    Attributes:
        labels: ``[n]``, indices into the data set's classes.
        read: resolution R -> uint8 ``[n, 3, R, R]`` on the CPU, in the order of ``labels``.
        read_masks: resolution R -> uint8 ``[n, R, R]``, each pixel's index into the data set's
            ``mask_classes``; None where nobody has drawn any.
    """

    labels: NDArray[np.int64]
    read: Callable[[int], Tensor]
    read_masks: Callable[[int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, resolution: int) -> tuple[Tensor, Tensor]:
        """Images, uint8 ``[n, 3, R, R]`` (RGB, 0 to 255), and labels, int64 ``[n]``.

        Raises:
            DataError: the resolution is not positive, or an image can no longer be read.
        """
        import torch

        _check_resolution(resolution)
        return self.read(resolution), torch.from_numpy(self.labels)

    def load_masks(self, resolution: int) -> Tensor:
        """The class of each pixel, uint8 ``[n, R, R]``, of the images in the same order.

        Raises:
            DataError: the resolution is not positive, or there are no masks.
        """
        _check_resolution(resolution)
        if self.read_masks is None:
            raise DataError(
                f"this data set has no masks, which the dense task needs; choose from "
                f"{', '.join(DATASETS_WITH_MASKS)}"
            )
        return self.read_masks(resolution)


def _check_resolution(resolution: int) -> None:
    if resolution < 1:
        raise DataError(f"resolution must be at least 1 pixel, not {resolution}")


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A labelled data set with a fixed held-out part.

    Attributes:
        name: what ``--dataset`` takes.
        classes: names; a label is an index into them.
        train: what is trained on, and what the normalisation is computed from.
        test: held out.
        notes: what a reader of an accuracy must know, such as skipped images.
        mask_classes: names; a pixel of a mask is an index into them. Empty without masks.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    notes: tuple[str, ...] = ()
    mask_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation, on the scale 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Tensor) -> Normalisation:
        """From uint8 ``[n, 3, R, R]``; a channel of one value has its deviation set to 1.

        From histograms, so the result is exact and does not depend on threads or device.
        """
        import torch

        means, stds = [], []
        values = torch.arange(256, dtype=torch.float64)
        for channel in images.unbind(1):
            counts = torch.bincount(channel.flatten(), minlength=256).cpu().double()
            share = counts / counts.sum()
            mean = float(share @ values)
            means.append(mean)
            stds.append(float(share @ (values - mean) ** 2) ** 0.5 or 1.0)
        return cls(tuple(means), tuple(stds))

    def apply(self, images: Tensor) -> Tensor:
        """uint8 ``[n, 3, R, R]`` -> float32, zero mean and unit deviation over the split."""
        pixels = images.float()
        mean, std = (pixels.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return (pixels - mean) / std


def stratified_split(
    labels: NDArray[np.int64], share: float = HELD_OUT_SHARE, seed: int = SPLIT_SEED
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices ``(kept, held_out)``, ascending; ``share`` of each class is held out.

    Every class keeps and gives at least one image. The draw is a fixed function of labels
    and seed: it ranks PCG64's raw output, which numpy promises never to change (it makes no
    such promise for ``Generator.permutation``).

    Raises:
        DataError: a class has fewer than two images.
    """
    ranks = np.random.PCG64(seed).random_raw(len(labels))
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(f"class {label} has a single image; a held-out part needs at least 2")
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held_out[members[np.argsort(ranks[members], kind="stable")[:count]]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
