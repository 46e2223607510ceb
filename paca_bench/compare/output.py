"""Where a comparison goes besides the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from paca_bench.compare.comparison import Comparison
from paca_bench.compare.machine import to_annotations, to_json, to_junit
from paca_bench.compare.markdown import to_markdown
from paca_bench.errors import StoreError
from paca_bench.report.page import check_target, write_atomically

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def check_targets(outputs: Mapping[str, Path]) -> None:
    """Refuse files that cannot be written before anything is compared.

    Raises:
        StoreError: a file's folder does not exist, or it is a folder itself.
    """
    for path in outputs.values():
        check_target(path)


def write_outputs(comparison: Comparison, outputs: Mapping[str, Path]) -> None:
    """Write the comparison to files: ``markdown``, ``html``, ``json``, ``junit`` -> path.

    Raises:
        StoreError: a file cannot be written.
    """
    for kind, path in outputs.items():
        write_atomically(path, _rendered(comparison, kind))


def _rendered(comparison: Comparison, kind: str) -> str:
    if kind == "html":
        # Only the page needs the templates.
        from paca_bench.report.compare_page import render

        return render(comparison)
    if kind == "json":
        return json.dumps(to_json(comparison), indent=2, allow_nan=False) + "\n"
    return to_junit(comparison) if kind == "junit" else to_markdown(comparison)


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
