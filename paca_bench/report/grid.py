"""Terminal tables that wrap between words and never cut a number, however narrow."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GAP = 2
# A name may be broken beyond this length; a number never is.
_NAME_LEAST = 12


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts; the first ``names`` columns are names, the others numbers."""

    title: str
    headers: list[str]
    names: int
    rows: list[list[str]]


def print_grid(grid: Grid, console: Console) -> None:
    """Print a grid as a table; row by row as text where not even its words fit side by side."""
    natural = [_widest(grid, i, "\n") for i in range(len(grid.headers))]
    least = [_widest(grid, i, None) for i in range(len(grid.headers))]
    for i in range(grid.names):
        least[i] = min(least[i], _NAME_LEAST)
    room = console.width - _GAP * (len(grid.headers) - 1)
    if sum(least) <= room:
        console.print(_table(grid, fitted_widths(natural, least, room)))
        return
    console.print(Text(grid.title, style="bold"))
    for row in grid.rows:
        named = zip(grid.headers[grid.names :], row[grid.names :], strict=True)
        values = [f"{' '.join(header.split())}: {cell}" for header, cell in named if cell]
        line = f"{', '.join(row[: grid.names])}: {'; '.join(values)}"
        console.print(Padding(Text(" ".join(line.split())), (0, 0, 0, 2)))


def fitted_widths(natural: list[int], least: list[int], room: int) -> list[int]:
    """Column widths within ``room``: as many columns as can be get the width they want.

    Every column has its least width; those that lack the least are widened first.
    """
    widths = list(least)
    spare = room - sum(least)
    for i in sorted(range(len(widths)), key=lambda i: natural[i] - least[i]):
        more = min(max(natural[i] - least[i], 0), spare)
        widths[i] += more
        spare -= more
    return widths


def _widest(grid: Grid, column: int, separator: str | None) -> int:
    """The longest line (separator newline) or word (None) of a column, header included."""
    texts = [grid.headers[column], *(row[column] for row in grid.rows)]
    return max(cell_len(part) for text in texts for part in text.split(separator) or [""])


def _table(grid: Grid, widths: list[int]) -> Table:
    table = Table(
        title=Text(grid.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    for i, (header, width) in enumerate(zip(grid.headers, widths, strict=True)):
        is_name = i < grid.names
        # The box divides columns by one blank; the other is the column's own.
        table.add_column(
            Text(header),
            justify="left" if is_name else "right",
            vertical="top",
            overflow="fold",
            width=width + (_GAP - 1 if i else 0),
        )
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
