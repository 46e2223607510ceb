"""One or several runs as a single HTML file that needs nothing but a browser."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from paca_bench.analyse.doubts import doubts
from paca_bench.analyse.summary import unmeasured, verdict
from paca_bench.errors import NothingMeasuredError, StoreError
from paca_bench.report.clusters import cluster_panels, heat_gradient
from paca_bench.report.comparison import latency_ratios
from paca_bench.report.dense import apart, dense_tables
from paca_bench.report.diagnosis import diagnosed
from paca_bench.report.downloads import downloads
from paca_bench.report.drawn import drawn
from paca_bench.report.environment import environment_rows, machine_line
from paca_bench.report.growth import growth_rows
from paca_bench.report.learning import learning
from paca_bench.report.missing import kinds
from paca_bench.report.page import check_target, environment, policy, source, write_atomically
from paca_bench.report.panels import cluster_accuracy, cluster_latency
from paca_bench.report.roofline import roofline, run_ceilings
from paca_bench.report.scaling import scaling_panels
from paca_bench.report.table import case_table
from paca_bench.report.theme import dark_colors, label_order, label_styles, run_dashes
from paca_bench.results import PathLike, load_compact
from paca_bench.store import RunFolder


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
    folders = named_runs([runs] if isinstance(runs, str | os.PathLike) else runs)
    target = Path(output)
    check_target(target)
    write_atomically(target, render(read_runs(folders), folders))
    return target


def read_runs(folders: Mapping[str, RunFolder]) -> pd.DataFrame:
    """The records of all runs, column ``run`` holding the keys of ``folders``.

    Raises:
        StoreError: a run is damaged.
        NothingMeasuredError: no run has a single record.
    """
    parts = [load_compact(folder.path).assign(run=name) for name, folder in folders.items()]
    filled = [part for part in parts if len(part)]
    if not filled:
        raise NothingMeasuredError(
            "nothing to report: no record in "
            f"{', '.join(str(folder.path) for folder in folders.values())}; "
            "run 'paca-bench sweep --resume' to fill the run"
        )
    return filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)


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
    order = label_order(frame)
    passes, dense = apart(frame)
    shown = drawn(passes, order)
    styles = label_styles(shown.labels)
    dashes = run_dashes(runs)
    headers = {name: folder.header for name, folder in folders.items()}
    pages = environment()
    scripts = {"plotly": get_plotlyjs(), "report": source(pages, "report.js")}
    ratios = latency_ratios(passes, runs) if len(runs) > 1 else []
    learned = cluster_panels(frame)
    known = {name: run_ceilings(header) for name, header in headers.items()}
    ceilings = {name: one for name, one in known.items() if one}
    return pages.get_template("report.html.j2").render(
        title=", ".join(runs),
        runs=runs,
        version=next(iter(headers.values())).get("paca_bench", "unknown"),
        verdict=verdict(frame),
        machines={name: machine_line(header) for name, header in headers.items()},
        diagnoses={name: found for name, header in headers.items() if (found := diagnosed(header))},
        started={name: str(header.get("started_at", ""))[:10] for name, header in headers.items()},
        records=len(frame),
        styles=styles,
        dashes=dashes,
        not_drawn=shown.notes,
        scaling=scaling_panels(shown, styles, dashes),
        growth=growth_rows(headers.values()),
        roofline=roofline(shown, ceilings, styles, dashes),
        cluster_latency=cluster_latency(shown, styles, dashes),
        cluster_accuracy=cluster_accuracy(shown, styles, dashes),
        learning=learning(passes, shown, order, styles, dashes),
        dense=dense_tables(dense, order),
        learned=learned,
        gradient=heat_gradient(),
        ratios=ratios,
        table=case_table(frame),
        missing=kinds(unmeasured(frame)),
        doubts=doubts(frame),
        environments=environment_rows(headers),
        methods=interval_methods(frame),
        downloads=downloads(frame, folders),
        dark=dark_colors(),
        policy=policy(scripts.values()),
        css=Markup(
            source(pages, "report.css") + (source(pages, "clusters.css") if learned else "")
        ),
        scripts={name: Markup(text) for name, text in scripts.items()},
    )


def interval_methods(frame: pd.DataFrame) -> dict[str, list[str]]:
    """``latency``, ``accuracy`` and ``miou`` -> how their intervals were made, by the records."""
    return {
        metric: sorted(
            {str(d[f"{metric}_method"]) for d in frame["details"] if d.get(f"{metric}_method")}
        )
        for metric in ("latency", "accuracy", "miou")
    }
