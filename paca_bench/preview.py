"""The plan as text, for ``paca-bench sweep --dry-run``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.plan import PlannedCase
from paca_bench.units import format_bytes, format_count, format_seconds


def print_plan(planned: Sequence[PlannedCase], console: Console) -> None:
    """Every case with its predicted MACs, peak memory and time, and what will not be run."""
    table = Table(box=None)
    table.add_column("case", overflow="fold")
    for heading in ("MACs", "peak memory", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("not run", overflow="fold")
    for one in planned:
        table.add_row(
            escape(one.case.id),
            format_count(one.macs) if one.macs else "-",
            _memory(one),
            f"~{format_seconds(one.wall_s)}" if one.wall_s else "-",
            escape("; ".join(dict.fromkeys(f"{s.value}: {r}" for s, r in one.refused.values()))),
        )
    console.print(table)
    total = sum(one.wall_s for one in planned if not one.refused)
    refused = sum(1 for one in planned if one.refused)
    console.print(
        f"{len(planned)} cases, {refused} not run; about {format_seconds(total)} at the nominal "
        f"speed of this machine, which the sweep itself measures first. Nothing was run.",
        highlight=False,
    )


def _memory(planned: PlannedCase) -> str:
    """Predicted peak bytes over weights and input; a training's is not predicted."""
    if planned.case.is_training or not planned.macs:
        return "-"
    from paca_bench.complexity.memory import predict_case_memory

    return format_bytes(predict_case_memory(planned.case).peak_bytes)
