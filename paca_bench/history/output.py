"""Where a history goes besides the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from paca_bench.history.history import History
from paca_bench.history.machine import to_json
from paca_bench.history.markdown import to_markdown
from paca_bench.report.page import write_atomically


def write_outputs(history: History, outputs: Mapping[str, Path]) -> None:
    """Write the history to files: ``markdown``, ``html``, ``json`` -> path.

    Raises:
        StoreError: a file cannot be written.
    """
    for kind, path in outputs.items():
        write_atomically(path, _rendered(history, kind))


def _rendered(history: History, kind: str) -> str:
    if kind == "html":
        # Only the page needs plotly.
        from paca_bench.report.history_page import render

        return render(history)
    if kind == "json":
        return json.dumps(to_json(history), indent=2, allow_nan=False) + "\n"
    return to_markdown(history)
