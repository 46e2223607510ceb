"""What JSON may stand for which field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from paca_bench.typed_json import typed_fields


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Thing:
    size: tuple[int, int]
    colour: Colour = Colour.RED
    names: tuple[str, ...] = ()
    weight: float = 0.0
    stage: int | None = None
    samples: Mapping[str, list[list[float]]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def test_lists_become_tuples_and_words_enum_members() -> None:
    data = {"size": [1, 2], "colour": "red", "names": ["a"], "samples": {"s": [[1, 2.5]]}}
    assert Thing(**typed_fields(Thing, data)) == Thing(
        size=(1, 2), colour=Colour.RED, names=("a",), samples={"s": [[1, 2.5]]}
    )


def test_a_whole_number_stays_an_integer_where_any_number_fits() -> None:
    assert repr(typed_fields(Thing, {"size": [1, 2], "weight": 3})["weight"]) == "3"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": [1]}, "'size' is .*does not fit tuple"),
        ({"size": [1, "2"]}, "'size' is '2', which does not fit int"),
        ({"size": [1, True]}, "'size' is True"),
        ({"size": "ab"}, "'size'"),
        ({"colour": "blue"}, "'colour' is 'blue', which does not fit Colour"),
        ({"colour": ["red"]}, "'colour'"),
        ({"names": "ab"}, "'names'"),
        ({"weight": "1"}, "'weight' is '1', which does not fit float"),
        ({"weight": True}, "'weight'"),
        ({"stage": 1.5}, "'stage'"),
        ({"stage": False}, "'stage'"),
        ({"samples": {"s": [1.0]}}, r"'samples\.s' is 1\.0"),
        ({"samples": []}, r"'samples' is \[\], which does not fit Mapping"),
        ({"details": None}, "'details'"),
        ({"shape": 1}, "'shape' is unknown"),
        ({"names": ["x" * 500, 1]}, "'names' is 1,"),
    ],
)
def test_a_value_of_another_type_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=f"^{says}"):
        typed_fields(Thing, {"size": [1, 2], **change})


def test_a_missing_field_and_what_is_no_object() -> None:
    with pytest.raises(TypeError, match="'size' is missing"):
        typed_fields(Thing, {"names": []})
    for data in (None, [], "size", 1):
        with pytest.raises(TypeError, match="is not a JSON object"):
            typed_fields(Thing, data)


def test_a_long_value_does_not_drown_the_message() -> None:
    with pytest.raises(TypeError) as error:
        typed_fields(Thing, {"size": ["x" * 5000, 1]})
    assert len(str(error.value)) < 150
