"""Which stage grows how, and from where on it wins."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paca_bench.complexity.cost import Cost, CostSum
from paca_bench.complexity.expr import symbols
from paca_bench.complexity.growth import growth
from paca_bench.complexity.term import C, N, attention, linear
from paca_bench.errors import UnsupportedError
from paca_bench.models.registry import get_model


def two_stages(side: int, factor: int = 10**6) -> CostSum:
    """``10⁶ N`` against ``2N²``: they cost the same at N = 500,000."""
    tokens = {"N": side * side, "C": 1, "a": factor}
    (a,) = symbols("a")
    return CostSum.of(
        [
            ("stage1.mlp", Cost({"linear": linear(N, C, a * C)}, tokens)),
            ("stage2.attention", Cost({"products": attention(N, N, C)}, tokens)),
        ]
    )


def first_multiple(is_true: Callable[[int], bool]) -> int:
    return next(side for side in range(32, 40000, 32) if is_true(side))


def test_a_quadratic_stage_overtakes_where_the_closed_form_says() -> None:
    found = growth(two_stages, 224)
    assert [(s.stage, s.degree) for s in found.stages] == [("stage1", 1), ("stage2", 2)]
    assert found.winner == "stage2"
    expected = first_multiple(lambda side: 2 * side**2 > 10**6)
    assert found.dominates_from == found.largest_from == expected
    assert found.degree == 2
    first, second = found.stages
    assert first.share + second.share == pytest.approx(1.0)
    assert (first.exponent, second.exponent) == (1.0, 2.0)


@pytest.mark.parametrize("name", ["pacavit_tiny_p2cconv_100_0", "pacavit_base_p2cconv_100_0"])
def test_paca_vit_is_linear_but_for_its_last_stage(name: str) -> None:
    model = get_model(name)

    def cost_at(side: int) -> CostSum:
        return model.cost(height=side, width=side)

    def share(side: int) -> float:
        return cost_at(side).stage("stage4").macs / cost_at(side).macs

    found = growth(cost_at, 224)
    assert {s.stage: s.degree for s in found.stages if s.degree != 1} == {"stage4": 2, "head": 0}
    assert found.winner == "stage4"
    side = found.dominates_from
    assert side is not None
    assert share(side - 32) <= 0.5 < share(side)
    assert found.largest_from is not None
    assert found.largest_from < side


def test_stages_of_one_degree_have_no_winner() -> None:
    for name in ("swin_tiny_patch4_window7_224", "pvt_v2_b2", "pacavit_small_p2cconv_100"):
        model = get_model(name)
        found = growth(lambda side, model=model: model.cost(height=side, width=side), 224)
        assert (found.winner, found.dominates_from) == (None, None)


def test_sizes_that_an_architecture_cannot_take_are_below_its_range() -> None:
    def cost_at(side: int) -> CostSum:
        if side < 64:
            raise UnsupportedError("too small")
        return two_stages(side)

    assert growth(cost_at, 224).dominates_from == growth(two_stages, 224).dominates_from


def test_a_stage_that_never_wins_within_reach() -> None:
    found = growth(lambda side: two_stages(side, factor=10**12), 224)
    assert found.winner == "stage2"
    assert (found.largest_from, found.dominates_from) == (None, None)
