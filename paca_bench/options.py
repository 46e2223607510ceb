"""The options of mechanisms as an axis of a sweep: from text, and against what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paca_bench.axes import shown, suggest
from paca_bench.errors import SpecError
from paca_bench.record import ParamValue

if TYPE_CHECKING:
    from paca_bench.attention.registry import Mechanism

# name -> its values
OptionAxes = tuple[tuple[str, tuple[ParamValue, ...]], ...]

_RESERVED = {
    "num_clusters": "write --clusters 49,100 or --clusters 49-64-81-100",
    "dim": "the host's geometry fixes it; choose --host",
    "num_heads": "the host's geometry fixes it; choose --host",
    "grid": "the resolution fixes it; choose --res",
}
_KINDS: Mapping[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),
    str: ("a word", (str,)),
}


def parse_options(value: object) -> OptionAxes:
    """(name, values) from ``clustering=conv,mlp``, several of them, or a table of lists.

    In text, ``true`` and ``false`` are truth values and what reads as a number is one.

    Raises:
        SpecError: a text has no ``=``, a name is given twice or fixed otherwise, or there is
            no value.
    """
    if isinstance(value, Mapping):
        given = [(str(name), _items(name, values)) for name, values in value.items()]
    else:
        texts = value if isinstance(value, list | tuple) else [value]
        given = [_parse_text(text) for text in texts]
    axes: dict[str, tuple[ParamValue, ...]] = {}
    for name, values in given:
        if name in _RESERVED:
            raise SpecError(f"--option {name} is no option of its own: {_RESERVED[name]}")
        if name in axes:
            raise SpecError(f"--option {name} is given twice; write its values in one, {name}=A,B")
        axes[name] = _distinct(values)
    return tuple(axes.items())


def _parse_text(text: object) -> tuple[str, list[ParamValue]]:
    name, _, values = str(text).partition("=")
    words = [word.strip() for word in values.split(",") if word.strip()]
    if not name.strip() or not words:
        raise SpecError(
            f"--option {shown(text)} is not NAME=VALUES, such as clustering=conv,mlp,linear"
        )
    return name.strip(), [_parse_value(word) for word in words]


def _parse_value(word: str) -> ParamValue:
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for convert in (int, float):
        try:
            return convert(word)
        except ValueError:
            continue
    return word


def _items(name: object, values: Any) -> list[ParamValue]:
    items = values if isinstance(values, list | tuple) else [values]
    if not items or not all(isinstance(item, bool | int | float | str) for item in items):
        raise SpecError(
            f"option {name} = {shown(values)} is not a list of numbers, words or true and false"
        )
    return list(items)


def _distinct(values: list[ParamValue]) -> tuple[ParamValue, ...]:
    """Without repeats, where 1 and true are two."""
    return tuple({(type(value), value): value for value in values}.values())


def check_options(axes: OptionAxes, mechanisms: Sequence[Mechanism]) -> None:
    """See that each option is one of some mechanism, and its values of the kind of its default.

    Raises:
        SpecError: it is not.
    """
    for name, values in axes:
        owners = [m for m in mechanisms if name in m.defaults]
        if not owners:
            known = dict.fromkeys(n for m in mechanisms for n in m.defaults if n not in _RESERVED)
            names = ", ".join(m.name for m in mechanisms)
            choice = suggest(name, known) if known else "they have none"
            raise SpecError(f"--option {name}: none of {names} has such an option; {choice}")
        for mechanism in owners:
            default = mechanism.defaults[name]
            wanted, allowed = _KINDS.get(type(default), ("", ()))
            for value in values:
                if wanted and type(value) not in allowed:
                    raise SpecError(
                        f"--option {name}={value}: {mechanism.name} takes {wanted} here, such as "
                        f"its default {default}"
                    )
