"""One pass of a trained classifier over labelled images: what is right, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from paca_bench.data.preprocess import Preprocessing
from paca_bench.data.stream import BadImage, Batch
from paca_bench.errors import CheckpointError, UnsupportedError
from paca_bench.measure.kernel import kernel_path
from paca_bench.measure.latency import CpuTimer, CudaTimer, Timer

TOP = 5


@dataclass(slots=True)
class Pass:
    """What came of a pass.

    Attributes:
        top1: images whose class has the largest logit.
        top5: images whose class is among the five largest.
        sizes: images of each batch.
        model_s: seconds of each batch's forward pass.
        total_s: seconds from one batch's end to the next one's: what decoding was not yet
            done, the copy to the device, normalising, and the forward pass.
        bad: files that cannot be read.
        kernel: the attention kernel that ran, see ``measure.kernel``; empty without images.
    """

    top1: int = 0
    top5: int = 0
    sizes: list[int] = field(default_factory=list)
    model_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    bad: list[BadImage] = field(default_factory=list)
    kernel: str = ""

    @property
    def images(self) -> int:
        """Images that were classified."""
        return sum(self.sizes)


@dataclass(frozen=True, slots=True)
class Computing:
    """Where and how a model computes.

    Attributes:
        device: ``cpu`` or ``cuda:i``.
        dtype: a torch dtype's name, of weights and images.
        autocast: another, or ``none``.
    """

    device: str
    dtype: str = "float32"
    autocast: str = "none"

    def casting(self) -> torch.autocast:
        """The context that the model runs in."""
        on = self.autocast != "none"
        dtype = getattr(torch, self.autocast) if on else torch.bfloat16
        return torch.autocast(self.device.partition(":")[0], dtype, enabled=on)

    def __str__(self) -> str:
        cast = "" if self.autocast == "none" else f" under autocast to {self.autocast}"
        return f"{self.dtype}{cast}"


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Within, torch's CPU work uses ``count`` threads; 0 leaves their number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def evaluate_pass(
    module: nn.Module,
    batches: Iterator[Batch],
    preprocessing: Preprocessing,
    computing: Computing,
    observer: Callable[[int], object],
) -> Pass:
    """Classify all images once.

    Args:
        module: normalised images ``[B, 3, R, R]`` -> logits ``[B, K]``; in evaluation mode.
        batches: what ``preprocessing`` read.
        preprocessing: whose mean and deviation normalise.
        computing: where and how; the module is moved there.
        observer: is told the number of images of each batch that is done, the bad included.

    Raises:
        DataError: an image cannot be read and is not to be skipped.
        CheckpointError: a logit is not finite.
        UnsupportedError: the device has no such computation.
    """
    module = module.to(computing.device, getattr(torch, computing.dtype))
    timer = _timer(computing.device)
    done = Pass()
    start = time.perf_counter()
    for batch in batches:
        done.bad += batch.bad
        if len(batch):
            images = normalise(batch, preprocessing, computing)
            with _saying_what_lacks(computing):
                if not done.kernel:
                    with computing.casting():
                        done.kernel = kernel_path(module, images[:1], "forward")
                logits, seconds = _classify(module, images, computing, timer)
            ranks = label_ranks(logits, torch.from_numpy(batch.labels).to(logits.device))
            done.top1 += int((ranks < 1).sum())
            done.top5 += int((ranks < TOP).sum())
            end = time.perf_counter()
            done.sizes.append(len(batch))
            done.model_s.append(seconds)
            done.total_s.append(end - start)
            start = end
        observer(len(batch) + len(batch.bad))
    return done


def normalise(batch: Batch, preprocessing: Preprocessing, computing: Computing) -> Tensor:
    """The batch's pixels as the model takes them: ``[B, 3, R, R]`` on the device."""
    pixels = torch.from_numpy(batch.pixels).to(computing.device)
    images = pixels.permute(0, 3, 1, 2).contiguous().float() / 255
    mean, std = (
        images.new_tensor(value)[:, None, None] for value in (preprocessing.mean, preprocessing.std)
    )
    return ((images - mean) / std).to(getattr(torch, computing.dtype))


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one, ``[B]``, from logits ``[B, K]``.

    Of equal logits the lower index comes first, so that no rank depends on how a device sorts.
    """
    own = logits.gather(1, labels[:, None])
    index = torch.arange(logits.shape[1], device=logits.device)
    before = (logits > own) | ((logits == own) & (index < labels[:, None]))
    return before.sum(dim=1)


@contextmanager
def _saying_what_lacks(computing: Computing) -> Iterator[None]:
    """Torch has no type for the error that a device lacks an operator in a dtype."""
    try:
        yield
    except RuntimeError as error:
        if "not implemented for" not in str(error):
            raise
        raise UnsupportedError(
            f"{computing.device} cannot compute this model in {computing}: {error}; take "
            f"--dtype float32"
        ) from error


def _classify(
    module: nn.Module, images: Tensor, computing: Computing, timer: Timer
) -> tuple[Tensor, float]:
    """The logits in at least float32, and the seconds that they took."""
    made: list[Tensor] = []

    def forward() -> None:
        with computing.casting():
            made.append(module(images))

    with torch.inference_mode():
        seconds = timer.time(forward)
    logits = made[0] if made[0].dtype == torch.float64 else made[0].float()
    if not logits.isfinite().all():
        raise CheckpointError(
            f"the model gives logits that are not finite in {computing}; the checkpoint is "
            f"damaged, or needs --dtype float32"
        )
    return logits, seconds


def _timer(device: str) -> Timer:
    """A clock around the model alone, which finds the caches as the copy before left them."""
    return CudaTimer(lambda: None) if device.startswith("cuda") else CpuTimer()
