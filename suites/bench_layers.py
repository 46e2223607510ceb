"""Each mechanism's attention layer alone, at the geometry of stages 1 and 3, 224 pixels."""

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


@pytest.mark.parametrize("mode", ["forward", "train"])
@pytest.mark.parametrize("stage", [1, 3])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_layer(bench_case: Any, mechanism: str, stage: int, mode: str) -> None:
    bench_case(
        Case(
            level="layer",
            mechanism=mechanism,
            host="nano",
            stage=stage,
            height=224,
            width=224,
            mode=mode,
            **MECHANISMS[mechanism],
        )
    )
