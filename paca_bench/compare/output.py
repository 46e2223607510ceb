"""Where a comparison goes besides the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from paca_bench.compare.comparison import Comparison
from paca_bench.compare.machine import to_annotations, to_json, to_junit
from paca_bench.compare.markdown import to_markdown
from paca_bench.errors import StoreError
from paca_bench.report.page import json_text, write_files

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def write_outputs(comparison: Comparison, outputs: Mapping[str, Path]) -> None:
    """Write the comparison to files: ``markdown``, ``html``, ``json``, ``junit`` -> path.

    Raises:
        StoreError: a file cannot be written.
    """
    write_files(comparison, outputs, RENDERERS)


def _html(comparison: Comparison) -> str:
    # Only the page needs the templates.
    from paca_bench.report.compare_page import render

    return render(comparison)


RENDERERS: Mapping[str, Callable[[Comparison], str]] = {
    "markdown": to_markdown,
    "html": _html,
    "json": lambda comparison: json_text(to_json(comparison)),
    "junit": to_junit,
}


def write_github(comparison: Comparison) -> None:
    """Print annotations, and add the Markdown to the step summary where there is one.

    Raises:
        StoreError: the step summary cannot be written.
    """
    for line in to_annotations(comparison):
        print(line)
    summary = os.environ.get(STEP_SUMMARY)
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(to_markdown(comparison))
        except OSError as error:
            raise StoreError(f"cannot write the step summary {summary}: {error}") from error
