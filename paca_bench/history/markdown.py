"""A history as Markdown: what was found first, the cases folded."""

from __future__ import annotations

from paca_bench.compare.comparison import REGRESSION
from paca_bench.compare.markdown import escaped, folded, table
from paca_bench.history.history import History
from paca_bench.history.wording import (
    SERIES_HEADERS,
    STEP_HEADERS,
    headline,
    sentences,
    series_row,
    span,
    step_row,
)

_MOST_STEPS = 30
_MOST_ROWS = 150


def to_markdown(history: History) -> str:
    """The history as GitHub-flavoured Markdown."""
    mark = "❌" if history.exit_code == REGRESSION else "✅"
    parts = [f"### {mark} {escaped(headline(history))}", escaped(span(history.runs))]
    if history.steps:
        parts.append(table(STEP_HEADERS, [step_row(step) for step in history.steps], _MOST_STEPS))
    if said := sentences(history):
        parts.append("\n".join(f"- {escaped(text)}" for text in said))
    if history.latencies:
        rows = [series_row(one) for one in history.latencies]
        parts.append(folded(f"All {len(rows)} latencies", table(SERIES_HEADERS, rows, _MOST_ROWS)))
    return "\n\n".join(parts) + "\n"
