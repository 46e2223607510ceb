"""A case's module, input and cost belong together."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from paca_bench.attention.registry import mechanisms
from paca_bench.models.subject import (
    build_subject,
    case_cost,
    case_options,
    case_tokens,
    input_shape,
)
from paca_bench.record import Case


def make_case(mechanism: str, stage: int | None, **changes: Any) -> Case:
    level = "host" if stage is None else "layer"
    values = {"host": "nano", "height": 96, "width": 64, "batch": 2, "mode": "forward", **changes}
    return Case(level=level, mechanism=mechanism, stage=stage, **values)


@pytest.mark.parametrize("stage", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("mechanism", sorted(mechanisms()))
@torch.no_grad()
def test_module_takes_its_input_and_has_its_cost(mechanism: str, stage: int | None) -> None:
    case = make_case(mechanism, stage)
    module, shape = build_subject(case, num_classes=7), input_shape(case)
    out = module(torch.zeros(shape))
    assert out.shape == ((2, 7) if stage is None else shape)
    assert case_cost(case, num_classes=7).params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("stage", "grid"), [(1, (24, 16)), (2, (12, 8)), (3, (6, 4)), (4, (3, 2))])
def test_layer_input_is_the_grid_of_its_stage(stage: int, grid: tuple[int, int]) -> None:
    case = make_case("vit", stage)
    assert input_shape(case) == (2, math.prod(grid), (32, 64, 160, 256)[stage - 1])
    assert case_tokens(case) == math.prod(grid)


def test_host_input_is_images_and_its_tokens_are_those_of_the_first_stage() -> None:
    case = make_case("vit", None)
    assert input_shape(case) == (2, 3, 96, 64)
    assert case_tokens(case) == 24 * 16


def test_options_and_clusters_reach_the_module() -> None:
    case = make_case("paca", 1, num_clusters=5, options=(("clustering", "mlp"),))
    assert case_options(case) == {"clustering": "mlp", "num_clusters": 5}
    attention = build_subject(case).attention
    assert attention.num_clusters == 5
    assert attention.clustering.on_map is False


def test_a_layer_alone_in_stage_four_has_the_clusters_asked_for() -> None:
    assert build_subject(make_case("paca", 4, num_clusters=5)).attention.num_clusters == 5


@pytest.mark.parametrize(("stage", "ratio"), [(1, 8), (2, 4), (3, 2), (4, 1)])
def test_a_pvt_layer_has_the_ratio_of_its_stage(stage: int, ratio: int) -> None:
    assert build_subject(make_case("pvt", stage)).attention.sr_ratio == ratio


def test_a_shifted_swin_layer_is_shifted() -> None:
    case = make_case("swin", 1, options=(("shifted", True),))
    assert build_subject(case).attention.shifted is True
