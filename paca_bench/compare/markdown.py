"""A comparison as Markdown for a pull request: verdict first, details folded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from paca_bench.compare.comparison import CLEAN, REGRESSION, CasePair, Comparison
from paca_bench.compare.wording import (
    detectable_text,
    headline,
    latency_text,
    note,
    sentences,
    static_row,
)

_MARKS = {CLEAN: "✅", REGRESSION: "❌"}
# A comment holds 65,536 characters; the report in HTML holds everything.
_MOST_CHANGED = 30
_MOST_ROWS = 150
_LONGEST_NOTE = 160


def to_markdown(comparison: Comparison) -> str:
    """The comparison as GitHub-flavoured Markdown, at most a few dozen lines unfolded."""
    mark = _MARKS.get(comparison.exit_code, "⚠️")
    parts = [f"### {mark} {escaped(headline(comparison))}"]
    if changed := _changed(comparison):
        headers = ["case", "metric", "BASE", "NEW", "change", "verdict"]
        parts.append(table(headers, changed, _MOST_CHANGED))
    parts.append("\n".join(f"- {escaped(text)}" for text in sentences(comparison)))
    rows = [_case_row(case) for case in comparison.cases]
    if rows:
        headers = ["case", "latency NEW / BASE", "detectable", "verdict", "note"]
        parts.append(folded(f"All {len(rows)} cases", table(headers, rows, _MOST_ROWS)))
    parts.append(folded("Both sides", _sides(comparison)))
    return "\n\n".join(parts) + "\n"


def _changed(comparison: Comparison) -> list[list[str]]:
    """Regressions first, of either kind; then what else changed."""
    latency = [
        [case.id, "latency", "", "", latency_text(case), f"**{case.judgement.change}**"]
        for case in sorted(comparison.cases, key=_slowest_first)
        if case.judgement and case.judgement.change in ("slower", "faster")
    ]
    statics = [
        static_row(case, static, "**regression**")
        for case, static in sorted(
            comparison.static_changes, key=lambda item: not item[1].is_regression
        )
    ]
    failing = [row for row in statics if row[-1].startswith("**")]
    return failing + latency + statics[len(failing) :]


def _slowest_first(case: CasePair) -> float:
    return -case.judgement.ratio.value if case.judgement else 0.0


def _case_row(case: CasePair) -> list[str]:
    verdict = case.judgement.change.value if case.judgement else ""
    verdict = "refused" if case.is_refused else verdict
    counts = ", ".join(static.name.replace("_", " ") for static in case.changed)
    verdict = "; ".join(filter(None, (verdict, counts and f"changed: {counts}")))
    text = note(case)
    short = text if len(text) <= _LONGEST_NOTE else f"{text[:_LONGEST_NOTE]}..."
    return [case.id, latency_text(case), detectable_text(case.judgement), verdict or "-", short]


def _sides(comparison: Comparison) -> str:
    lines = [
        f"- {name}: `{_code(str(side.path))}`, {side.runs} run(s), {escaped(side.machine or '-')}"
        for name, side in (("BASE", comparison.base), ("NEW", comparison.new))
    ]
    rules = ", ".join(str(rule) for rule in comparison.rules.values())
    return "\n".join([*lines, f"- fails on: `{rules}`"])


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> str:
    """A table of the first ``most`` rows; their first cells are set as code."""
    lines = [_line(headers), _line(["---"] * len(headers))]
    lines += [_line([f"`{_code(row[0])}`", *map(escaped, row[1:])]) for row in rows[:most]]
    if len(rows) > most:
        lines.append(f"\nand {len(rows) - most} more")
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def folded(title: str, content: str) -> str:
    """Content that is seen once its title is chosen."""
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def escaped(text: str) -> str:
    """Text that stays text: no tag, no table cell, no link or mention of its own."""
    one_line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([|`\[\]\\_~])", r"\\\1", one_line).replace("@", "&#64;")


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'").replace("|", "\\|")
