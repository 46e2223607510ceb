"""A case's identity: what its hash and id say, and what they must not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from paca_bench.analyse.curves import curves
from paca_bench.record import EXECUTION, Case
from paca_bench.report.places import places
from paca_bench.results import load_results
from tests.builders import make_record, make_run

CASE = Case(level="host", mechanism="vit", host="nano", height=64, width=96, mode="forward")
OTHERS = [(axis, value) for axis, values in EXECUTION.items() for value in values[1:]]


def test_torchs_own_way_is_the_default_and_is_not_mentioned() -> None:
    defaults = {f.name: f.default for f in dataclasses.fields(Case)}
    assert {axis: defaults[axis] for axis in EXECUTION} == {a: v[0] for a, v in EXECUTION.items()}
    assert not EXECUTION.keys() & CASE.to_json().keys()
    assert CASE.hash == "94d7ad57025f", "as before there were ways to execute"
    assert CASE.execution == ""


@pytest.mark.parametrize(("axis", "value"), OTHERS)
def test_another_way_is_another_case_that_says_so_and_survives_json(axis: str, value: str) -> None:
    changes: dict[str, Any] = {axis: value}
    other = dataclasses.replace(CASE, **changes)
    assert other.hash != CASE.hash
    assert other.id == f"{CASE.id}/{axis}={value}"
    assert other.execution == f"{axis}={value}"
    assert Case.from_json(other.to_json()) == other
    assert other.label == CASE.label


def test_several_ways_stand_in_one_order() -> None:
    other = dataclasses.replace(CASE, compile="default", kernel="math")
    assert other.id.endswith("/cpu/kernel=math+compile=default")
    assert other.execution == "kernel=math, compile=default"


def test_products_are_made_in_autocasts_dtype() -> None:
    assert dataclasses.replace(CASE, autocast="bfloat16").compute_dtype == "bfloat16"
    assert CASE.compute_dtype == "float32"


def test_ways_to_execute_are_columns_curves_and_places_of_their_own(tmp_path: Path) -> None:
    records = [make_record(resolution=side, **way) for side in (224, 320)
               for way in ({}, {"kernel": "math"})]  # fmt: skip
    frame = load_results(make_run(tmp_path / "run", records).path)
    assert set(frame["execution"]) == {"", "kernel=math"}
    assert set(frame["kernel"]) == {"auto", "math"}
    found = {axes["execution"]: len(rows) for axes, rows in curves(frame)}
    assert found == {"": 2, "kernel=math": 2}
    titles = [place.title for place in places(frame)]
    assert titles == ["Host nano, torch's own way", "Host nano, kernel=math"]
