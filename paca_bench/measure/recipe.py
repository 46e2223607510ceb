"""The fixed budget of the accuracy metric: one recipe for every mechanism. No torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from paca_bench.errors import SpecError
from paca_bench.models.subject import case_macs
from paca_bench.record import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a host is trained: AdamW, linear warm-up, cosine decay to zero.

    Attributes:
        steps: optimiser steps.
        batch_size: images a step.
        lr: peak learning rate.
        weight_decay: of parameters with two or more dimensions; biases and norms have none.
        warmup_steps: steps over which the learning rate rises to ``lr``.
        label_smoothing: share of the target spread evenly over the classes.
        shift: each image is moved by up to this share of its side, in both directions, its
            edge repeated; the only augmentation.
        clip_norm: largest norm of the whole gradient.

    Raises:
        SpecError: a value is out of range.
    """

    steps: int
    batch_size: int
    lr: float
    weight_decay: float = 0.05
    warmup_steps: int = 0
    label_smoothing: float = 0.0
    shift: float = 0.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        ranges = (
            ("steps", self.steps >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("lr", 0 < self.lr < math.inf, "positive and finite"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more, and finite"),
            ("warmup_steps", 0 <= self.warmup_steps < self.steps, "0 or more and below steps"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)"),
            ("shift", 0 <= self.shift < 1, "in [0, 1)"),
            ("clip_norm", self.clip_norm > 0, "positive"),
        )
        for name, allowed, rule in ranges:
            if not allowed:
                raise SpecError(f"recipe: {name} must be {rule}, not {getattr(self, name)!r}")

    def lr_at(self, step: int) -> float:
        """The learning rate of ``step``, counted from 0."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return self.lr * (1 + math.cos(math.pi * progress)) / 2

    def to_json(self) -> dict[str, Any]:
        """All values, for the record."""
        return asdict(self)


def default_recipe(device: str) -> Recipe:
    """The recipe on a device, such as ``cpu`` or ``cuda:0``; a GPU affords four times the steps.

    Chosen so that on two CPU cores every built-in mechanism passes 95% on mnist5k at 32
    pixels with the nano host. So short a budget is served by small shifts: up to a 28th of
    the side, one pixel of an original digit.
    """
    steps = 600 if device.startswith("cuda") else 150
    return Recipe(steps=steps, batch_size=64, lr=2e-3, warmup_steps=20, shift=1 / 28)


def training_macs(case: Case, recipe: Recipe, *, num_test: int, num_classes: int) -> int:
    """Multiply-accumulates of one seed: three forwards a training image, one a test image.

    A backward pass counts as two forward passes: one for the gradient of the input, one for
    that of the weights.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    images = 3 * recipe.steps * recipe.batch_size + num_test
    return images * case_macs(case, num_classes)
