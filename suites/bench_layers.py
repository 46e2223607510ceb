"""Each mechanism's attention layer alone, at the geometry of stages 1 and 3, 224 pixels."""

from __future__ import annotations

from typing import Any

import pytest

from paca_bench.record import Case


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("stage", [1, 3])
def test_layer(bench_case: Any, mechanism: dict[str, Any], stage: int, mode: str) -> None:
    size = {"height": 224, "width": 224}
    bench_case(Case(level="layer", host="nano", stage=stage, mode=mode, **size, **mechanism))
