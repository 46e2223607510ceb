"""What the user asked for, from the command line, a suite or Python: validated and frozen."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from paca_bench.axes import (
    Size,
    parse_choices,
    parse_clusters,
    parse_duration,
    parse_integers,
    parse_resolutions,
    shown,
    suggest,
)
from paca_bench.errors import SpecError
from paca_bench.options import parse_options
from paca_bench.record import DTYPES, EXECUTION, GROUPS, HEADS, LEVELS, ParamValue
from paca_bench.train_budget import DEFAULT, MAX_STEPS, parse_train_budget
from paca_bench.typed_json import typed_fields

ALLOCATORS = ("tuned", "system")
# ``fit`` is not chosen as a mode: it comes with the metric ``accuracy``.
SPEC_MODES = ("forward", "train", "checkpointed")
# Energy needs counters that few machines let a user read, so it is asked for by name.
DEFAULT_METRICS = tuple(group for group in GROUPS if group != "energy")
# So is the training of published models, which are a hundred times as dear as a small host.
MODEL_METRICS = tuple(group for group in DEFAULT_METRICS if group != "accuracy")
TRAINED_LEVELS = ("host", "model")
BAD_IMAGES = ("raise", "skip")
TASKS = ("classify", "segment")
# The data set of the dense task, if none is named.
MASKED_DATA = "pathfinder"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """A sweep's axes and limits. Make it with ``make_spec``.

    Attributes:
        resolutions: image sizes (height, width) in pixels.
        mechanisms: names; empty means all that are registered but controls.
        models: names for level ``model``, built-in, ``timm:NAME`` or ``hf:NAME``; empty means
            one of each family.
        levels: among ``layer``, ``host`` and ``model``.
        host: the geometry of the pyramid.
        stages: stages (from 1) whose geometry the level ``layer`` is measured at.
        clusters: values of M for mechanisms with clusters; ``49-64-81-100`` is one a stage.
        options: (name, values) of what else mechanisms are varied over, where they have it.
        modes: among ``forward``, ``train`` and ``checkpointed``.
        batches: images per call.
        dtypes: torch dtype names.
        kernels, memory_formats, compiles, tf32s, autocasts: how cases are executed, see
            ``paca_bench.record.EXECUTION``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.
        metrics: metric groups, see ``paca_bench.record``.
        budget_s: total wall time.
        precision: relative half-width of the latency interval at which sampling stops.
        processes: fewest processes behind one latency.
        timeout_s: longest time one process may take.
        threads: intra-operation threads on a CPU; 0 means all that this process may use.
        allocator: ``tuned`` keeps freed memory in the process, so that page faults are not
            measured with the mechanism; ``system`` leaves the C library's defaults.
        doctor: examine the machine first, for a twentieth of the budget and at most 30 s.
        seed: of the order, the weights and the inputs.
        data: data set for accuracy.
        bad_images: whether an image that cannot be read is an error (``raise``), or is left
            out, counted and said (``skip``).
        accuracy_levels: levels that are trained, among those measured; empty means host and
            model.
        task: what is trained where accuracy is asked for: ``classify``, or ``segment``, the dense
            task: hosts under a segmentation head, on the data set's masks.
        heads: segmentation heads of the dense task, see ``paca_bench.record.HEADS``.
        accuracy_resolutions: side in pixels that accuracy is trained at.
        seeds: trainings per accuracy.
        train_budget: how long each is, such as ``steps:300`` (see ``train_budget``), or
            ``default``: as the recipe of the device says.
        plugins: Python files with mechanisms of the user.
    """

    resolutions: tuple[Size, ...]
    mechanisms: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    levels: tuple[str, ...] = ("host", "layer")
    host: str = "nano"
    stages: tuple[int, ...] = (1,)
    clusters: tuple[int | str, ...] = (25, 49, 100)
    options: tuple[tuple[str, tuple[ParamValue, ...]], ...] = ()
    modes: tuple[str, ...] = ("forward", "train")
    batches: tuple[int, ...] = (1,)
    dtypes: tuple[str, ...] = ("float32",)
    kernels: tuple[str, ...] = EXECUTION["kernel"][:1]
    memory_formats: tuple[str, ...] = EXECUTION["memory_format"][:1]
    compiles: tuple[str, ...] = EXECUTION["compile"][:1]
    tf32s: tuple[str, ...] = EXECUTION["tf32"][:1]
    autocasts: tuple[str, ...] = EXECUTION["autocast"][:1]
    device: str = "auto"
    metrics: tuple[str, ...] = DEFAULT_METRICS
    budget_s: float = 900.0
    precision: float = 0.02
    processes: int = 3
    timeout_s: float = 300.0
    threads: int = 0
    allocator: str = "tuned"
    doctor: bool = True
    seed: int = 0
    data: str = "mnist5k"
    bad_images: str = BAD_IMAGES[0]
    accuracy_levels: tuple[str, ...] = ()
    task: str = TASKS[0]
    heads: tuple[str, ...] = HEADS
    accuracy_resolutions: tuple[Size, ...] = ((32, 32),)
    seeds: int = 3
    train_budget: str = DEFAULT
    plugins: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {name: _listed(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: object) -> SweepSpec:
        """The inverse of ``to_json``, also of what earlier versions wrote.

        Raises:
            SpecError: a field is unknown, or a value has the wrong form.
        """
        try:
            return cls(**typed_fields(cls, _renamed(data)))
        except TypeError as error:
            raise SpecError(f"{error} in the run's spec") from error


def _renamed(data: object) -> object:
    """A spec in JSON with ``train_steps`` as the budget that took its place."""
    if not isinstance(data, dict) or "train_steps" not in data:
        return data
    others = {name: value for name, value in data.items() if name != "train_steps"}
    return {**others, "train_budget": _steps(data["train_steps"])}


# key on the command line and in a suite -> (field, parser of the given value)
_KEYS: dict[str, tuple[str, Any]] = {
    "res": ("resolutions", lambda v: parse_resolutions(_joined(v), "--res")),
    "mechanism": ("mechanisms", lambda v: _names(v, "--mechanism")),
    "model": ("models", lambda v: _names(v, "--model")),
    "level": ("levels", lambda v: parse_choices(v, "--level", LEVELS)),
    "host": ("host", lambda v: _name(v, "--host")),
    "stage": ("stages", lambda v: parse_integers(v, "--stage", 1, 4)),
    "clusters": ("clusters", parse_clusters),
    "option": ("options", parse_options),
    "mode": ("modes", lambda v: parse_choices(v, "--mode", SPEC_MODES)),
    "batch": ("batches", lambda v: parse_integers(v, "--batch", 1, 1 << 16)),
    "dtype": ("dtypes", lambda v: parse_choices(v, "--dtype", DTYPES)),
    "kernel": ("kernels", lambda v: _executed(v, "kernel")),
    "memory_format": ("memory_formats", lambda v: _executed(v, "memory_format")),
    "compile": ("compiles", lambda v: _executed(v, "compile")),
    "tf32": ("tf32s", lambda v: _executed(v, "tf32")),
    "autocast": ("autocasts", lambda v: _executed(v, "autocast")),
    "device": ("device", lambda v: _device(v)),
    "metrics": ("metrics", lambda v: _groups(v)),
    "budget": ("budget_s", parse_duration),
    "precision": ("precision", lambda v: _fraction(v, "--precision")),
    "processes": ("processes", lambda v: _one(v, "--processes", 1, 100)),
    "timeout": ("timeout_s", lambda v: parse_duration(v, "--timeout")),
    "threads": ("threads", lambda v: _one(v, "--threads", 0, 1 << 12)),
    "allocator": ("allocator", lambda v: _choice(v, "--allocator", ALLOCATORS)),
    "doctor": ("doctor", lambda v: _switch(v, "--doctor")),
    "seed": ("seed", lambda v: _one(v, "--seed", 0, 2**31 - 1)),
    "data": ("data", lambda v: _name(v, "--data")),
    "bad_images": ("bad_images", lambda v: _choice(v, "--bad-images", BAD_IMAGES)),
    "accuracy_level": (
        "accuracy_levels",
        lambda v: parse_choices(v, "--accuracy-level", TRAINED_LEVELS),
    ),
    "task": ("task", lambda v: _choice(v, "--task", TASKS)),
    "head": ("heads", lambda v: parse_choices(v, "--head", HEADS)),
    "accuracy_res": (
        "accuracy_resolutions",
        lambda v: parse_resolutions(_joined(v), "--accuracy-res"),
    ),
    "seeds": ("seeds", lambda v: _one(v, "--seeds", 1, 100)),
    "train_budget": ("train_budget", parse_train_budget),
    "plugin": ("plugins", lambda v: _names(v, "--plugin")),
}


# What suites of earlier versions say, likewise.
_EARLIER_KEYS: dict[str, tuple[str, Any]] = {
    "train_steps": ("train_budget", lambda v: _steps(v)),
}


def make_spec(values: Mapping[str, Any]) -> SweepSpec:
    """A spec from the keys of the command line or a suite (``res``, ``mechanism``, ...).

    Raises:
        SpecError: a key is unknown, a value is not allowed, or ``res`` is missing.
    """
    parsed = parse_settings(values)
    if "resolutions" not in parsed:
        raise SpecError("no resolution given; add for example --res 224..1024")
    if parsed.get("models"):
        levels = parsed.setdefault("levels", ("model",))
        if "model" not in levels:
            raise SpecError(
                f"--model is measured at level model, but --level is {','.join(levels)}; "
                f"add model to it"
            )
    if "model" in parsed.get("levels", ()):
        parsed.setdefault("metrics", MODEL_METRICS)
    if parsed.get("task") == "segment":
        parsed.setdefault("data", MASKED_DATA)
    elif "heads" in parsed:
        raise SpecError("--head is of the dense task; add --task segment")
    return SweepSpec(**parsed)


def parse_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a spec from the keys of the command line or a suite.

    Values are text as typed, or lists and numbers as TOML and Python have them.

    Raises:
        SpecError: a key is unknown, or a value is not allowed.
    """
    known = {**_KEYS, **_EARLIER_KEYS}
    for key in values:
        if key not in known:
            raise SpecError(f"unknown setting {key!r}; {suggest(key, _KEYS)}")
    return {known[key][0]: known[key][1](value) for key, value in values.items()}


