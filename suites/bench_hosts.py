"""Each mechanism in the same four-stage pyramid, 224 pixels."""

from __future__ import annotations

from typing import Any

from paca_bench.record import Case


def test_host(bench_case: Any, mechanism: dict[str, Any]) -> None:
    bench_case(Case(level="host", host="nano", height=224, width=224, mode="forward", **mechanism))
