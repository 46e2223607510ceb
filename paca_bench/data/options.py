"""What stands behind the colon of ``--data NAME:ARGUMENT``."""

from __future__ import annotations

from collections.abc import Collection

from paca_bench.axes import suggest
from paca_bench.errors import DataError


def split_options(spec: str, argument: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """``HEAD,key=value,...`` taken apart: the head, which has no comma, and the options.

    Args:
        spec: the whole, for messages.
        argument: what is taken apart.
        known: the keys there are.

    Raises:
        DataError: a key is unknown, given twice or without a value.
    """
    head, *rest = argument.split(",")
    options: dict[str, str] = {}
    for item in rest:
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in known:
            raise DataError(f"data set {spec}: there is no option {key!r}; {suggest(key, known)}")
        if not (equals and value):
            raise DataError(f"data set {spec}: option {key} has no value; write {key}=VALUE")
        if key in options:
            raise DataError(f"data set {spec}: option {key} is given twice; give it once")
        options[key] = value
    return head.strip(), options


def whole_number(spec: str, key: str, text: str, low: int, high: int) -> int:
    """The value of option ``key``, from ``low`` to ``high``.

    Raises:
        DataError: it is no such number.
    """
    if text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    raise DataError(
        f"data set {spec}: {key} must be a whole number from {low} to {high:,}, not {text!r}"
    )
