"""A pass over labelled images: ranks, normalisation, invariance, and what cannot be computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paca_bench.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from paca_bench.data.stream import BadImage, Batch
from paca_bench.errors import CheckpointError, UnsupportedError
from paca_bench.measure.evaluation import (
    Computing,
    Pass,
    evaluate_pass,
    label_ranks,
    normalise,
    num_threads,
)
from paca_bench.models.registry import create_model

CPU = Computing("cpu")
USUAL = Preprocessing("test")


def batches(pixels: np.ndarray, labels: np.ndarray, size: int) -> list[Batch]:
    cuts = range(0, len(labels), size)
    return [Batch(pixels[i : i + size], labels[i : i + size], ()) for i in cuts]


def run(module: nn.Module, given_batches: list[Batch], computing: Computing = CPU) -> Pass:
    return evaluate_pass(module, iter(given_batches), USUAL, computing, lambda images: None)


@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=7, max_size=7), min_size=1, max_size=8),
    st.data(),
)
def test_the_rank_is_the_place_in_a_stable_sort(rows: list[list[int]], data: st.DataObject) -> None:
    labels = [data.draw(st.integers(0, 6)) for _ in rows]
    expected = [
        sorted(range(7), key=lambda index: (-row[index], index)).index(label)
        for row, label in zip(rows, labels, strict=True)
    ]
    assert label_ranks(torch.tensor(rows).float(), torch.tensor(labels)).tolist() == expected


def test_pixels_are_normalised_channel_by_channel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    made = normalise(Batch(pixels, np.zeros(2, np.int64), ()), USUAL, CPU)
    expected = (pixels.astype(np.float64) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    assert made.shape == (2, 3, 5, 5)
    assert made.dtype == torch.float32
    np.testing.assert_allclose(made.permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    half = normalise(Batch(pixels, np.zeros(2, np.int64), ()), USUAL, Computing("cpu", "bfloat16"))
    assert half.dtype == torch.bfloat16


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    options = {"widths": (8, 16, 20, 32), "depths": (1, 1, 1, 1)}
    return create_model("pvt_v2_b0", num_classes=9, img_size=32, **options).eval()


def test_neither_batch_size_nor_order_matters(small: nn.Module) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (23, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 9, 23)
    whole = run(small, batches(pixels, labels, 23))
    assert 0 < whole.top5 < 23
    order = rng.permutation(23)
    for other in (
        run(small, batches(pixels, labels, 1)),
        run(small, batches(pixels, labels, 4)),
        run(small, batches(pixels[order], labels[order], 5)),
    ):
        assert (other.images, other.top1, other.top5) == (23, whole.top1, whole.top5)


def test_what_is_counted_is_what_the_logits_say(small: nn.Module) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 9, 12)
    done = run(small, batches(pixels, labels, 5))
    with torch.no_grad():
        logits = small(normalise(Batch(pixels, labels, ()), USUAL, CPU))
    five = logits.topk(5, dim=1).indices.numpy()
    assert done.top1 == int((five[:, 0] == labels).sum())
    assert done.top5 == int((five == labels[:, None]).any(axis=1).sum())
    assert done.sizes == [5, 5, 2]
    assert done.kernel == "flash (CPU)"
    assert len(done.model_s) == len(done.total_s) == 3
    for model_s, total_s in zip(done.model_s, done.total_s, strict=True):
        assert 0 < model_s <= total_s


def test_autocast_and_other_dtypes_reach_the_model() -> None:
    seen: list[tuple[torch.dtype, torch.dtype]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.linear(images.mean(dim=(2, 3)))
            seen.append((images.dtype, logits.dtype))
            return logits

    given_batches = batches(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int64), 1)
    run(Spy(), given_batches, Computing("cpu", "float64"))
    run(Spy(), given_batches, Computing("cpu", "bfloat16"))
    run(Spy(), given_batches, Computing("cpu", "float32", "bfloat16"))
    # Once to see the kernel, once to classify.
    assert seen == [
        *2 * [(torch.float64, torch.float64)],
        *2 * [(torch.bfloat16, torch.bfloat16)],
        *2 * [(torch.float32, torch.bfloat16)],
    ]


def test_bad_files_are_kept_and_the_observer_hears_of_all(small: nn.Module) -> None:
    bad = BadImage(Path("x.png"), "broken")
    first = Batch(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int64), (bad,))
    last = Batch(np.empty(0, np.uint8), np.empty(0, np.int64), (bad, bad))
    heard: list[int] = []
    done = evaluate_pass(small, iter([first, last]), USUAL, CPU, heard.append)
    assert (done.images, done.bad) == (2, [bad, bad, bad])
    assert heard == [3, 2]


def test_logits_that_are_not_finite_have_no_rank() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3)) * float("nan")

    given_batches = batches(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int64), 1)
    with pytest.raises(CheckpointError, match="not finite in float32"):
        run(Broken(), given_batches)


def test_a_computation_that_the_device_lacks_is_said_so() -> None:
    class Lacking(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("\"gelu\" not implemented for 'Half'")

    class Buggy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("shapes differ")

    given_batches = batches(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int64), 1)
    with pytest.raises(UnsupportedError, match=r"cpu cannot compute.*float16"):
        run(Lacking(), given_batches, Computing("cpu", "float16"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(Buggy(), given_batches)


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    with num_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with num_threads(0):
        assert torch.get_num_threads() == before
