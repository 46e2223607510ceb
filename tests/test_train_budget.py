"""Amounts of training: as typed, in their one form, and what is none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paca_bench.errors import SpecError
from paca_bench.train_budget import MAX_STEPS, TrainBudget, parse_train_budget


@pytest.mark.parametrize(
    ("text", "unit", "amount", "shown"),
    [
        ("steps:300", "steps", 300, "steps:300"),
        (" steps:2k ", "steps", 2000, "steps:2000"),
        ("images:50k", "images", 50_000, "images:50000"),
        ("images:1.5k", "images", 1500, "images:1500"),
        ("macs:1e15", "macs", 1e15, "macs:1000000000000000"),
        ("macs:2.5T", "macs", 2.5e12, "macs:2500000000000"),
        ("time:60s", "time", 60, "time:60s"),
        ("time:1h30m", "time", 5400, "time:5400s"),
        ("time:2.5", "time", 2.5, "time:2.5s"),
    ],
)
def test_an_amount_as_typed(text: str, unit: str, amount: float, shown: str) -> None:
    budget = TrainBudget.parse(text)
    assert (budget.unit, budget.amount) == (unit, amount)
    assert str(budget) == parse_train_budget(text) == shown


@given(
    st.one_of(
        st.builds(TrainBudget, st.just("steps"), st.integers(1, MAX_STEPS)),
        st.builds(TrainBudget, st.just("images"), st.integers(1, 10**12)),
        st.builds(TrainBudget, st.just("macs"), st.integers(1, 10**19)),
        st.builds(TrainBudget, st.just("time"), st.integers(1, 10**6)),
    )
)
def test_the_text_means_the_same_amount(budget: TrainBudget) -> None:
    assert TrainBudget.parse(str(budget)) == budget


def test_the_recipes_own_is_a_word() -> None:
    assert parse_train_budget("default") == "default"


@pytest.mark.parametrize(
    "text",
    [
        *("", "300", "steps", "steps:", "steps:0", "steps:-1", "steps:1.5", "steps:1e9", "steps:x"),
        *("images:0", "images:0.5", "images:1kk", "macs:0", "macs:1e400", "macs:nan", "macs:inf"),
        *("time:", "time:0", "time:soon", "epochs:3", "steps:300:1", "Steps:300"),
        *(None, 300, True, ["steps:300"], {"steps": 300}),
    ],
)
def test_what_is_no_amount_is_refused_with_what_is(text: object) -> None:
    with pytest.raises(SpecError, match=r"--train-budget .*(steps:300|90s)"):
        parse_train_budget(text)


@pytest.mark.parametrize("amount", [0, -1, math.nan, math.inf])
def test_no_other_way_in_is_open(amount: float) -> None:
    for unit in ("steps", "images", "macs", "time"):
        with pytest.raises((SpecError, OverflowError)):
            TrainBudget(unit, amount)
