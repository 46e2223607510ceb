"""JSON values back to the fields of a dataclass, each checked against its annotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
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
    readers = _readers(cls)  # type: ignore[arg-type]  # classes are hashable
    of_field, plain = readers.of_field, readers.plain
    if not data.keys() >= readers.required:
        raise TypeError(f"{min(readers.required - data.keys())!r} is missing")
    if not data.keys() <= of_field.keys():
        raise TypeError(f"{min(map(str, data.keys() - of_field.keys()))!r} is unknown")
    return {
        name: value if type(value) in plain[name] else of_field[name](value, name)
        for name, value in data.items()
    }


# (value, name of the field) -> the value as the field holds it.
Reader = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class _Readers:
    """How to read each field, and the types that a value may be taken of without a look."""

    of_field: dict[str, Reader]
    plain: dict[str, frozenset[Any]]
    required: frozenset[str]


@cache
def _readers(cls: type[Any]) -> _Readers:
    required = (f.name for f in fields(cls) if f.default is f.default_factory is MISSING)
    hints = get_type_hints(cls)
    return _Readers(
        {name: _reader(hint) for name, hint in hints.items()},
        {name: _plain_types(hint) for name, hint in hints.items()},
        frozenset(required),
    )


def _reader(hint: Any) -> Reader:
    """How to read one annotation; made once, because a run has a hundred thousand records."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value, name: value
    if origin is list:
        return _list_reader(hint, inner[0])
    if origin is tuple:
        return _tuple_reader(hint, inner)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(hint, inner[1])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_reader(hint)
    return _plain_reader(hint)


def _plain_types(hint: Any) -> frozenset[Any]:
    """The types of JSON values that stand for an annotation as they are."""
    if get_origin(hint) is UnionType:
        return frozenset(get_args(hint))
    return frozenset({float, int} if hint is float else {hint})


def _plain_reader(hint: Any) -> Reader:
    allowed = _plain_types(hint)

    def read(value: Any, name: str) -> Any:
        if type(value) in allowed:
            return value
        raise _misfit(value, hint, name)

    return read


def _list_reader(hint: Any, item: Any) -> Reader:
    each = _reader(item)
    allowed = _plain_types(item)

    def read(value: Any, name: str) -> Any:
        if not isinstance(value, list):
            raise _misfit(value, hint, name)
        # Thousands of samples are plain numbers: one look at their types will do.
        if set(map(type, value)) <= allowed:
            return value
        return [each(one, name) for one in value]

    return read


def _tuple_reader(hint: Any, inner: tuple[Any, ...]) -> Reader:
    each = [_reader(one) for one in inner if one is not ...]

    def read(value: Any, name: str) -> Any:
        if isinstance(value, list):
            readers = each * len(value) if inner[-1] is ... else each
            if len(readers) == len(value):
                return tuple(one(item, name) for one, item in zip(readers, value, strict=True))
        raise _misfit(value, hint, name)

    return read


def _mapping_reader(hint: Any, item: Any) -> Reader:
    each = _reader(item)
    as_is = item is Any
    allowed = _plain_types(item)

    def read(value: Any, name: str) -> Any:
        if not isinstance(value, dict):
            raise _misfit(value, hint, name)
        if as_is or set(map(type, value.values())) <= allowed:
            return value
        return {key: each(one, f"{name}.{key}") for key, one in value.items()}

    return read


def _enum_reader(hint: type[Enum]) -> Reader:
    members = {member.value: member for member in hint}

    def read(value: Any, name: str) -> Any:
        if isinstance(value, str) and value in members:
            return members[value]
        raise _misfit(value, hint, name)

    return read


def _misfit(value: object, hint: Any, name: str) -> TypeError:
    return TypeError(f"{name!r} is {_shown(value)}, which does not fit {_wanted(hint)}")


def _wanted(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("collections.abc.", "")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
