"""The machine and versions behind a run, as ``run.json`` has them: keys are not fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paca_bench.report.places import is_number
from paca_bench.units import format_bytes

# What identifies a machine in one line, where it is known, in reading order.
_LINE = ("gpu", "cpu", "torch", "python")
_NAMED = {"torch": "torch", "python": "Python"}


def machine_line(header: Mapping[str, Any]) -> str:
    """``Made-up CPU · torch 2.13.0 · Python 3.11.7 · paca-bench 0.1.0``."""
    environment = header.get("environment") or {}
    parts = []
    for key in _LINE:
        text = _short(environment.get(key))
        if text:
            parts.append(f"{_NAMED[key]} {text}" if key in _NAMED else text)
    return " · ".join([*parts, f"paca-bench {header.get('paca_bench', 'unknown')}"])


def environment_rows(headers: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """``(key, one value per run)`` for every key that any run recorded, nested keys dotted."""
    flat = [dict(_flatten(header.get("environment") or {})) for header in headers.values()]
    keys = dict.fromkeys(key for one in flat for key in one)
    return [(key, [one.get(key, "–") for one in flat]) for key in keys]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from _flatten(item, f"{name}.")
        else:
            yield name, _value_text(name, item)


def _value_text(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") and is_number(value):
        return f"{format_bytes(value)} ({value:,} B)"
    if isinstance(value, list):
        return ", ".join(_value_text("", item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value_text(str(key), item)}" for key, item in value.items())
    return str(value)


def _short(value: Any) -> str:
    """A value of one line: a text, a number, or a mapping's or list's first name."""
    if isinstance(value, Mapping):
        return _short(value.get("name") or value.get("model"))
    if isinstance(value, list):
        return _short(value[0]) if value else ""
    return "" if value is None or isinstance(value, bool) else str(value)
