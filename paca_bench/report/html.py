"""One or several runs as a single HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from paca_bench.analyse.summary import unmeasured, verdict
from paca_bench.errors import NothingMeasuredError, StoreError
from paca_bench.report.clusters import cluster_panels, heat_gradient
from paca_bench.report.comparison import latency_ratios
from paca_bench.report.environment import environment_rows, machine_line
from paca_bench.report.missing import kinds
from paca_bench.report.page import check_target, environment, policy, source, write_atomically
from paca_bench.report.panels import cluster_accuracy, cluster_latency, fronts, scaling_panels
from paca_bench.report.table import case_csv, case_table
from paca_bench.report.theme import dark_colors, label_order, label_styles, run_dashes
from paca_bench.results import PathLike, load_results
from paca_bench.store import RECORDS_FILE, RunFolder
from paca_bench.units import format_bytes


@dataclass(frozen=True)
class Download:
    """A file inside the page: gzip in base64, exact to the byte once unpacked."""

    id: str
    filename: str
    media_type: str
    content: bytes

    @property
    def payload(self) -> str:
        """The content as it is embedded; the same bytes give the same text."""
        return base64.b64encode(gzip.compress(self.content, mtime=0)).decode()

    @property
    def size(self) -> str:
        """The size once saved, for display."""
        return format_bytes(len(self.content))


def write_report(runs: PathLike | Iterable[PathLike], output: PathLike) -> Path:
    """Write the report of one run folder, or of several overlaid, to one HTML file.

    The file makes no request to anywhere: figures, scripts and the raw records are inside.
    It is written whole or not at all; a file of that name is replaced.

    Args:
        runs: a run folder, or several; the first is what the others are compared with.
        output: the ``.html`` file to write, in a folder that exists.

    Returns:
        The path written.

    Raises:
        StoreError: a run is missing, foreign, damaged or named twice, or ``output`` cannot
            be written.
        NothingMeasuredError: no run has a single record.
    """
    paths = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    folders = named_runs(paths)
    target = Path(output)
    check_target(target)
    parts = [load_results(folder.path).assign(run=name) for name, folder in folders.items()]
    frame = pd.concat([part for part in parts if "case_id" in part] or parts, ignore_index=True)
    if "case_id" not in frame:
        raise NothingMeasuredError(
            f"nothing to report: no record in {', '.join(str(path) for path in paths)}; "
            f"run 'paca-bench sweep --resume' to fill the run"
        )
    write_atomically(target, render(frame, folders))
    return target


def named_runs(paths: Iterable[PathLike]) -> dict[str, RunFolder]:
    """Each run under a name of its own: the folder's, or its path where two share a name.

    Raises:
        StoreError: no run, one that is not a run, or the same one twice.
    """
    folders = [RunFolder.open(path) for path in paths]
    if not folders:
        raise StoreError("no run folder given; name at least one")
    places = [folder.path.resolve() for folder in folders]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise StoreError(f"run {twice} is named twice; name each run once")
    names = [place.name for place in places]
    return {
        name if names.count(name) == 1 else str(folder.path): folder
        for name, folder in zip(names, folders, strict=True)
    }


def render(frame: pd.DataFrame, folders: Mapping[str, RunFolder]) -> str:
    """The page as text.

    Args:
        frame: rows of all runs, column ``run`` holding the keys of ``folders``.
        folders: run name -> folder, in the order of the report.
    """
    runs = list(folders)
    styles = label_styles(label_order(frame))
    dashes = run_dashes(runs)
    headers = {name: folder.header for name, folder in folders.items()}
    pages = environment()
    scripts = {"plotly": get_plotlyjs(), "report": source(pages, "report.js")}
    ratios = latency_ratios(frame, runs) if len(runs) > 1 else []
    learned = cluster_panels(frame)
    return pages.get_template("report.html.j2").render(
        title=", ".join(runs),
        runs=runs,
        version=next(iter(headers.values())).get("paca_bench", "unknown"),
        verdict=verdict(frame),
        machines={name: machine_line(header) for name, header in headers.items()},
        started={name: str(header.get("started_at", ""))[:10] for name, header in headers.items()},
        records=len(frame),
        styles=styles,
        dashes=dashes,
        scaling=scaling_panels(frame, styles, dashes),
        cluster_latency=cluster_latency(frame, styles, dashes),
        cluster_accuracy=cluster_accuracy(frame, styles, dashes),
        fronts=fronts(frame, styles, dashes),
        learned=learned,
        gradient=heat_gradient(),
        ratios=ratios,
        table=case_table(frame),
        missing=kinds(unmeasured(frame)),
        environments=environment_rows(headers),
        methods=interval_methods(frame),
        downloads=_downloads(frame, folders),
        dark=dark_colors(),
        policy=policy(scripts.values()),
        css=Markup(
            source(pages, "report.css") + (source(pages, "clusters.css") if learned else "")
        ),
        scripts={name: Markup(text) for name, text in scripts.items()},
    )


def interval_methods(frame: pd.DataFrame) -> dict[str, list[str]]:
    """``latency`` and ``accuracy`` -> how their intervals were made, as the records say."""
    return {
        metric: sorted(
            {str(d[f"{metric}_method"]) for d in frame["details"] if d.get(f"{metric}_method")}
        )
        for metric in ("latency", "accuracy")
    }


def _downloads(frame: pd.DataFrame, folders: Mapping[str, RunFolder]) -> list[Download]:
    several = len(folders) > 1
    files = []
    for number, (name, folder) in enumerate(folders.items()):
        filename = f"{Path(name).name}-{RECORDS_FILE}" if several else RECORDS_FILE
        content = (folder.path / RECORDS_FILE).read_bytes()
        files.append(Download(f"records-{number}", filename, "application/jsonl", content))
    table = case_csv(frame).encode()
    return [*files, Download("table-csv", "cases.csv", "text/csv", table)]
