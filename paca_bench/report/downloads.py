"""Files inside the page: gzip in base64, exact to the byte once unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paca_bench.report.packed import gzip_base64
from paca_bench.report.table import case_csv
from paca_bench.store import RECORDS_FILE, RunFolder
from paca_bench.units import format_bytes

if TYPE_CHECKING:
    import pandas as pd

# Larger files would make the page slow to open; they lie beside it anyway.
MOST_BYTES = 32 * 2**20
MOST_PACKED = 3 * 2**20
# About as many rows of CSV as that.
MOST_ROWS = 30_000


@dataclass(frozen=True, slots=True)
class Download:
    """A file; ``payload`` is empty where it is too large, and ``instead`` says how to get it."""

    id: str
    filename: str
    media_type: str
    size: str
    payload: str = ""
    instead: str = ""


def downloads(frame: pd.DataFrame, folders: Mapping[str, RunFolder]) -> list[Download]:
    """The records of every run, byte for byte, and the table of all cases."""
    several = len(folders) > 1
    files = []
    for number, (name, folder) in enumerate(folders.items()):
        filename = f"{Path(name).name}-{RECORDS_FILE}" if several else RECORDS_FILE
        files.append(_records(f"records-{number}", filename, folder.path / RECORDS_FILE))
    if len(frame) > MOST_ROWS:
        how = "paca_bench.load_results(run).to_csv('cases.csv') writes it"
        csv = Download("table-csv", "cases.csv", "text/csv", f"{len(frame):,} rows", instead=how)
    else:
        content = case_csv(frame).encode()
        csv = _packed("table-csv", "cases.csv", "text/csv", content)
    return [*files, csv]


def _records(id_: str, filename: str, path: Path) -> Download:
    size, media_type = path.stat().st_size, "application/jsonl"
    where = f"it is {RECORDS_FILE} in the run folder {path.parent.name}"
    if size <= MOST_BYTES:
        found = _packed(id_, filename, media_type, path.read_bytes())
        if len(found.payload) <= MOST_PACKED:
            return found
    return Download(id_, filename, media_type, format_bytes(size), instead=where)


def _packed(id_: str, filename: str, media_type: str, content: bytes) -> Download:
    return Download(id_, filename, media_type, format_bytes(len(content)), gzip_base64(content))
