"""Equal cost, from a run: which resolution or number of clusters one gets for another's cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paca_bench.axes import shown, suggest
from paca_bench.errors import NothingMeasuredError, SpecError
from paca_bench.report.grid import Grid, print_grid
from paca_bench.results import PathLike, load_results
from paca_bench.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

# What is asked for -> the columns that hold it, the best first.
METRICS: Mapping[str, tuple[str, ...]] = {
    "macs": ("macs",),
    "latency": ("latency_s",),
    # A static analysis knows the prediction alone.
    "memory": ("peak_memory_bytes", "predicted_peak_memory_bytes"),
}
_SHOWN = {"macs": format_count, "latency": format_seconds, "memory": format_bytes}

Tables = dict[str, Any]


def iso(run: PathLike, reference: str, metric: str) -> Tables:
    """What others reach for the cost of ``reference``, at each of its resolutions.

    Args:
        run: a run folder.
        reference: a label of the run, such as ``vit``.
        metric: ``macs``, ``latency`` or ``memory``.

    Returns:
        ``resolutions`` and ``clusters``: rows as of ``analyse.iso``, JSON values.

    Raises:
        StoreError: there is no such run.
        SpecError: no such metric or label.
        NothingMeasuredError: the metric was not measured for the reference and another.
    """
    if metric not in METRICS:
        raise SpecError(f"--metric {shown(metric)} does not exist; {suggest(metric, METRICS)}")
    frame = load_results(run)
    labels = list(dict.fromkeys(frame["label"])) if len(frame) else []
    if reference not in labels:
        raise SpecError(
            f"--reference {shown(reference)} is not in the run; {suggest(reference, labels)}"
        )
    from paca_bench.analyse.curves import measured
    from paca_bench.analyse.iso import iso_clusters_table, iso_table

    if metric == "macs":
        # They are of one forward pass in every mode.
        frame = frame[frame["mode"] == frame["mode"].iloc[0]]
    for column in METRICS[metric]:
        if column in frame and len(measured(frame, column)):
            tables = {
                "resolutions": iso_table(frame, column, reference),
                "clusters": iso_clusters_table(frame, column, reference),
            }
            if len(tables["resolutions"]):
                return {name: _json_rows(table) for name, table in tables.items()}
    raise NothingMeasuredError(
        f"{run} has no {metric} of {reference} and of another at the same place; measure it with "
        f"'paca-bench sweep --metrics {'complexity' if metric == 'macs' else metric}'"
    )


def _json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """A JSON value: null for what is not a finite number."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_iso(tables: Tables, metric: str, console: Console) -> None:
    """One table a place: a row for each resolution of the reference, a column for each other."""
    text = _SHOWN[metric]
    for place, rows in _by_place(tables["resolutions"]).items():
        print_grid(_resolutions(place, rows, text), console)
        console.print()
    for place, rows in _by_place(tables["clusters"]).items():
        print_grid(_clusters(place, rows, text), console)
        console.print()
    console.print(
        "Interpolated on logarithms between what was measured; in brackets the interval; "
        "'>' and '<': beyond the largest or smallest measured.",
        highlight=False,
    )


def _by_place(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    places: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        where = (
            f"layer of stage {row['stage']:.0f} of {row['host']}"
            if row["stage"]
            else (f"host {row['host']}" if row["level"] == "host" else "published models")
        )
        title = f"{where}, {row['mode']}, batch {row['batch']}, {row['dtype']} on {row['device']}"
        places.setdefault(title, []).append(row)
    return places


def _resolutions(place: str, rows: list[Mapping[str, Any]], text: Any) -> Grid:
    reference = str(rows[0]["reference"])
    others = list(dict.fromkeys(str(row["label"]) for row in rows))
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        head = f"{row['resolution']:.0f} px, {text(row['cost'])}"
        cells.setdefault(head, {})[str(row["label"])] = _cell(row, "same_cost_resolution")
    title = f"Side in pixels for the cost of {reference} ({place})"
    table = [[head, *(own.get(other, "-") for other in others)] for head, own in cells.items()]
    return Grid(title, [reference, *others], 1, table)


def _clusters(place: str, rows: list[Mapping[str, Any]], text: Any) -> Grid:
    reference = str(rows[0]["reference"])
    table = []
    for row in rows:
        most = row["clusters_at_most"]
        table.append(
            [
                f"{row['resolution']:.0f} px, {text(row['cost'])}",
                str(row["mechanism"]),
                _cell(row, "same_cost_clusters"),
                "none" if most is None else f"{most:.0f} ({text(row['cost_at_most'])})",
            ]
        )
    headers = [reference, "mechanism", "same cost\nat M", "largest M measured\nwithin it"]
    return Grid(f"Clusters M for the cost of {reference} ({place})", headers, 2, table)


def _cell(row: Mapping[str, Any], name: str) -> str:
    from paca_bench.analyse.iso import BEYOND

    if row[name] is None:
        beyond = row["status"] == BEYOND
        return f"> {row['measured_max']:.0f}" if beyond else f"< {row['measured_min']:.0f}"
    ends = [
        "?" if row[end] is None else f"{row[end]:.0f}"
        for end in ("same_cost_low", "same_cost_high")
    ]
    return f"{row[name]:.0f} [{', '.join(ends)}]"
