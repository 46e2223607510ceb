"""Runs as one tidy ``pandas.DataFrame``: a row per case, units in the column names."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from paca_bench.errors import StoreError
from paca_bench.record import GROUPS, Record, Status
from paca_bench.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]

# Present in every frame, also where no case has a value, so that code can rely on them.
METRIC_COLUMNS = (
    "macs",
    "flops",
    "params",
    "elementwise_ops",
    "backward_macs",
    "macs_exponent",
    "moved_bytes",
    "intensity_flops_per_byte",
    "bound_s",
    "roof_share",
    "latency_s",
    "latency_low_s",
    "latency_high_s",
    "images_per_s",
    "peak_memory_bytes",
    "predicted_peak_memory_bytes",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "predicted_wall_s",
)


def load_results(path: PathLike | Iterable[PathLike]) -> pd.DataFrame:
    """One run folder, or several, as a tidy DataFrame with one row per case.

    Columns:
        * ``run``: the folder's name; ``case_id``, ``case_hash``.
        * axes: ``level``, ``mechanism``, ``label`` (mechanism and variant), ``host``,
          ``stage``, ``height``, ``width``, ``resolution`` (pixels, geometric mean of the
          sides), ``tokens`` (N of the first stage, or of the layer's), ``num_clusters``,
          ``options`` (JSON), ``batch``, ``dtype``, ``device``, ``mode``.
        * ``status``, ``reason``, and for each metric group ``<group>_status`` (missing
          where the group was not asked for).
        * metrics, NaN where not measured: see ``METRIC_COLUMNS`` and
          ``paca_bench.record``; ``macs``, ``flops`` and ``elementwise_ops`` are of one
          forward pass of one image in every mode, ``backward_macs`` of one backward pass;
          ``moved_bytes``, ``bound_s`` and ``roof_share`` of one call in the case's mode.
        * ``latency_samples_s`` (one list per process) and ``accuracy_samples``.
        * ``kernel_path``: which attention kernel ran; ``details``: everything else.

    Raises:
        StoreError: a folder is missing, foreign or damaged; no folder was given.
    """
    import pandas as pd

    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise StoreError("no run folder given; name at least one")
    rows = []
    for one in paths:
        run = RunFolder.open(one)
        name = run.path.resolve().name
        rows += [{"run": name, **_row(record)} for record in run.records()]
    frame = pd.DataFrame(rows)
    for column in METRIC_COLUMNS:
        if column not in frame:
            frame[column] = math.nan
    return frame


def _row(record: Record) -> dict[str, Any]:
    case = record.case
    row: dict[str, Any] = {
        "case_id": case.id,
        "case_hash": case.hash,
        **case.to_json(),
        "label": case.label,
        "options": json.dumps(dict(case.options), sort_keys=True),
        "resolution": math.sqrt(case.height * case.width),
        "tokens": record.details.get("tokens", math.nan),
        "status": record.status.value,
        "reason": record.reason,
    }
    for group in GROUPS:
        status = record.statuses.get(group)
        row[f"{group}_status"] = status.value if isinstance(status, Status) else None
    row |= {column: record.metrics.get(column, math.nan) for column in METRIC_COLUMNS}
    row |= record.metrics
    row["predicted_wall_s"] = record.predicted.get("wall_s", math.nan)
    row["latency_samples_s"] = record.samples.get("latency_s", [])
    row["accuracy_samples"] = [v for seed in record.samples.get("accuracy", []) for v in seed]
    row["kernel_path"] = record.details.get("kernel_path")
    row["details"] = record.details
    row["wall_s"] = record.wall_s
    row["finished_at"] = record.finished_at
    return row
