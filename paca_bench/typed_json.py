"""JSON values back to the fields of a dataclass, each checked against its annotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def typed_fields(cls: type[Any], data: object) -> dict[str, Any]:
    """The arguments of the dataclass ``cls`` from a JSON object.

    Lists become tuples and words become enum members where the field's annotation says so;
    a whole number is a number. Fields with a default may be absent.

    Raises:
        TypeError: ``data`` is no object, a field is missing or unknown, or a value is not of
            the field's type; the message names the field.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{_shown(data)} is not a JSON object")
    hints: dict[str, Any] = _hints(cls)  # type: ignore[arg-type]  # classes are hashable
    required = {f.name for f in fields(cls) if f.default is f.default_factory is MISSING}
    if missing := sorted(required - data.keys()):
        raise TypeError(f"{missing[0]!r} is missing")
    if unknown := sorted(map(str, data.keys() - hints.keys())):
        raise TypeError(f"{unknown[0]!r} is unknown")
    return {name: _typed(value, hints[name], name) for name, value in data.items()}


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def _typed(value: Any, hint: Any, name: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is UnionType:
        if type(value) in inner:
            return value
    elif origin is list and isinstance(value, list):
        return [_typed(item, inner[0], name) for item in value]
    elif origin is tuple and isinstance(value, list):
        each = [inner[0]] * len(value) if inner[-1] is ... else inner
        if len(each) == len(value):
            return tuple(_typed(item, h, name) for item, h in zip(value, each, strict=True))
    elif origin is not None and isinstance(value, dict) and issubclass(origin, Mapping):
        return {key: _typed(item, inner[1], f"{name}.{key}") for key, item in value.items()}
    elif isinstance(hint, type) and issubclass(hint, Enum):
        if value in [member.value for member in hint]:
            return hint(value)
    elif type(value) is hint or (hint is float and type(value) is int):
        return value
    raise TypeError(f"{name!r} is {_shown(value)}, which does not fit {_wanted(hint)}")


def _wanted(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("collections.abc.", "")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