def suite_names() -> list[str]:
    """The suites that ship with paca-bench."""
    return sorted(path.stem for path in _suites().glob("*.toml"))


def read_suite(name_or_path: str) -> dict[str, Any]:
    """The settings of a suite: a TOML file, or the name of one that ships.

    Plugins in a suite are named relative to its file.

    Raises:
        SpecError: there is no such suite, or it is not TOML with a table ``[sweep]``.
    """
    path, data = _load_suite(name_or_path)
    settings = dict(data["sweep"])
    if "plugin" in settings:
        plugins = _names(settings["plugin"], "plugin")
        settings["plugin"] = [str(path.parent / plugin) for plugin in plugins]
    return settings


def suite_title(name_or_path: str) -> str:
    """What a suite says of itself; raises as ``read_suite``."""
    return str(_load_suite(name_or_path)[1].get("title", ""))


def _load_suite(name_or_path: str) -> tuple[Path, dict[str, Any]]:
    path = Path(name_or_path)
    if not _is_file(path) and path.stem in suite_names() and path.suffix in ("", ".toml"):
        path = _suites() / f"{path.stem}.toml"
    if not _is_file(path):
        names = ", ".join(suite_names())
        raise SpecError(f"no suite {shown(name_or_path)}; give a TOML file or one of {names}")
    try:
        data = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"suite {path}: not valid TOML: {error}") from error
    unknown = data.keys() - {"sweep", "title"}
    if unknown or not isinstance(data.get("sweep"), dict):
        raise SpecError(
            f"suite {path} must hold one table [sweep] and may hold a title"
            + (f", not {', '.join(sorted(unknown))}" if unknown else "")
        )
    return path, data


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, or the folder may not be read
        return False


