"""Runs as one tidy ``pandas.DataFrame``: a row per case, units in the column names."""

from __future__ import annotations

import gc
import json
import math
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from paca_bench.errors import StoreError
from paca_bench.record import GROUPS, Case, ParamValue, Record
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
    "latency_warm_s",
    "latency_graph_s",
    "compile_s",
    "images_per_s",
    "peak_memory_bytes",
    "predicted_peak_memory_bytes",
    "process_peak_bytes",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "miou",
    "miou_low",
    "miou_high",
    "train_images_per_s",
    "train_peak_memory_bytes",
    "joules_per_image",
    "predicted_wall_s",
)


def load_results(path: PathLike | Iterable[PathLike]) -> pd.DataFrame:
    """One run folder, or several, as a tidy DataFrame with one row per case.

    Columns:
        * ``run``: the folder's name; ``case_id``, ``case_hash``.
        * axes: ``level``, ``mechanism``, ``label`` (mechanism and variant), ``host``,
          ``stage``, ``height``, ``width``, ``resolution`` (pixels, geometric mean of the
          sides), ``tokens`` (N of the first stage, or of the layer's), ``num_clusters``,
          ``options`` (JSON), ``batch``, ``dtype``, ``device``, ``mode``; ``kernel``,
          ``memory_format``, ``compile``, ``tf32``, ``autocast``, and ``execution``, which is
          those of the five that are not torch's own way as one text, empty where none is;
          ``head`` of the dense task, ``none`` elsewhere.
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

    return _read(path, None)


def load_compact(path: PathLike | Iterable[PathLike]) -> pd.DataFrame:
    """As ``load_results``, in half the memory where there are a hundred thousand records.

    Samples are held as ``array.array``, and ``details`` has only what a report reads.
    """
    return _read(path, _Compact())


def _read(path: PathLike | Iterable[PathLike], small: _Compact | None) -> pd.DataFrame:
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise StoreError("no run folder given; name at least one")
    with _no_collection():
        return _columns(paths, small).frame()


def _columns(paths: Iterable[PathLike], small: _Compact | None) -> _Columns:
    columns = _Columns()
    for one in paths:
        run = RunFolder.open(one)
        name = sys.intern(run.path.resolve().name)
        latest: dict[str, int] = {}
        for record in run.each_record():
            case_hash = record.case.hash
            if (earlier := latest.get(case_hash)) is not None:
                columns.superseded.add(earlier)
            details, samples = record.details, record.samples
            if small:
                details, samples = small.details(details), small.samples(samples)
            values = _values(name, case_hash, record, details, samples)
            expected = record.predicted.get("wall_s", math.nan)
            latest[case_hash] = columns.add(
                values, {**record.metrics, "predicted_wall_s": expected}
            )
    return columns


class _Columns:
    """The columns of a frame, filled row by row: rows as mappings would take ten times as much.

    Attributes:
        superseded: numbers of the rows whose case was tried again later.
    """

    def __init__(self) -> None:
        self.superseded: set[int] = set()
        self._always: dict[str, list[Any]] = {name: [] for name in (*_FIRST, *_LAST)}
        self._metrics: dict[str, list[Any]] = {}
        self._rows = 0

    def add(self, values: Iterable[Any], metrics: Mapping[str, float]) -> int:
        """Append a row, ``values`` in the order of ``_FIRST`` and ``_LAST``; its number."""
        for column, value in zip(self._always.values(), values, strict=True):
            column.append(value)
        # A record has a few of the metrics that there are: the others are filled in later.
        for name, value in metrics.items():
            column = self._metrics.setdefault(name, [])
            if len(column) < self._rows:
                column += [math.nan] * (self._rows - len(column))
            column.append(value)
        self._rows += 1
        return self._rows - 1

    def frame(self) -> pd.DataFrame:
        """The rows that are not superseded; empties the columns."""
        import pandas as pd

        made = {}
        further = [name for name in self._metrics if name not in METRIC_COLUMNS]
        for name in (*_FIRST, *METRIC_COLUMNS, *_LAST, *further):
            is_other = name in self._always
            # One by one, so that no two copies of all are held.
            values = self._kept(self._taken(name))
            made[name] = pd.Series(values, dtype=None if values or is_other else float)
        return pd.DataFrame(made, copy=False)

    def _taken(self, name: str) -> list[Any]:
        """A column with a value for every row, which is forgotten here."""
        if name in self._always:
            return self._always.pop(name)
        values = self._metrics.pop(name, [])
        return values + [math.nan] * (self._rows - len(values))

    def _kept(self, values: list[Any]) -> list[Any]:
        if not self.superseded:
            return values
        return [value for row, value in enumerate(values) if row not in self.superseded]


_AXES = tuple(axis.name for axis in fields(Case) if axis.name != "options")
_axes = attrgetter(*_AXES)
# The columns before and behind those of the metrics.
_FIRST = (
    *("run", "case_id", "case_hash", *_AXES),
    *("execution", "label", "options", "resolution", "tokens"),
    *("status", "reason", *(f"{group}_status" for group in GROUPS)),
)
_LAST = (
    "latency_samples_s",
    "accuracy_samples",
    "kernel_path",
    "details",
    "wall_s",
    "finished_at",
)


def _values(
    run: str,
    case_hash: str,
    record: Record,
    details: Mapping[str, Any],
    samples: Mapping[str, Any],
) -> list[Any]:
    """The row of a record but for its metrics, in the order of ``_FIRST`` and ``_LAST``."""
    case, statuses = record.case, record.statuses
    return [
        *(run, case.id, case_hash),
        *map(_shared, _axes(case)),
        sys.intern(case.execution),
        *(sys.intern(case.label), _options_text(case.options)),
        *(math.sqrt(case.height * case.width), details.get("tokens", math.nan)),
        *(record.status.value, record.reason),
        *[statuses[group].value if group in statuses else None for group in GROUPS],
        samples.get("latency_s", []),
        [value for seed in samples.get("accuracy", ()) for value in seed],
        _shared(details.get("kernel_path")),
        details,
        *(record.wall_s, _shared(record.finished_at)),
    ]


# The details that tables and figures are made from. Of a training they take ten kilobytes, but
# a run has few of those.
_READ_DETAILS = (
    *("tokens", "kernel_path", "dataset", "clusters", "doubts"),
    *("seeds", "num_test", "test_outcomes", "train_loss", "train_loss_window"),
    *("mask_classes", "class_iou", "test_confusions"),
)


class _Compact:
    """Samples and details in a fraction of their memory."""

    def __init__(self) -> None:
        self._details: dict[tuple[Any, ...], dict[str, Any]] = {}

    def details(self, details: Mapping[str, Any]) -> dict[str, Any]:
        """What a report reads, as one object for all records that hold the same."""
        kept = {
            name: value
            for name, value in details.items()
            if name in _READ_DETAILS or name.endswith("_method")
        }
        try:
            return self._details.setdefault(tuple(kept.items()), kept)
        except TypeError:  # learned clusters, which are nobody else's
            return kept

    def samples(self, samples: Mapping[str, list[list[float]]]) -> dict[str, Any]:
        """A process's samples as an array."""
        return {name: [array("d", taken) for taken in lists] for name, lists in samples.items()}


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without looking for garbage: all that is read is kept, and every look is at all of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@cache
def _options_text(options: tuple[tuple[str, ParamValue], ...]) -> str:
    return json.dumps(dict(options), sort_keys=True)


def _shared(value: Any) -> Any:
    """A text as one object for all rows that hold it; anything else as it is."""
    return sys.intern(value) if type(value) is str else value
