from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paca_bench.attention.registry import mechanisms
from paca_bench.errors import SpecError
from paca_bench.measure.recipe import (
    Length,
    Recipe,
    default_recipe,
    step_macs,
    training_length,
    training_seconds,
)
from paca_bench.models.subject import case_cost
from paca_bench.record import Case
from paca_bench.train_budget import TrainBudget

RECIPE = Recipe(budget=TrainBudget("steps", 100), batch_size=8, lr=0.5, warmup=0.1)
CASE = Case(level="host", mechanism="vit", host="nano", height=32, width=32, mode="fit")


def with_budget(text: str) -> Recipe:
    return replace(RECIPE, budget=TrainBudget.parse(text))


def test_the_rate_rises_then_falls_like_a_cosine_to_zero() -> None:
    length = Length(steps=100)
    rates = [RECIPE.lr_at(length.share(step, 0.0)) for step in range(100)]
    assert rates[0] == pytest.approx(0.025)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.49 < max(rates) <= 0.5
    assert RECIPE.lr_at(0.55) == pytest.approx(0.25)
    assert 0 < rates[-1] < 0.001
    assert RECIPE.lr_at(1.0) == pytest.approx(0.0, abs=1e-12)


def test_without_warm_up_it_starts_at_the_top() -> None:
    assert replace(RECIPE, warmup=0.0).lr_at(0.0) == 0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("lr", 0.0),
        ("lr", math.nan),
        ("weight_decay", -1.0),
        ("warmup", 1.0),
        ("label_smoothing", 1.0),
        ("shift", 1.0),
        ("clip_norm", 0.0),
        ("beta2", 1.0),
    ],
)
def test_values_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"recipe: {name} must be .*, not {value}"):
        replace(RECIPE, **{name: value})


def test_the_json_makes_the_same_recipe() -> None:
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert RECIPE.to_json()["budget"] == "steps:100"


# ---- how long


def test_steps_and_images_are_the_same_for_all() -> None:
    for name in ("vit", "identity"):
        case = replace(CASE, mechanism=name)
        assert training_length(case, with_budget("steps:7"), 10) == Length(steps=7)
        assert training_length(case, with_budget("images:807"), 10) == Length(steps=100)
        assert training_length(case, with_budget("images:1"), 10) == Length(steps=1)
        assert training_length(case, with_budget("time:3s"), 10) == Length(seconds=3.0)


def test_equal_macs_are_more_steps_for_the_cheaper() -> None:
    recipe = with_budget("macs:1e11")
    steps = {}
    for name in ("vit", "identity"):
        case = replace(CASE, mechanism=name)
        steps[name] = training_length(case, recipe, 10).steps or 0
        each = step_macs(case, recipe, 10)
        assert steps[name] * each <= 10**11 < (steps[name] + 1) * each
    assert steps["identity"] > steps["vit"]
    assert training_length(CASE, with_budget("macs:1"), 10) == Length(steps=1)


def test_a_step_is_a_batch_forward_and_backward() -> None:
    cost = case_cost(CASE, 10)
    assert cost is not None
    assert step_macs(CASE, RECIPE, 10) == 8 * (cost.macs + cost.backward_macs)
    assert 2.9 * cost.macs < cost.macs + cost.backward_macs < 3 * cost.macs, "but for the image"


def test_a_count_ends_at_its_step_and_is_spent_evenly() -> None:
    length = Length(steps=4)
    assert [length.is_over(step, 1e9) for step in range(6)] == [False] * 4 + [True] * 2
    assert [length.share(step, 1e9) for step in range(4)] == [0.125, 0.375, 0.625, 0.875]
    assert length.share(9, 0.0) == 1.0


def test_a_time_ends_when_it_is_spent_but_not_before_the_first_step() -> None:
    length = Length(seconds=10.0)
    assert not length.is_over(0, 11.0)
    assert not length.is_over(3, 9.9)
    assert length.is_over(3, 10.0)
    assert length.share(0, 0.0) == 0.0
    assert length.share(4, 4.0) == pytest.approx(0.45), "the next step is in the middle of its own"
    assert length.share(4, 100.0) == 1.0


def test_a_training_is_predicted_to_take_what_it_computes() -> None:
    forward = case_cost(CASE, 10).macs
    expected = (100 * step_macs(CASE, RECIPE, 10) + 50 * forward) / 1e9
    predicted = training_seconds(CASE, RECIPE, macs_per_s=1e9, num_test=50, num_classes=10)
    assert predicted == pytest.approx(expected)
    timed = with_budget("time:60s")
    assert training_seconds(CASE, timed, macs_per_s=1e9, num_test=0, num_classes=10) == 60


def test_there_is_one_recipe_for_all_mechanisms() -> None:
    for device in ("cpu", "cuda", "cuda:1"):
        recipe = default_recipe(device)
        for name in mechanisms():
            case = replace(CASE, mechanism=name, device=device)
            assert step_macs(case, recipe, 10) > 0


def test_a_gpu_is_given_more_steps() -> None:
    assert default_recipe("cuda:0").budget.amount > default_recipe("cpu").budget.amount
