"""What a user can get wrong about a shape or an option, and what they are told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from paca_bench.attention.registry import Place, attention_cost, create_attention, get_mechanism
from paca_bench.errors import SpecError, UnsupportedError
from tests.attention.cases import tokens

SHAPE: dict[str, Any] = {"dim": 12, "num_heads": 3, "grid": (8, 8)}

MISTAKES = [
    ("vit", {"dim": 0}, "dim must be an integer of at least 1, not 0"),
    ("vit", {"dim": 12.0}, "dim must be an integer of at least 1, not 12.0"),
    ("vit", {"num_heads": 5}, "num_heads 5 does not divide dim 12"),
    ("vit", {"num_heads": True}, "num_heads must be an integer of at least 1, not True"),
    ("vit", {"grid": (8,)}, r"grid must be (H, W), not (8,)"),
    ("vit", {"grid": 8}, r"grid must be (H, W), not 8"),
    ("vit", {"grid": (8, 0)}, "W must be an integer of at least 1, not 0"),
    ("vit", {"grid": (-1, 8)}, "H must be an integer of at least 1, not -1"),
    ("vit", {"window_size": 7}, "vit has no option 'window_size' (given 7); its options: none"),
    (
        "paca",
        {"num_cluster": 49},
        "paca has no option 'num_cluster' (given 49); its options: num_clusters, clustering,",
    ),
    ("paca", {"num_clusters": -1}, "num_clusters must be an integer of at least 0, not -1"),
    ("paca", {"num_clusters": 2.5}, "num_clusters must be an integer of at least 0, not 2.5"),
    (
        "paca",
        {"clustering": "kmeans"},
        "unknown clustering 'kmeans'; choose from conv, mlp, linear",
    ),
    ("paca", {"kernel_size": 4}, "kernel_size must be odd, not 4"),
    ("paca", {"kernel_size": -1}, "kernel_size must be an integer of at least 1, not -1"),
    ("swin", {"window_size": 0}, "window_size must be an integer of at least 1, not 0"),
    ("pvt", {"sr_ratio": 0}, "sr_ratio must be an integer of at least 1, not 0"),
    ("pvt_linear", {"pool_size": 0}, "pool_size must be an integer of at least 1, not 0"),
]


@pytest.mark.parametrize("make", [create_attention, attention_cost])
@pytest.mark.parametrize(("mechanism", "change", "message"), MISTAKES)
def test_a_mistake_is_named(
    make: Callable[..., object], mechanism: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        make(mechanism, **{**SHAPE, **change})
    assert message in str(caught.value)


def test_unknown_mechanism_lists_the_known_and_the_way_to_add_one() -> None:
    with pytest.raises(SpecError, match="unknown mechanism 'vitt'") as caught:
        create_attention("vitt", **SHAPE)
    assert "known: identity, paca, pvt, pvt_linear, swin, vit." in str(caught.value)
    assert "--plugin FILE" in str(caught.value)


def test_a_block_that_shares_needs_the_assignment() -> None:
    module = create_attention("paca", **SHAPE, shares_assignment=True)
    assert module.uses_shared
    for call in (module, module.make_shared):
        with pytest.raises(SpecError, match=r"first block's make_shared\(x, grid\)"):
            call(tokens((8, 8)), (8, 8))


def test_an_assignment_of_another_grid_is_refused() -> None:
    module = create_attention("paca", **SHAPE, num_clusters=5)
    shared = module.make_shared(tokens((8, 8)), (8, 8))
    with pytest.raises(SpecError, match=r"\(2, 5, 64\) does not weigh 72 tokens; .*grid 8x9"):
        module(tokens((8, 9)), (8, 9), shared)


def test_making_an_assignment_checks_the_grid() -> None:
    module = create_attention("paca", **SHAPE)
    with pytest.raises(SpecError, match="do not lie on the grid 8x9"):
        module.make_shared(tokens((8, 8)), (8, 9))


STAGES_AND_BLOCKS = [(stage, block) for stage in (1, 2, 3, 4) for block in (0, 1, 2)]


def options_of(mechanism: str, **options: Any) -> list[dict[str, Any]]:
    """The options at every block of stages 1 to 4 with three blocks each."""
    at = get_mechanism(mechanism).stage_options
    return [dict(at(Place(stage, block), options)) for stage, block in STAGES_AND_BLOCKS]


def test_pvt_reduces_less_from_stage_to_stage() -> None:
    ratios = [o["sr_ratio"] for o in options_of("pvt")]
    assert ratios == [8] * 3 + [4] * 3 + [2] * 3 + [1] * 3
    assert {o["sr_ratio"] for o in options_of("pvt", sr_ratio=2)} == {2}


def test_swin_shifts_every_second_block() -> None:
    assert [o["shifted"] for o in options_of("swin")] == [False, True, False] * 4
    assert {o["shifted"] for o in options_of("swin", shifted=False)} == {False}
    assert {o["window_size"] for o in options_of("swin", window_size=4)} == {4}


def test_paca_makes_one_assignment_a_stage_and_none_in_the_last() -> None:
    options = options_of("paca", num_clusters=49)
    assert [o["num_clusters"] for o in options] == [49] * 9 + [0] * 3
    assert [o["shares_assignment"] for o in options[:9]] == [False, True, True] * 3
    block_wise = options_of("paca", shares_assignment=False)
    assert not any(o["shares_assignment"] for o in block_wise)


def test_paca_holds_its_assignments_in_a_pyramid_and_not_alone() -> None:
    assert all(o["holds_assignment"] for o in options_of("paca"))
    at = get_mechanism("paca").stage_options
    assert "holds_assignment" not in at(Place(1), {})
    # Nobody has measured the other form there.
    assert at(Place(1, device="cuda"), {}) == {"holds_assignment": True}
    assert at(Place(1, device="cuda"), {"holds_assignment": False}) == {"holds_assignment": False}
    with pytest.raises(UnsupportedError, match="take --level layer, or --option holds_assignment"):
        at(Place(1, 0), {"holds_assignment": False})


@pytest.mark.parametrize("mechanism", ["vit", "pvt_linear"])
def test_others_are_alike_everywhere(mechanism: str) -> None:
    assert options_of(mechanism) == [{}] * len(STAGES_AND_BLOCKS)


@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("swin", {"shifted": True, "window_size": 4}),
        ("pvt", {"sr_ratio": 3}),
        ("paca", {"num_clusters": 9, "clustering": "mlp"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_layer_alone_has_what_the_user_chose(
    mechanism: str, options: dict[str, Any], stage: int
) -> None:
    assert get_mechanism(mechanism).stage_options(Place(stage), options) == options


def test_pvt_alone_has_the_ratio_of_its_stage() -> None:
    at = get_mechanism("pvt").stage_options
    assert [at(Place(stage), {})["sr_ratio"] for stage in (1, 2, 3, 4)] == [8, 4, 2, 1]


CLOSED_FORMS = [
    ("vit", {}, "4NC² + 2N²C"),
    ("pvt", {"sr_ratio": 1}, "4NC² + 2N²C"),
    ("paca", {"num_clusters": 0}, "4NC² + 2N²C"),
]


@pytest.mark.parametrize(("mechanism", "options", "formula"), CLOSED_FORMS)
def test_formula_of_plain_attention(mechanism: str, options: dict[str, Any], formula: str) -> None:
    cost = attention_cost(mechanism, **SHAPE, **options)
    assert cost.formula == formula
    assert cost.macs == 4 * 64 * 12**2 + 2 * 64**2 * 12


@pytest.mark.parametrize("grid", [(14, 14), (13, 9), (3, 20)], ids=str)
def test_closed_forms_at_a_shape(grid: tuple[int, int]) -> None:
    """The counting conventions, spelled out once more with plain integers."""
    c, n = 12, math.prod(grid)

    def macs(mechanism: str, **options: Any) -> int:
        return attention_cost(mechanism, dim=c, num_heads=3, grid=grid, **options).macs

    padded = math.prod(-(-side // 7) * 7 for side in grid)
    reduced = math.prod(side // 3 for side in grid)
    assert macs("swin") == 4 * padded * c**2 + 2 * padded * 49 * c
    assert macs("pvt", sr_ratio=3) == (
        2 * n * c**2 + 9 * reduced * c**2 + 2 * reduced * c**2 + 2 * n * reduced * c
    )
    assert macs("pvt_linear") == 2 * n * c**2 + 49 * c**2 + 2 * 49 * c**2 + 2 * n * 49 * c
    attention = 25 * n * c + 2 * n * c**2 + 2 * 25 * c**2 + 2 * n * 25 * c
    made = {
        "conv": 49 * n * c + n * c**2 + 25 * n * c,
        "mlp": 4 * n * c**2 + 4 * n * 25 * c,
        "linear": 25 * n * c,
    }
    for clustering, making in made.items():
        options = {"num_clusters": 25, "clustering": clustering}
        assert macs("paca", **options) == making + attention
        assert macs("paca", **options, holds_assignment=True) == making + attention
        assert macs("paca", **options, shares_assignment=True) == attention


def test_a_fused_aggregation_has_the_parameters_and_less_to_move() -> None:
    held, fused = (
        attention_cost("paca", **SHAPE, num_clusters=25, holds_assignment=holds)
        for holds in (True, False)
    )
    assert fused.params == held.params
    # Neither the scores nor the weights of the 25 clusters are written and read again.
    assert fused.moved_elements() == held.moved_elements() - 2 * 64 * 25


def test_sharing_block_holds_no_clustering() -> None:
    names = create_attention("paca", **SHAPE, shares_assignment=True).state_dict().keys()
    assert not [name for name in names if name.startswith("clustering.")]
    cost = attention_cost("paca", **SHAPE, shares_assignment=True)
    assert "clustering" not in cost.param_terms
