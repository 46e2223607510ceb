"""What a sweep is made of: the case (one grid point) and the record (its result).

Pure data, no torch. A record is one line of ``records.jsonl``; its keys are the schema.

A case is measured in up to five *metric groups*, each in processes of its own:

==============  =====================================================================
group           metrics (units are in the names)
==============  =====================================================================
``complexity``  ``macs``, ``flops``, ``elementwise_ops`` (forward, one image),
                ``backward_macs``, ``params``, ``moved_bytes``, ``intensity_flops_per_byte``,
                ``bound_s`` (least seconds of a call, by the roofline)
``latency``     ``latency_s`` with ``latency_low_s``/``latency_high_s``, ``images_per_s``,
                ``roof_share`` (``bound_s`` over ``latency_s``), ``compile_s`` where
                compiled; on CUDA ``latency_warm_s`` and ``latency_graph_s``, each with
                its interval
``memory``      ``peak_memory_bytes`` over the base, ``predicted_peak_memory_bytes``; on a
                CPU ``process_peak_bytes``, of the resident set
``accuracy``    ``accuracy`` (test top-1, 0 to 1) with ``accuracy_low``/``accuracy_high``;
                ``train_images_per_s`` with ``train_images_low_per_s``/``..._high_per_s``,
                ``train_peak_memory_bytes`` of a step over weights, optimizer and data; of
                the dense task ``miou`` (0 to 1) with ``miou_low``/``miou_high`` instead
``energy``      ``joules_per_image``
==============  =====================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from operator import attrgetter
from typing import Any

from paca_bench.errors import StoreError
from paca_bench.typed_json import typed_fields

SCHEMA_VERSION = 1

GROUPS = ("complexity", "latency", "memory", "accuracy", "energy")
LEVELS = ("layer", "host", "model")
MODES = ("forward", "train", "checkpointed", "fit", "segment")
# Whole trainings, not passes: of a classifier, and of a segmentation head on the host.
TRAININGS = ("fit", "segment")
HEADS = ("paca", "linear")
DTYPES = ("float32", "bfloat16", "float16", "float64")

# How a case is executed: axis -> its values, the first of which is torch's own way. A case
# that is executed that way does not mention the axis in its JSON, hash or id.
EXECUTION: Mapping[str, tuple[str, ...]] = {
    "kernel": ("auto", "flash", "efficient", "math"),
    "memory_format": ("contiguous", "channels_last"),
    "compile": ("none", "default", "reduce-overhead", "max-autotune"),
    "tf32": ("auto", "off", "on"),
    "autocast": ("none", "bfloat16", "float16"),
}

# Of a case that is not of the dense task, which does not mention it in its JSON, hash or id.
NO_HEAD = "none"

ParamValue = int | float | str | bool | None


class Status(StrEnum):
    """How a case, or one metric group of it, ended. Everything but ``OK`` has a reason."""

    OK = "ok"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    CRASH = "crash"
    ERROR = "error"
    WRONG = "wrong"
    NOT_SUPPORTED = "not_supported"
    PREDICTED_OUT_OF_MEMORY = "predicted_out_of_memory"
    OVER_BUDGET = "over_budget"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """False where a later ``--resume`` (with more budget or memory) tries again."""
        return self not in _RETRIED


_RETRIED = frozenset({Status.OVER_BUDGET, Status.PREDICTED_OUT_OF_MEMORY, Status.INTERRUPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One grid point of a sweep.

    ``mechanism`` names the mechanism, or at level ``model`` the model, which has no ``host``.
    ``height`` and ``width`` are the image's pixels; ``stage`` (1 to 4) only at level
    ``layer``, where the module is measured alone at that stage's geometry. ``mode`` is
    ``forward`` (inference), ``train`` (one forward and backward pass), ``checkpointed`` (the
    same, with the activations of each block computed again in the backward pass), ``fit``
    (a fixed-budget training, which is where accuracy comes from) or ``segment`` (such a
    training of the dense task, whose ``head`` is one of ``HEADS``). ``num_clusters`` is None
    for a mechanism without clusters; ``options`` are further mechanism parameters, among which
    ``num_clusters`` is M by stage, ``49-64-81-100``, where that is not one number.

    The five fields before ``head`` are how it is executed, see ``EXECUTION``: the attention
    kernel that torch may pick, the memory format of images, the mode of ``torch.compile``, TF32 of
    products and convolutions (``auto``: in convolutions alone), and the dtype of autocast.
    """

    level: str
    mechanism: str
    host: str
    height: int
    width: int
    mode: str
    stage: int | None = None
    num_clusters: int | None = None
    options: tuple[tuple[str, ParamValue], ...] = ()
    batch: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    kernel: str = "auto"
    memory_format: str = "contiguous"
    compile: str = "none"
    tf32: str = "auto"
    autocast: str = "none"
    head: str = NO_HEAD

    @property
    def resolution(self) -> str:
        """``224`` for a square image, ``256x192`` (height x width) otherwise."""
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"

    @property
    def label(self) -> str:
        """The mechanism with what distinguishes its variants: ``paca (M=49)``."""
        details = [] if self._clusters is None else [f"M={self._clusters}"]
        details += [f"{name}={value}" for name, value in self._further]
        return f"{self.mechanism} ({', '.join(details)})" if details else self.mechanism

    @property
    def _clusters(self) -> ParamValue:
        """M as it is shown: one number, or that of every stage."""
        by_stage = dict(self.options).get("num_clusters")
        return by_stage if self.num_clusters is None else self.num_clusters

    @property
    def _further(self) -> list[tuple[str, ParamValue]]:
        return [item for item in self.options if item[0] != "num_clusters"]

    @property
    def execution(self) -> str:
        """What of ``EXECUTION`` is not torch's own way: ``kernel=math, compile=default``."""
        return ", ".join(f"{axis}={value}" for axis, value in self._executed().items())

    @property
    def trains(self) -> bool:
        """True if a call is a forward and a backward pass."""
        return self.mode in ("train", "checkpointed")

    @property
    def is_training(self) -> bool:
        """True if it is a whole training, and no pass."""
        return self.mode in TRAININGS

    @property
    def is_dense(self) -> bool:
        """True if it is the host under a segmentation head."""
        return self.head != NO_HEAD

    @property
    def compute_dtype(self) -> str:
        """The dtype of its products: autocast's, where there is one."""
        return self.dtype if self.autocast == "none" else self.autocast

    @property
    def id(self) -> str:
        """Stable and readable: ``host-nano/paca-M49/224/forward/b1/float32/cpu``.

        With ``/kernel=math+compile=default`` at its end where it is executed in such a way.
        """
        parts = (self.level, self.host, f"s{self.stage}" if self.stage else "")
        place = "-".join(part for part in parts if part)
        subject = self.mechanism
        if self._clusters is not None:
            subject += f"-M{self._clusters}"
        subject += "".join(f"-{name}={value}" for name, value in self._further)
        mode = f"{self.mode}-{self.head}" if self.is_dense else self.mode
        axes = (place, subject, self.resolution, mode, f"b{self.batch}", self.dtype)
        executed = "+".join(f"{axis}={value}" for axis, value in self._executed().items())
        return "/".join((*axes, self.device, *([executed] if executed else [])))

    @property
    def hash(self) -> str:
        """Twelve hex digits of the canonical JSON of all axes."""
        text = _canonical(self.to_json())
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """All axes as JSON values; of ``EXECUTION`` those that are not torch's own way."""
        values = dict(zip(_AXES, _axes(self), strict=True))
        head = {"head": self.head} if self.is_dense else {}
        return {**values, "options": dict(self.options), **self._executed(), **head}

    def _executed(self) -> dict[str, str]:
        if _execution(self) == _AS_USUAL:
            return {}
        values = ((axis, getattr(self, axis)) for axis in EXECUTION)
        return {axis: value for axis, value in values if value != EXECUTION[axis][0]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Case:
        """The inverse of ``to_json``.

        Raises:
            StoreError: an axis is missing or unknown.
        """
        try:
            options = [list(item) for item in sorted(data["options"].items())]
            return cls(**typed_fields(cls, {**data, "options": options}))
        except (TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"not a paca-bench case: {error}") from error


_AXES = tuple(axis.name for axis in fields(Case) if axis.name not in (*EXECUTION, "head"))
_axes = attrgetter(*_AXES)
_execution = attrgetter(*EXECUTION)
_AS_USUAL = tuple(values[0] for values in EXECUTION.values())
# An encoder of its own for each of a hundred thousand cases would take as long as its work.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The result of one case.

    Attributes:
        case: the grid point.
        statuses: metric group -> how it ended.
        reasons: metric group -> why, and which flag would change it; absent where ok.
        metrics: name (with unit) -> value; only what was measured or counted.
        samples: metric -> one list of raw samples per process (``latency_s``) or per
            seed (``accuracy``, ``train_images_per_s``), in the order taken.
        details: how the numbers were made: kernel path, interval method, warm-up, ...;
            ``unfinished`` names the groups with fewer processes or seeds than were wanted.
        predicted: what the plan expected: ``seconds`` and ``peak_memory_bytes``.
        wall_s: seconds spent on this case, worker start included.
    """

    case: Case
    statuses: Mapping[str, Status]
    reasons: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, list[list[float]]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    predicted: Mapping[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    finished_at: str = ""

    @property
    def status(self) -> Status:
        """``ok`` if every group is; otherwise the first group's status that is not."""
        return next((s for s in self.statuses.values() if s is not Status.OK), Status.OK)

    @property
    def reason(self) -> str:
        """All reasons, each behind its metric group."""
        return "; ".join(f"{group}: {text}" for group, text in self.reasons.items())

    @property
    def is_final(self) -> bool:
        """True if ``--resume`` has nothing left to try for this case."""
        final = all(status.is_final for status in self.statuses.values())
        return final and not self.details.get("unfinished")

    def to_json(self) -> dict[str, Any]:
        """The record as one JSON object, with the schema version, id and hash."""
        return {
            "schema": SCHEMA_VERSION,
            "case_id": self.case.id,
            "case_hash": self.case.hash,
            "case": self.case.to_json(),
            "status": self.status.value,
            "statuses": {group: status.value for group, status in self.statuses.items()},
            "reasons": dict(self.reasons),
            "metrics": dict(self.metrics),
            "samples": dict(self.samples),
            "details": dict(self.details),
            "predicted": dict(self.predicted),
            "wall_s": self.wall_s,
            "finished_at": self.finished_at,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """The inverse of ``to_json``.

        Raises:
            StoreError: the object is not a record, or of a newer schema.
        """
        version = data.get("schema")
        if type(version) is not int:
            raise StoreError("not a paca-bench record: it has no schema version")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"record of schema {version}, but this paca-bench reads up to "
                f"{SCHEMA_VERSION}: upgrade paca-bench"
            )
        try:
            values = {name: data[name] for name in _PARTS}
            return cls(**typed_fields(cls, {**values, "case": Case.from_json(values["case"])}))
        except KeyError as error:
            raise StoreError(f"not a paca-bench record: {error} is missing") from error
        except TypeError as error:
            raise StoreError(f"not a paca-bench record: {error}") from error

    def with_group(self, group: str, other: Record) -> Record:
        """This record with ``group`` (status, reason) and all of ``other``'s values added."""
        return replace(
            self,
            statuses={**self.statuses, group: other.statuses[group]},
            reasons={**self.reasons, **other.reasons},
            metrics={**self.metrics, **other.metrics},
            samples={**self.samples, **other.samples},
            details={**self.details, **other.details},
            predicted={**self.predicted, **other.predicted},
            wall_s=self.wall_s + other.wall_s,
        )


_PARTS = tuple(part.name for part in fields(Record))
