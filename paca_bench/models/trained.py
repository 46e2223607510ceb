"""A published architecture with the weights and the classes of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paca_bench.errors import CheckpointError
from paca_bench.models.checkpoints import (
    Weights,
    compare_weights,
    load_checkpoint,
    read_checkpoint,
)
from paca_bench.models.registry import Model, get_model


@dataclass(frozen=True, eq=False)
class Trained:
    """A model's variant and a checkpoint that fits it.

    Attributes:
        model: the variant.
        options: settings that differ from the published ones.
        path: of the checkpoint.
        weights: from it, on the CPU.
        num_classes: outputs of its classifier.
    """

    model: Model
    options: Mapping[str, Any]
    path: Path
    weights: Weights
    num_classes: int

    def build(self, side: int) -> tuple[nn.Module, list[str]]:
        """The module in evaluation mode for square images, and what was done to its weights.

        Raises:
            UnsupportedError: the architecture cannot work at this size.
            CheckpointError: the weights do not fit at this size.
        """
        with torch.random.fork_rng(devices=[]):
            module = self._module(side)
        weights = self._fitting(module)
        load_checkpoint(module, weights)
        changed = [key for key in weights if weights[key].shape != self.weights[key].shape]
        return module.eval(), [
            f"{key} was interpolated from {self.weights[key].shape[1]} to "
            f"{weights[key].shape[1]} positions, as the official code does for another image size"
            for key in changed
        ]

    def check(self, side: int) -> None:
        """Raise what ``build`` would, at no cost."""
        with torch.device("meta"):
            module = self._module(side)
        self._fitting(module)

    def _module(self, side: int) -> nn.Module:
        return self.model.build(num_classes=self.num_classes, img_size=(side, side), **self.options)

    def _fitting(self, module: nn.Module) -> Mapping[str, Tensor]:
        """The weights that ``module`` takes.

        Tables of positions are interpolated to another size than the checkpoint's where the
        architecture says how, by its method ``at_own_size``.
        """
        resize: Callable[[Weights], Weights] | None = getattr(module, "at_own_size", None)
        weights = self.weights if resize is None else resize(self.weights)
        report = compare_weights(module, weights)
        if not report.fits:
            raise CheckpointError(
                f"{self.path} does not fit {self.model.name}: {report}; name the variant that it "
                f"was saved from by --model, and its settings by --option"
            )
        return weights


def read_trained(name: str, path: Path, side: int, options: Mapping[str, Any]) -> Trained:
    """Read the checkpoint of the model called ``name``, and find its number of classes.

    Whether it fits is seen by ``check``.

    Args:
        name: a registered model.
        path: of a ``.pth``, ``.pt`` or ``.safetensors`` file.
        side: of the square images, in pixels.
        options: settings of the model that differ from the published ones.

    Raises:
        SpecError: there is no such model or option.
        UnsupportedError: the architecture cannot work at this size.
        CheckpointError: the file cannot be read, would run code when read, or has no
            classifier.
    """
    model = get_model(name)
    with torch.device("meta"):
        few, many = (
            model.build(num_classes=count, img_size=(side, side), **options) for count in (1, 2)
        )
    weights = read_checkpoint(many, path)
    return Trained(model, options, path, weights, _num_classes(few, many, weights, path))


def _num_classes(few: nn.Module, many: nn.Module, weights: Weights, path: Path) -> int:
    """Outputs of the classifier: the length of what grows with the number of classes."""
    shapes = {key: value.shape for key, value in few.state_dict().items()}
    for key, value in many.state_dict().items():
        sides = zip(shapes[key], value.shape, strict=True)
        axis = next((i for i, (one, two) in enumerate(sides) if one != two), None)
        if axis is None:
            continue
        if key not in weights:
            raise CheckpointError(
                f"{path} has no classifier ({key}), as the checkpoint of a backbone; give one that "
                f"was trained to classify"
            )
        if weights[key].dim() == value.dim():
            return weights[key].shape[axis]
    raise CheckpointError(f"{path} has a classifier of another form; it is of another model")
