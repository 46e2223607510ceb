"""Closed form, dispatch counter and fvcore give one number, to the last multiply-accumulate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.attention import registry
from paca_bench.attention.registry import attention_cost, get_mechanism, mechanisms
from paca_bench.complexity.count import agreed_counts
from paca_bench.complexity.dispatch import count
from paca_bench.complexity.expr import symbol
from paca_bench.complexity.fvcore_handles import fvcore_backward_macs, fvcore_macs
from paca_bench.errors import DisagreementError
from paca_bench.models.geometry import get_geometry, host_cost
from paca_bench.models.host import Host
from paca_bench.record import Case
from tests.complexity.subjects import build, options, shapes
from tests.complexity.three_counts import (
    STAGES,
    comparisons,
    host_case,
    layer_case,
    model_case,
    total_bytes,
)

MECHANISMS = sorted(mechanisms())


@pytest.mark.parametrize("mechanism", MECHANISMS)
@given(data=st.data(), batch=st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_three_counts_of_a_layer_of_any_shape(
    mechanism: str, data: st.DataObject, batch: int
) -> None:
    shape = data.draw(shapes())
    chosen = data.draw(options(mechanism, shape["grid"]))
    module = build(mechanism, shape, chosen)
    size = (batch, math.prod(shape["grid"]), shape["dim"])

    cost = attention_cost(mechanism, **shape, **chosen)

    counts = count(module, size, backward=True)
    x = torch.empty(size)
    assert counts.macs == fvcore_macs(module, x) == batch * cost.macs
    assert counts.backward_macs == fvcore_backward_macs(module, x) == batch * cost.backward_macs
    assert sum(p.numel() for p in module.parameters()) == cost.params
    assert counts.moved_bytes == 4 * cost.moved_elements(batch)
    assert total_bytes(counts) == 4 * cost.moved_elements(batch, train=True)


FORMULAS: list[tuple[str, dict[str, Any], Any]] = [
    ("vit", {}, lambda n, c: 4 * n * c**2 + 2 * n**2 * c),
    # 10 x 15 tokens are padded to 14 x 21, in windows of 49.
    ("swin", {}, lambda n, c: 4 * 294 * c**2 + 2 * 294 * 49 * c),
    ("swin", {"shifted": True}, lambda n, c: 4 * 294 * c**2 + 2 * 294 * 49 * c),
    ("pvt", {"sr_ratio": 1}, lambda n, c: 4 * n * c**2 + 2 * n**2 * c),
    # R divides both sides: the convolution reads every token once.
    (
        "pvt",
        {"sr_ratio": 5},
        lambda n, c: 2 * n * c**2 + n * c**2 + 2 * n // 25 * c**2 + 2 * n * n // 25 * c,
    ),
    # R = 4 leaves 2 x 3 tokens, and reads 8 x 12.
    ("pvt", {"sr_ratio": 4}, lambda n, c: 2 * n * c**2 + 96 * c**2 + 12 * c**2 + 12 * n * c),
    ("pvt_linear", {}, lambda n, c: 2 * n * c**2 + 3 * 49 * c**2 + 2 * n * 49 * c),
    (
        "paca",
        {"num_clusters": 20},
        lambda n, c: (
            (49 * n * c + n * c**2 + n * 20 * c)
            + n * 20 * c
            + (2 * n * c**2 + 2 * 20 * c**2 + 2 * n * 20 * c)
        ),
    ),
    ("paca", {"num_clusters": 0}, lambda n, c: 4 * n * c**2 + 2 * n**2 * c),
]


@pytest.mark.parametrize(("mechanism", "chosen", "formula"), FORMULAS)
def test_published_formula(mechanism: str, chosen: dict[str, Any], formula: Any) -> None:
    shape: dict[str, Any] = {"grid": (10, 15), "dim": 24, "num_heads": 3}
    expected = formula(150, 24)

    assert attention_cost(mechanism, **shape, **chosen).macs == expected
    assert count(build(mechanism, shape, chosen), (1, 150, 24)).macs == expected


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (224, 160)])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_counts_of_a_host(mechanism: str, size: tuple[int, int]) -> None:
    geometry = get_geometry("nano")
    height, width = size
    with torch.device("meta"):
        host = Host(get_mechanism(mechanism), geometry, height=height, width=width)

    cost = host_cost(get_mechanism(mechanism), geometry, height, width)

    counts = count(host, (1, 3, *size), backward=True, input_gradient=False)
    assert (counts.macs, counts.backward_macs) == (cost.macs, cost.backward_macs)
    assert sum(p.numel() for p in host.parameters()) == cost.params


QUICK = [
    *(layer_case(mechanism, stage, (1024, 1024)) for mechanism in MECHANISMS for stage in STAGES),
    *(host_case(mechanism, "nano", (256, 192)) for mechanism in MECHANISMS),
    host_case("paca", "tiny", (1024, 1024)),
    model_case("deit_tiny_patch16_224", (1024, 1024)),
    model_case("swin_tiny_patch4_window7_224", (1024, 1024)),
    model_case("pvt_tiny", (256, 192)),
    model_case("pvt_v2_b0", (1024, 1024)),
    model_case("pacavit_tiny_p2cconv_100_0", (256, 192)),
    model_case("pacavit_convmixer_tiny_100", (1024, 1024)),
]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.id)
def test_three_counts_of_a_case(case: Case) -> None:
    """A part of ``full_agreement``, which compares all cases."""
    for comparison in comparisons(case):
        assert comparison.found == comparison.expected, comparison.what


def make_case(mechanism: str, **changes: Any) -> Case:
    axes = {"level": "layer", "host": "nano", "height": 64, "width": 64, "mode": "forward"}
    return Case(**{**axes, "mechanism": mechanism, "stage": 2, **changes})


def test_agreed_counts_are_those_of_one_image() -> None:
    agreed = agreed_counts(make_case("vit", batch=8))
    counts = agreed.counts

    # Stage 2 of 64 x 64 pixels: 8 x 8 tokens of 64 channels, in two heads.
    assert counts.macs == 4 * 64 * 64**2 + 2 * 64**2 * 64
    assert counts.elementwise_ops == 2 * 64**2
    assert counts.by_category["attention_product"] == 2 * 64**2 * 64
    assert agreed.params == 4 * 64**2 + 4 * 64


def test_agreed_counts_of_a_host_at_1024() -> None:
    case = make_case("paca", level="host", stage=None, height=1024, width=1024, num_clusters=49)

    counts = agreed_counts(case).counts

    assert sum(counts.by_module.values()) == counts.macs == 10_965_993_472


def test_a_wrong_number_of_parameters_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = get_mechanism("vit")

    def cost_with(params: Any) -> Any:
        def cost_function(*, grid: Any, dim: int) -> Any:
            cost = right.cost_function(grid=grid, dim=dim)
            return replace(cost, param_expressions=params)

        return replace(right, name="wrong", cost_function=cost_function)

    monkeypatch.setitem(registry._mechanisms, "wrong", cost_with({"projections": symbol("C")}))
    with pytest.raises(DisagreementError, match=r"gives 64 parameters, the module has 16640"):
        agreed_counts(make_case("wrong"))
    # A closed form without parameters says nothing of them, and is not contradicted.
    monkeypatch.setitem(registry._mechanisms, "wrong", cost_with({}))
    assert agreed_counts(make_case("wrong")).params == 16640


def test_a_wrong_closed_form_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = get_mechanism("vit")

    def wrong_cost(*, grid: Any, dim: int) -> Any:
        cost = right.cost_function(grid=grid, dim=dim)
        return replace(cost, expressions={"projections": cost.expressions["projections"]})

    wrong = replace(right, name="wrong", cost_function=wrong_cost)
    monkeypatch.setitem(registry._mechanisms, "wrong", wrong)

    with pytest.raises(
        DisagreementError, match=r"1048576 multiply.*1572864; correct the cost of 'wrong'"
    ):
        agreed_counts(make_case("wrong"))
