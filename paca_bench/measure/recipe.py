"""The fixed recipe of the accuracy metric: one for every mechanism. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from paca_bench.errors import SpecError
from paca_bench.models.subject import case_cost, case_macs
from paca_bench.record import Case
from paca_bench.train_budget import TrainBudget

# A backward pass where no closed form says better: a gradient of the input, one of the weights.
BACKWARD_IN_FORWARDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a case is trained: AdamW, linear warm-up, cosine decay to zero.

    Attributes:
        budget: how long.
        batch_size: images a step.
        lr: peak learning rate.
        weight_decay: of parameters with two or more dimensions; biases and norms have none.
        warmup: share of the budget over which the learning rate rises to ``lr``.
        label_smoothing: share of the target spread evenly over the classes.
        shift: each image is moved by up to this share of its side, in both directions, its
            edge repeated; the only augmentation.
        clip_norm: largest norm of the whole gradient.
        beta2: how much of AdamW's mean of squared gradients a step keeps. Below torch's 0.999,
            as a short training else forgets its first steps too late: where the gradient grows
            suddenly the next updates are too large, and what was learned is lost.

    Raises:
        SpecError: a value is out of range.
    """

    budget: TrainBudget
    batch_size: int
    lr: float
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.0
    shift: float = 0.0
    clip_norm: float = 1.0
    beta2: float = 0.95

    def __post_init__(self) -> None:
        ranges = (
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("lr", 0 < self.lr < math.inf, "positive and finite"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more, and finite"),
            ("warmup", 0 <= self.warmup < 1, "in [0, 1)"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)"),
            ("shift", 0 <= self.shift < 1, "in [0, 1)"),
            ("clip_norm", self.clip_norm > 0, "positive"),
            ("beta2", 0 <= self.beta2 < 1, "in [0, 1)"),
        )
        for name, allowed, rule in ranges:
            if not allowed:
                raise SpecError(f"recipe: {name} must be {rule}, not {getattr(self, name)!r}")

    def lr_at(self, share: float) -> float:
        """The learning rate where ``share`` (0 to 1) of the budget is spent; zero at its end."""
        if share < self.warmup:
            return self.lr * share / self.warmup
        return self.lr * (1 + math.cos(math.pi * (share - self.warmup) / (1 - self.warmup))) / 2

    def to_json(self) -> dict[str, Any]:
        """All values, for the record; ``from_json`` is the inverse."""
        return {**asdict(self), "budget": str(self.budget)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """The inverse of ``to_json``."""
        return cls(**{**data, "budget": TrainBudget.parse(data["budget"])})


def default_recipe(device: str) -> Recipe:
    """The recipe on a device, such as ``cpu`` or ``cuda:0``; a GPU affords four times the steps.

    Chosen so that on two CPU cores every built-in mechanism passes 95% on mnist5k at 32
    pixels with the nano host. So short a budget is served by small shifts: up to a 28th of
    the side, one pixel of an original digit.
    """
    steps = 600 if device.startswith("cuda") else 150
    budget = TrainBudget("steps", steps)
    return Recipe(budget=budget, batch_size=64, lr=2e-3, warmup=2 / 15, shift=1 / 28)


@dataclass(frozen=True, slots=True)
class Length:
    """How long one training is: a number of ``steps``, or ``seconds``; the other is None."""

    steps: int | None = None
    seconds: float | None = None

    def is_over(self, steps: int, seconds: float) -> bool:
        """True after so many steps, which took so long; never before the first."""
        if self.seconds is not None:
            return steps > 0 and seconds >= self.seconds
        return steps >= (self.steps or 0)

    def share(self, steps: int, seconds: float) -> float:
        """The share of the budget that is spent in the middle of the next step, at most 1.

        A step of a training by time is expected to take what those before it took.
        """
        if self.seconds is not None:
            middle = seconds + (seconds / steps / 2 if steps else 0.0)
            return min(middle / self.seconds, 1.0)
        return min((steps + 0.5) / (self.steps or 1), 1.0)


def training_length(case: Case, recipe: Recipe, num_classes: int) -> Length:
    """How long the case's training is; by ``macs`` and ``images`` at least one step, rounded down.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    amount = recipe.budget.amount
    match recipe.budget.unit:
        case "time":
            return Length(seconds=amount)
        case "steps":
            return Length(steps=int(amount))
        case "images":
            return Length(steps=max(int(amount) // recipe.batch_size, 1))
        case _:
            macs = step_macs(case, recipe, num_classes)
            return Length(steps=max(int(amount // macs), 1))


def step_macs(case: Case, recipe: Recipe, num_classes: int) -> int:
    """Multiply-accumulates of one step: forward and backward passes of a batch.

    By the closed form, gradient by gradient; where there is none the forward pass is counted
    and the backward pass taken for twice that. The optimizer's elementwise work is no MACs.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    cost = case_cost(case, num_classes)
    if cost is not None and cost.backward_macs:
        return recipe.batch_size * (cost.macs + cost.backward_macs)
    return recipe.batch_size * (1 + BACKWARD_IN_FORWARDS) * case_macs(case, num_classes)


def training_seconds(
    case: Case, recipe: Recipe, *, macs_per_s: float, num_test: int, num_classes: int
) -> float:
    """What a training and its test are predicted to take on a device of ``macs_per_s``.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    length = training_length(case, recipe, num_classes)
    test_s = num_test * case_macs(case, num_classes) / macs_per_s
    if length.seconds is not None:
        return length.seconds + test_s
    return (length.steps or 0) * step_macs(case, recipe, num_classes) / macs_per_s + test_s
