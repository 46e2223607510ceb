"""One or several runs as a single HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from paca_bench.analyse.summary import unmeasured, verdict
from paca_bench.errors import NothingMeasuredError, StoreError
from paca_bench.report.comparison import latency_ratios
from paca_bench.report.environment import environment_rows, machine_line
from paca_bench.report.missing import kinds
from paca_bench.report.panels import cluster_accuracy, cluster_latency, fronts, scaling_panels
from paca_bench.report.table import case_csv, case_table
from paca_bench.report.theme import dark_colors, label_order, label_styles, run_dashes
from paca_bench.results import PathLike, load_results
from paca_bench.store import RECORDS_FILE, RunFolder
from paca_bench.units import (
    format_bytes,
    format_count,
    format_percent,
    format_seconds,
    significant,
)

_SCRIPTS = ("plotly", "report")


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
    _check_target(target)
    parts = [load_results(folder.path).assign(run=name) for name, folder in folders.items()]
    frame = pd.concat([part for part in parts if "case_id" in part] or parts, ignore_index=True)
    if "case_id" not in frame:
        raise NothingMeasuredError(
            f"nothing to report: no record in {', '.join(str(path) for path in paths)}; "
            f"run 'paca-bench sweep --resume' to fill the run"
        )
    _write_atomically(target, render(frame, folders))
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
    environment = _environment()
    scripts = {"plotly": get_plotlyjs(), "report": _source(environment, "report.js")}
    ratios = latency_ratios(frame, runs) if len(runs) > 1 else []
    return environment.get_template("report.html.j2").render(
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
        ratios=ratios,
        table=case_table(frame),
        missing=kinds(unmeasured(frame)),
        environments=environment_rows(headers),
        methods=interval_methods(frame),
        downloads=_downloads(frame, folders),
        dark=dark_colors(),
        policy=_policy(scripts.values()),
        css=Markup(_source(environment, "report.css")),
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


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("paca_bench.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=format_seconds,
        percent=format_percent,
        count=format_count,
        significant=significant,
        json=_embedded_json,
    )
    return environment


def _source(environment: jinja2.Environment, name: str) -> str:
    """A static file of the templates folder, as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _embedded_json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in, whatever its strings hold."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy(scripts: Iterable[str]) -> str:
    """A content security policy: no request anywhere, and only our own scripts run.

    Scripts are allowed by their hash, so that text from a plugin or an error message would
    not run even if it got past the escaping.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _check_target(target: Path) -> None:
    try:
        is_folder, has_place = target.is_dir(), target.parent.is_dir()
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error
    if is_folder:
        raise StoreError(f"{target} is a folder; name a file, such as {target}/report.html")
    if not has_place:
        raise StoreError(
            f"cannot write {target}: the folder {target.parent} does not exist; create it first"
        )


def _write_atomically(target: Path, text: str) -> None:
    """Replace ``target`` at once, so that no reader ever sees half a report."""
    part = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
            file.write(text)
        # A temporary file is private to its owner; a report is as readable as any new file.
        part.chmod(0o666 & ~_umask())
        part.replace(target)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
