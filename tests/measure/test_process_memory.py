"""The resident set's peak: in this process, and where the system says less."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from paca_bench.measure.process_memory import process_peak

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_call_that_touches_memory_has_it_in_its_peak_though_it_frees_it() -> None:
    def call() -> None:
        block = bytearray(64 * MIB)
        block[:: 2**12] = b"x" * len(block[:: 2**12])

    found = process_peak(call, lambda: None)
    assert found is not None
    if not found.method.startswith("VmHWM"):
        pytest.skip("this kernel does not forget the peak")
    assert 60 * MIB < found.peak_bytes < 100 * MIB
    nothing = process_peak(lambda: None, lambda: None)
    assert nothing is not None
    assert nothing.peak_bytes < 8 * MIB


def make_proc(tmp_path: Path, **lines: int) -> Path:
    folder = tmp_path / "self"
    folder.mkdir()
    text = "".join(f"{name}:\t{kib} kB\n" for name, kib in lines.items())
    (folder / "status").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_peak_is_asked_for_anew_and_counted_in_bytes(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, VmHWM=1500, VmRSS=1000)
    found = process_peak(lambda: None, lambda: None, proc=proc)
    assert found is not None
    assert found.peak_bytes == 500 * 1024
    assert (proc / "self/clear_refs").read_text(encoding="ascii") == "5"


def test_where_the_peak_is_kept_the_whole_life_is_taken_and_said(tmp_path: Path) -> None:
    proc = make_proc(tmp_path, VmHWM=1500, VmRSS=1000)
    (proc / "self/clear_refs").mkdir()
    found = process_peak(lambda: None, lambda: None, proc=proc)
    assert found is not None
    assert "whole life" in found.method
    assert found.peak_bytes > 0


def test_a_system_that_says_nothing_gives_nothing(tmp_path: Path) -> None:
    assert process_peak(lambda: None, lambda: None, proc=tmp_path) is None
