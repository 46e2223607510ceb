"""One published model of each family, the smallest, 224 pixels."""

from __future__ import annotations

from typing import Any

import pytest

from paca_bench.record import Case

MODELS = (
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_tiny",
    "pvt_v2_b0",
    "pacavit_tiny_p2cconv_100_0",
)


@pytest.mark.parametrize("model", MODELS)
def test_model(bench_case: Any, model: str) -> None:
    bench_case(Case(level="model", mechanism=model, host="", height=224, width=224, mode="forward"))
