from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from paca_bench.errors import UnsupportedError
from paca_bench.measure import memory
from paca_bench.measure.memory import cpu_peak, cuda_peak, measure_peak_memory

KIB = 1024


class Products(nn.Module):
    """``x w w w``: never more than two products alive."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256, 256))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight @ self.weight @ self.weight


def test_two_products_are_alive_at_once() -> None:
    peak = measure_peak_memory(Products(), torch.randn(64, 256), "forward")

    assert peak.peak_bytes == 2 * 64 * KIB
    assert peak.base_bytes == 256 * KIB + 64 * KIB
    assert peak.reserved_bytes is None
    assert peak.method == "CPU allocator events"


def test_training_keeps_all_products_and_the_gradients() -> None:
    module = Products()
    peak = measure_peak_memory(module, torch.randn(64, 256), "train")

    # At the first multiplication's gradient: the sum of two earlier ones of w and the new one.
    assert 3 * 256 * KIB <= peak.peak_bytes <= 3 * 256 * KIB + 4 * 64 * KIB
    assert module.weight.grad is None


class Halves(nn.Module):
    """Two blocks of eight products each, of which a step keeps all but the last."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Eight() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Eight(nn.Module):
    is_block = True

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(8):
            x = x.exp() * 1e-3
        return x


def test_checkpointing_keeps_one_block_at_a_time() -> None:
    module, x = Halves(), torch.randn(64, KIB // 4, requires_grad=True)
    kept = measure_peak_memory(module, x, "train").peak_bytes
    recomputed = measure_peak_memory(module, x, "train", checkpointing=True).peak_bytes

    # Sixteen exponentials are kept, or eight and what lies between the two blocks.
    assert kept >= 16 * 64 * KIB
    assert kept - 6 * 64 * KIB <= recomputed + 64 * KIB <= kept - 5 * 64 * KIB
    assert measure_peak_memory(module, x, "train").peak_bytes == kept


def test_memory_freed_before_the_peak_does_not_count() -> None:
    def call() -> Tensor:
        first = torch.empty(KIB)
        del first
        return torch.empty(2 * KIB)

    assert cpu_peak(call) == 4 * 2 * KIB


def test_a_profiler_that_sees_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_raw_events", lambda profiler: [])

    with pytest.raises(UnsupportedError, match="Kineto"):
        cpu_peak(lambda: torch.empty(1))


class FakeCuda:
    """An allocator that caches in blocks of 2 MiB and counts like ``torch.cuda``."""

    block = 2 * KIB * KIB

    def __init__(self, held: int) -> None:
        self.held = self.peak = held
        self.reserved = self.peak_reserved = 10 * self.block
        self.synchronized = 0

    def allocate(self, size: int) -> None:
        self.held += size
        self.peak = max(self.peak, self.held)
        self.reserved = max(self.reserved, -(-self.held // self.block) * self.block)
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def synchronize(self) -> None:
        self.synchronized += 1

    def empty_cache(self) -> None:
        self.reserved = -(-self.held // self.block) * self.block

    def reset_peak_memory_stats(self) -> None:
        self.peak, self.peak_reserved = self.held, self.reserved

    def memory_allocated(self) -> int:
        return self.held

    def max_memory_allocated(self) -> int:
        return self.peak

    def max_memory_reserved(self) -> int:
        return self.peak_reserved


def test_cuda_peak_is_over_the_base_and_reserved_is_not() -> None:
    cuda = FakeCuda(held=1000)
    cuda.allocate(50_000)
    cuda.allocate(-50_000)

    def call() -> None:
        cuda.allocate(3000)
        cuda.allocate(-2000)
        cuda.allocate(1500)

    assert cuda_peak(call, cuda) == (3000, cuda.block)
    assert cuda.synchronized == 2
