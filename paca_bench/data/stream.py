"""Images from files in batches, decoded by threads, a few batches in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paca_bench.data.registry import OnError
from paca_bench.errors import DataError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class BadImage:
    """A file that cannot be read as an image, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive readable images.

    Attributes:
        pixels: uint8 ``[B, R, R, 3]``.
        labels: int64 ``[B]``.
        bad: files that were left out since the batch before. The last batch may be of those
            alone, and have no images.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    bad: tuple[BadImage, ...]

    def __len__(self) -> int:
        return len(self.labels)


def stream_batches(
    paths: Sequence[Path],
    labels: Sequence[int],
    read: Callable[[Path], Pixels],
    *,
    size: int,
    threads: int,
    ahead: int,
    on_error: OnError = "raise",
) -> Generator[Batch]:
    """The images in their order, in batches of ``size``; only the last may be smaller.

    Args:
        paths: of the files.
        labels: of each.
        read: a file to ``[R, R, 3]``, all of one shape; called by several threads at once.
        size: images a batch.
        threads: that decode.
        ahead: batches that are decoded while one is used; with 0 nothing runs beside its use.
        on_error: ``skip`` leaves unreadable images out.

    Raises:
        DataError: an image cannot be read and is not to be skipped.
    """
    left = iter(zip(paths, labels, strict=True))
    waiting: deque[tuple[Path, int, Future[Pixels]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        while True:
            good: list[tuple[Pixels, int]] = []
            bad: list[BadImage] = []
            while len(good) < size:
                while len(waiting) < size * (1 + ahead) - len(good):
                    following = next(left, None)
                    if following is None:
                        break
                    waiting.append((*following, pool.submit(read, following[0])))
                if not waiting:
                    break
                path, label, future = waiting.popleft()
                try:
                    good.append((future.result(), label))
                except OSError as error:
                    bad.append(_refused(path, error, on_error))
            if not (good or bad):
                return
            yield Batch(
                np.stack([pixels for pixels, _ in good]) if good else np.empty(0, np.uint8),
                np.array([label for _, label in good], dtype=np.int64),
                tuple(bad),
            )
    finally:
        pool.shutdown(cancel_futures=True)


def _refused(path: Path, error: OSError, on_error: OnError) -> BadImage:
    if on_error == "raise":
        raise DataError(
            f"cannot read {path} as an image: {error}; mend or remove it, or leave such images "
            f"out by --bad-images skip"
        ) from error
    return BadImage(path, str(error))
