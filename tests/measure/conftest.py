"""What tests of trainings share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from paca_bench.measure.training import Training


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """The models are too small for threads to help, and on a busy machine they wait a lot."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring it takes longer than these trainings, and in bfloat16 twenty seconds."""
    monkeypatch.setattr(Training, "peak_bytes", lambda self: 0)
