"""Where a history goes besides the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from paca_bench.history.history import History
from paca_bench.history.machine import to_json
from paca_bench.history.markdown import to_markdown
from paca_bench.report.page import json_text, write_files


def write_outputs(history: History, outputs: Mapping[str, Path]) -> None:
    """Write the history to files: ``markdown``, ``html``, ``json`` -> path.

    Raises:
        StoreError: a file cannot be written.
    """
    renderers = {
        "markdown": to_markdown,
        "html": _html,
        "json": lambda history: json_text(to_json(history)),
    }
    write_files(history, outputs, renderers)


def _html(history: History) -> str:
    # Only the page needs plotly.
    from paca_bench.report.history_page import render

    return render(history)
