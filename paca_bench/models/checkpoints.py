"""Load official checkpoints into the architectures, without trusting them.

A ``.pth`` file is a pickle, which can run any code when it is read as such; it is read here
by torch's restricted reader, which builds tensors and plain containers only.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from paca_bench.errors import CheckpointError

# Where training scripts keep the weights; the averaged ones first, as those are evaluated.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
# What containers of a model put before its keys.
PREFIXES = ("module.", "_orig_mod.", "backbone.")
# Entries that a constructor computes from the image size or the window; they are not trained.
DERIVED = ("attn_mask", "relative_position_index")
SHOWN = 3

Shape = tuple[int, ...]
Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """How a checkpoint fitted a model; all empty where it fitted entirely.

    Attributes:
        missing: keys of the model that the checkpoint lacks.
        unexpected: keys of the checkpoint that the model lacks.
        misshaped: (key, the checkpoint's shape, the model's) of keys with unlike shapes.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, Shape, Shape], ...]

    @property
    def fits(self) -> bool:
        """True if there is nothing to report."""
        return not (self.missing or self.unexpected or self.misshaped)

    def __str__(self) -> str:
        shapes = [f"{key} {given} for {wanted}" for key, given, wanted in self.misshaped]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "mis-shaped": shapes}
        return "; ".join(
            f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in kinds.items() if keys
        )


def read_checkpoint(model: nn.Module, path: Path) -> Weights:
    """The weights in a file, under the keys that ``model`` has for them, on the CPU.

    They are not compared with the model's own; see ``compare_weights``.

    Raises:
        CheckpointError: the file cannot be read, would run code when read, or holds no weights.
    """
    return _strip(_weights(_read(path), str(path)), model.state_dict())


def load_checkpoint(
    model: nn.Module, source: str | Path | Mapping[str, object], *, strict: bool = True
) -> CheckpointReport:
    """Copy a checkpoint's weights into ``model``, all or, if they do not fit, none.

    Args:
        model: an architecture of this package, or any whose keys are the checkpoint's.
        source: a ``.pth``, ``.pt`` or ``.safetensors`` file, or a state dict. The weights may
            be wrapped under ``state_dict_ema``, ``model_ema``, ``state_dict`` or ``model`` (the
            first that is there), and their keys under ``module.`` or ``backbone.``.
        strict: refuse what does not fit entirely; otherwise copy what fits.

    Returns:
        What did not fit. Shift masks and position indices are derived from shapes: the
        model's own are kept, and they are not in the report.

    Raises:
        CheckpointError: the file cannot be read, would run code when read, holds no weights,
            or does not fit: not entirely if ``strict``, not at all otherwise.
    """
    given = source if isinstance(source, Mapping) else _read(Path(source))
    name = "the state dict" if isinstance(source, Mapping) else str(source)
    own = model.state_dict()
    weights = _strip(_weights(given, name), own)
    report = compare_weights(model, weights)
    rejected = {key for key, _, _ in report.misshaped}
    fitting = {k: v for k, v in weights.items() if k in own and k not in rejected}
    if not fitting:
        raise CheckpointError(
            f"{name} has nothing that fits {type(model).__name__}: {report}; it is a checkpoint "
            f"of another model"
        )
    if strict and not report.fits:
        raise CheckpointError(
            f"{name} does not fit {type(model).__name__}: {report}; build the variant that it was "
            f"saved from, or load what fits with strict=False"
        )
    model.load_state_dict(fitting, strict=False)
    return report


def _read(path: Path) -> object:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint file at {path}")
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        # Training scripts save their arguments beside the weights; a Namespace only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # On foreign pickles torch warns before it refuses.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:
        # Readers raise anything at all on damaged input.
        raise CheckpointError(f"cannot read {path}: {_reason(error)}") from error


def _read_safetensors(path: Path) -> Weights:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"reading {path} needs the package safetensors; install it, or save a .pth file"
        ) from error
    return load_file(path)


def _reason(error: Exception) -> str:
    """One line for people."""
    text = str(error)
    code = re.search(r"GLOBAL ([\w.]+)", text)
    if code:
        return (
            f"it holds {code[1]}, which could run code when read; only tensors and plain "
            f"containers are accepted"
        )
    if isinstance(error, pickle.UnpicklingError):
        return "the restricted reader refuses it; it is damaged, or holds more than tensors"
    first = text.splitlines()[0][:100] if text else ""
    return f"it is damaged, or no checkpoint ({type(error).__name__}: {first})"


def _weights(given: object, name: str) -> Weights:
    """The innermost state dict of a checkpoint."""
    while isinstance(given, Mapping):
        inner = next((k for k in WRAPPERS if isinstance(given.get(k), Mapping)), None)
        if inner is None:
            break
        given = given[inner]
    if not isinstance(given, Mapping) or not given:
        raise CheckpointError(f"{name} holds no state dict but {type(given).__name__}")
    foreign = [str(key) for key, value in given.items() if not isinstance(value, Tensor)]
    if foreign:
        raise CheckpointError(
            f"{name} holds no state dict: {len(foreign)} entries are not tensors, such as "
            f"{_first(foreign)}; the weights may be wrapped under {', '.join(WRAPPERS)}"
        )
    return {str(key): value for key, value in given.items() if not _is_derived(str(key))}


def _strip(weights: Weights, own: Mapping[str, Tensor]) -> Weights:
    """The keys without containers' prefixes, those that the model has itself excepted."""
    for prefix in PREFIXES:
        if _have(weights, prefix) and not _have(own, prefix):
            return _strip({key.removeprefix(prefix): v for key, v in weights.items()}, own)
    return weights


def _have(keys: Mapping[str, Tensor], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


def compare_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> CheckpointReport:
    """How weights under the model's keys would fit it; the model may be on the device ``meta``."""
    own = {key: value for key, value in model.state_dict().items() if not _is_derived(key)}
    shapes = [(k, tuple(weights[k].shape), tuple(v.shape)) for k, v in own.items() if k in weights]
    return CheckpointReport(
        missing=tuple(key for key in own if key not in weights),
        unexpected=tuple(key for key in weights if key not in own),
        misshaped=tuple(row for row in shapes if row[1] != row[2]),
    )


def _is_derived(key: str) -> bool:
    return key.rpartition(".")[2] in DERIVED


def _first(names: Sequence[str]) -> str:
    """The first few names, and a sign if there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
