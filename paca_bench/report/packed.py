"""Data inside a page: JSON as text where it is short, else gzip in base64 for the browser."""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import Any

from markupsafe import Markup

# Below this many characters unpacking costs more than it saves, and a person can read it.
_SHORT = 6000
# Digits of a number in a figure: a screen shows four.
_DIGITS = 6


def embedded(value: Any, id_: str) -> Markup:
    """A script element that holds a JSON value and cannot be ended by its strings.

    ``unpacked`` of ``report.js`` reads it back, whichever of the two types it is.
    """
    return embedded_text(json.dumps(value, separators=(",", ":"), allow_nan=False), id_)


def embedded_text(text: str, id_: str) -> Markup:
    """As ``embedded``, of a value that is JSON text already."""
    if len(text) > _SHORT:
        payload = gzip_base64(text.encode())
        return Markup('<script type="application/gzip" id="{}">{}</script>').format(id_, payload)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup('<script type="application/json" id="{}">{}</script>').format(id_, Markup(text))


def gzip_base64(content: bytes) -> str:
    """The same bytes always give the same text."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def rounded(value: Any) -> Any:
    """JSON values with every fraction cut to the digits that a figure can show."""
    if isinstance(value, float):
        if value == 0 or not math.isfinite(value) or value.is_integer():
            return value
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value
