"""A diagnosis on a terminal: the verdict, what to mend, then how noisy it was."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from paca_bench.analyse.statistics import Estimate
from paca_bench.doctor.diagnose import change_text
from paca_bench.doctor.finding import Diagnosis, Finding, Severity, Verdict
from paca_bench.doctor.noise import Noise
from paca_bench.schedule import MAX_PROCESSES
from paca_bench.units import format_percent, format_seconds

_COLOURS = {
    Verdict.QUIET: "green",
    Verdict.NOISY: "yellow",
    Verdict.UNFIT: "red",
    Severity.PROBLEM: "red",
    Severity.WARNING: "yellow",
    Severity.NOTE: "cyan",
}
_SHORT = (Severity.UNKNOWN, Severity.OK)
# A pipe has no width of its own, and rich would assume less.
_WIDTH = 100


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print all of it; commands are on lines of their own, to be copied whole."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    colour = _COLOURS[diagnosis.verdict]
    console.print(f"[bold {colour}]{escape(diagnosis.summary)}[/]", highlight=False)
    for finding in diagnosis.findings:
        if finding.severity not in _SHORT:
            _print_finding(finding, console)
    if diagnosis.noise is not None:
        console.print()
        console.print(_noise_table(diagnosis.noise))
    console.print()
    for severity, title in ((Severity.OK, "Fine"), (Severity.UNKNOWN, "Not known")):
        texts = [f"{f.name} ({f.found})" for f in diagnosis.findings if f.severity is severity]
        if texts:
            console.print(escape(f"{title}: {'; '.join(texts)}"), highlight=False)


def _print_finding(finding: Finding, console: Console) -> None:
    colour = _COLOURS[finding.severity]
    head = f"\n[{colour}]{finding.severity.value}[/] [bold]{escape(finding.name)}[/]: "
    console.print(head + escape(finding.found), highlight=False)
    console.print(Padding(escape(finding.why), (0, 0, 0, 2)), highlight=False)
    console.print(f"  mend: {escape(finding.fix)}", highlight=False, soft_wrap=True)


def _noise_table(noise: Noise) -> Table:
    """The experiment in figures."""
    table = Table(
        title=escape(f"A/A experiment: {noise.case}"),
        title_justify="left",
        box=None,
        padding=(0, 2),
    )
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    count = len(noise.first)
    within = noise.within
    table.add_row("latency", format_seconds(noise.latency_s), f"{count} processes each of A and B")
    table.add_row("A/B", *_ratio(noise.ratio))
    if noise.system_ratio is not None:
        table.add_row("system allocator/tuned", *_ratio(noise.system_ratio))
    table.add_row("variation between processes", format_percent(noise.between), "of their medians")
    if not math.isnan(within):
        table.add_row("variation within a process", format_percent(within), "of its samples")
    for processes in (3, MAX_PROCESSES):
        table.add_row(
            "smallest change seen",
            change_text(noise.smallest_change(processes)),
            f"with {processes} processes a case, 4 times out of 5",
        )
    return table


def _ratio(estimate: Estimate) -> tuple[str, str]:
    interval = f"{estimate.low:.3f} to {estimate.high:.3f} ({estimate.method})"
    return f"{estimate.value:.3f}", interval
