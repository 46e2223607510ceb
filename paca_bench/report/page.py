"""What every HTML page of ours is made with: templates, a policy, a file written whole."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jinja2

from paca_bench.errors import StoreError
from paca_bench.report.packed import embedded, embedded_text, rounded
from paca_bench.units import format_count, format_percent, format_seconds, significant

T = TypeVar("T")

_NONE = "'none'"


def environment() -> jinja2.Environment:
    """The templates, escaping by default, with our display of numbers as filters."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("paca_bench.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        seconds=format_seconds,
        percent=format_percent,
        count=format_count,
        significant=significant,
        embedded=embedded,
        embedded_text=embedded_text,
        rounded=rounded,
    )
    return templates


def source(templates: jinja2.Environment, name: str) -> str:
    """A static file of the templates folder, as it is."""
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]


def policy(scripts: Iterable[str]) -> str:
    """A content security policy: no request anywhere, and only our own scripts run.

    Scripts are allowed by their hash, so that text from a plugin or an error message would
    not run even if it got past the escaping. Without scripts, none run.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes or _NONE}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def check_target(target: Path) -> None:
    """Refuse a file that cannot be written, before any work is done for it.

    Raises:
        StoreError: ``target`` is a folder, or its own folder does not exist.
    """
    try:
        is_folder, has_place = target.is_dir(), target.parent.is_dir()
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error
    if is_folder:
        raise StoreError(f"{target} is a folder; name a file, such as {target}/page.html")
    if not has_place:
        raise StoreError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it first"
        )


def write_files(
    content: T, outputs: Mapping[str, Path], renderers: Mapping[str, Callable[[T], str]]
) -> None:
    """Write ``content`` to each file of ``outputs``, as the renderer of its kind makes it.

    Raises:
        StoreError: a file cannot be written.
    """
    for kind, path in outputs.items():
        write_atomically(path, renderers[kind](content))


def json_text(data: Mapping[str, Any]) -> str:
    """A JSON file's text, for people and programs; no NaN."""
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def write_atomically(target: Path, text: str) -> None:
    """Replace ``target`` at once, so that no reader ever sees half a page.

    Raises:
        StoreError: it cannot be written; it is then as it was.
    """
    part = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
            file.write(text)
        # A temporary file is private to its owner; a page is as readable as any new file.
        part.chmod(0o666 & ~_umask())
        part.replace(target)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