def _suites() -> Path:
    """The folder of suites: inside the installed package, beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "suites"
    return installed if installed.is_dir() else package.parent / "suites"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read suite {path}: {error}") from error


def _executed(value: Any, axis: str) -> tuple[str, ...]:
    """Values of an axis of ``EXECUTION``."""
    return parse_choices(value, f"--{axis.replace('_', '-')}", EXECUTION[axis])


def _groups(value: Any) -> tuple[str, ...]:
    """Metric groups; a single metric of ``complexity`` names its group."""
    metrics = ("macs", "flops", "params")
    words = parse_choices(value, "--metrics", (*GROUPS, *metrics))
    chosen = {"complexity" if word in metrics else word for word in words}
    return tuple(group for group in GROUPS if group in chosen)


def _names(value: Any, flag: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(_name(item, flag) for item in items)) or _no_name(flag)


def _name(value: Any, flag: str) -> str:
    if not isinstance(value, str | PathLike):
        raise SpecError(f"{flag} {shown(value)} is not a name")
    return str(value).strip() or _no_name(flag)


def _no_name(flag: str) -> NoReturn:
    raise SpecError(f"{flag} is empty; give at least one name")


def _choice(value: Any, flag: str, allowed: Sequence[str]) -> str:
    words = parse_choices(value, flag, allowed)
    if len(words) != 1:
        raise SpecError(f"{flag} takes one of {', '.join(allowed)}, not {shown(value)}")
    return words[0]


def _joined(value: Any) -> str:
    return ",".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


def _one(value: Any, flag: str, low: int, high: int) -> int:
    numbers = parse_integers(value, flag, low, high)
    if len(numbers) != 1:
        raise SpecError(f"{flag} takes one number, not {shown(value)}")
    return numbers[0]


def _switch(value: Any, flag: str) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"{flag} is on or off, not {shown(value)}; write true or false in a suite")
    return value


def _steps(value: Any) -> str:
    """``--train-budget`` of a number of steps, of which 0 is the recipe's own."""
    steps = _one(value, "--train-steps", 0, MAX_STEPS)
    return f"steps:{steps}" if steps else DEFAULT


def _fraction(value: Any, flag: str) -> float:
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise SpecError(f"{flag} {shown(value)} is not a share between 0 and 1, such as 0.02 or 2%")
    return number


def _device(value: Any) -> str:
    text = str(value).strip()
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", text):
        return text
    raise SpecError(f"--device {shown(text)} does not exist; choose auto, cpu, cuda or cuda:INDEX")


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value
