"""Numbers to text: three digits, the unit that fits, and no rounding over its edge."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.units import (
    format_bytes,
    format_count,
    format_percent,
    format_seconds,
    significant,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1.00"),
        (9.996, "10.0"),
        (99.96, "100"),
        (999.6, "1000"),
        (123.4, "123"),
        (-1.234, "-1.23"),
        (0.001234, "0.00123"),
        (1e-9, "1.00e-09"),
        (12345, "12300"),
        (1e12, "1.00e+12"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert significant(value) == text


@given(st.floats(min_value=1e-12, max_value=1e15), st.booleans())
@settings(max_examples=300, deadline=None)
def test_three_digits_are_within_half_a_percent(value: float, negative: bool) -> None:
    value = -value if negative else value
    text = significant(value)
    assert float(text) == pytest.approx(value, rel=0.00501)
    mantissa = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    assert len(mantissa) <= 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.00123, "1.23 ms"),
        (0.0009999, "1.00 ms"),
        (0.9999, "1.00 s"),
        (1e-6, "1.00 µs"),
        (2.5e-9, "2.50 ns"),
        (1e-12, "0.00100 ns"),
        (59.96, "60.0 s"),
        (119.4, "119 s"),
        (119.9, "2 min"),
        (200, "3 min 20 s"),
        (7199.7, "2 h"),
        (7500, "2 h 5 min"),
        (360000, "100 h"),
        (-0.5, "-500 ms"),
        (-200, "-3 min 20 s"),
        (math.inf, "inf s"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


PARTS = {"h": 3600, "min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


@given(st.floats(min_value=1e-9, max_value=1e6))
@settings(max_examples=300, deadline=None)
def test_a_duration_reads_back(seconds: float) -> None:
    parts = re.findall(r"([\d.]+) (h|min|ms|µs|ns|s)", format_seconds(seconds))
    assert sum(float(number) * PARTS[unit] for number, unit in parts) == pytest.approx(
        seconds, rel=0.00501
    )
    assert all(float(number) < 60 for number, unit in parts[1:])


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.50 KiB"),
        (2**20 - 1, "1.00 MiB"),
        (2**30, "1.00 GiB"),
        (5 * 2**40, "5.00 TiB"),
        (5000 * 2**40, "5000 TiB"),
        (-2048, "-2.00 KiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [
        (0, "", "0"),
        (999, "MACs", "999 MACs"),
        (1000, "", "1.00 k"),
        (999_999, "", "1.00 M"),
        (3_219_262_208, "MACs", "3.22 GMACs"),
        (2 * 10**15, "", "2.00 P"),
        (-1500, "", "-1.50 k"),
    ],
)
def test_counts(count: int, unit: str, text: str) -> None:
    assert format_count(count, unit) == text


@given(st.integers(0, 10**18))
@settings(max_examples=300, deadline=None)
def test_a_prefix_is_never_preceded_by_a_thousand(count: int) -> None:
    number = float(format_count(count).split()[0])
    assert number < 1000 or count >= 10**15
    size = format_bytes(min(count, 2**49))
    assert float(size.split()[0]) < 1024


def test_percent() -> None:
    assert format_percent(0.9534) == "95.3%"
    assert format_percent(0.02, 0) == "2%"
