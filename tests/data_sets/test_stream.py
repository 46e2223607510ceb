"""Batches from files: in order, of equal size, few in memory, the unreadable as asked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paca_bench.data.stream import Batch, stream_batches
from paca_bench.errors import DataError


def read(path: Path) -> Any:
    """An image of the number that the file is called by; odd hundreds cannot be read."""
    number = int(path.name)
    if number >= 100:
        raise OSError(f"broken {number}")
    return np.full((2, 2, 3), number, dtype=np.uint8)


def stream(numbers: list[int], **options: Any) -> list[Batch]:
    settings: dict[str, Any] = {"size": 3, "threads": 2, "ahead": 0, "on_error": "skip", **options}
    return list(stream_batches([Path(str(n)) for n in numbers], numbers, read, **settings))


@given(
    numbers=st.lists(st.integers(0, 120), max_size=20),
    size=st.integers(1, 7),
    ahead=st.integers(0, 2),
)
def test_every_image_comes_once_and_in_order(numbers: list[int], size: int, ahead: int) -> None:
    batches = stream(numbers, size=size, ahead=ahead)
    good = [n for n in numbers if n < 100]
    assert [int(n) for batch in batches for n in batch.labels] == good
    assert [int(n) for b in batches if len(b) for n in b.pixels[:, 0, 0, 0]] == good
    bad = [n for n in numbers if n >= 100]
    assert [int(one.path.name) for batch in batches for one in batch.bad] == bad
    assert all(len(batch) == size for batch in batches[:-1])


def test_a_bad_file_is_named_with_its_reason() -> None:
    [batch] = stream([1, 101])
    assert [(str(one.path), one.reason) for one in batch.bad] == [("101", "broken 101")]
    with pytest.raises(DataError, match=r"cannot read 101 as an image: broken 101.*--bad-images"):
        stream([1, 101], on_error="raise")


def test_what_is_not_a_reading_error_is_not_hidden() -> None:
    def buggy(path: Path) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(stream_batches([Path("a")], [0], buggy, size=1, threads=1, ahead=0, on_error="skip"))


@pytest.mark.parametrize("ahead", [0, 2])
def test_no_more_is_decoded_than_asked_for(ahead: int) -> None:
    seen: list[int] = []
    lock = threading.Lock()

    def counting(path: Path) -> Any:
        with lock:
            seen.append(int(path.name))
        return read(path)

    paths = [Path(str(n)) for n in range(60)]
    batches = stream_batches(paths, range(60), counting, size=4, threads=2, ahead=ahead)
    for used in range(1, 6):
        next(batches)
        assert len(seen) <= 4 * (used + ahead)
    batches.close()
    assert len(seen) <= 4 * (5 + ahead)
