from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paca_bench.attention.registry import mechanisms
from paca_bench.errors import SpecError
from paca_bench.measure.recipe import Recipe, default_recipe, training_macs
from paca_bench.models.subject import case_cost
from paca_bench.record import Case

RECIPE = Recipe(steps=100, batch_size=8, lr=0.5, warmup_steps=10)
CASE = Case(level="host", mechanism="vit", host="nano", height=32, width=32, mode="fit")


def test_the_rate_rises_then_falls_like_a_cosine() -> None:
    rates = [RECIPE.lr_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == rates[9] == rates[10] == 0.5
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.25)
    assert 0 < rates[-1] < 0.001


def test_without_warm_up_it_starts_at_the_top() -> None:
    assert replace(RECIPE, warmup_steps=0).lr_at(0) == 0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("weight_decay", -1.0),
        ("warmup_steps", 100),
        ("label_smoothing", 1.0),
        ("shift", 1.0),
        ("clip_norm", 0.0),
    ],
)
def test_values_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"recipe: {name} must be .*, not {value}"):
        replace(RECIPE, **{name: value})


def test_the_json_makes_the_same_recipe() -> None:
    assert Recipe(**RECIPE.to_json()) == RECIPE


def test_macs_are_three_forwards_a_training_image_and_one_a_test_image() -> None:
    forward = case_cost(CASE, 10).macs
    assert training_macs(CASE, RECIPE, num_test=50, num_classes=10) == (3 * 800 + 50) * forward


def test_there_is_one_recipe_for_all_mechanisms() -> None:
    for device in ("cpu", "cuda", "cuda:1"):
        recipe = default_recipe(device)
        for name in mechanisms():
            case = replace(CASE, mechanism=name, device=device)
            assert training_macs(case, recipe, num_test=1, num_classes=10) > 0


def test_a_gpu_is_given_more_steps() -> None:
    assert default_recipe("cuda:0").steps > default_recipe("cpu").steps
