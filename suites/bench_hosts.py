"""Each mechanism in the same four-stage pyramid, 224 pixels."""

from __future__ import annotations

from typing import Any

import pytest

from paca_bench.record import Case

MECHANISMS: dict[str, dict[str, Any]] = {
    "vit": {},
    "swin": {},
    "pvt": {},
    "pvt_linear": {},
    "paca": {"num_clusters": 49},
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_host(bench_case: Any, mechanism: str) -> None:
    size = {"height": 224, "width": 224}
    options = MECHANISMS[mechanism]
    bench_case(
        Case(level="host", mechanism=mechanism, host="nano", mode="forward", **size, **options)
    )
