"""A run in the terminal: one compact table per level, the verdict, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.analyse.scaling import scaling_table
from paca_bench.analyse.summary import unmeasured, verdict
from paca_bench.report.missing import kinds
from paca_bench.report.places import (
    Place,
    Row,
    group_reason,
    is_censored,
    is_number,
    place_key,
    places,
    resolution_text,
)
from paca_bench.report.quantities import ACCURACY, LATENCIES, MACS, MEMORY_FORWARD, Quantity
from paca_bench.report.theme import label_order
from paca_bench.units import format_percent, format_seconds, significant

if TYPE_CHECKING:
    import pandas as pd

_NONE = "-"


def print_summary(df: pd.DataFrame, console: Console) -> None:
    """Print the summary of a frame (``load_results``) to ``console``.

    One table per place, hosts first: MACs and peak memory at the largest resolution, latency
    at the smallest and the largest, its exponent in N, and the accuracy of the same label.
    On a narrow console a table becomes lines of text, so that no number is cut off.
    """
    order = label_order(df)
    for place in places(df):
        _print_place(place, df, order, console)
    _print_trainings(df, order, console)
    outcome = verdict(df)
    console.print(f"[bold]{escape(outcome.question)}[/bold]", highlight=False)
    for sentence in outcome.sentences:
        console.print(escape(f"  {sentence}"), highlight=False)
    missing = kinds(unmeasured(df))
    if missing:
        console.print("\n[bold]Not measured[/bold]", highlight=False)
    for kind in missing:
        console.print(escape(f"  {kind.line}"), highlight=False)
