"""The training loop: steps, schedule, order of the data and what is kept of the losses.

What is learned is a ``Task``; how it is tested is the task's own. A step depends on the
weights, the optimizer's state and the step's number alone, so a training that is gone on with
ends as an undisturbed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from paca_bench.measure.memory import cpu_peak, cuda_peak
from paca_bench.measure.recipe import Length, Recipe
from paca_bench.measure.seeding import derive, generator

MAX_POINTS = 200
BETA1 = 0.9


class Task(Protocol):
    """What is learned from a training split.

    Attributes:
        num_train: examples of the split.
    """

    num_train: int

    def loss(self, model: nn.Module, chosen: Tensor, draw: torch.Generator) -> Tensor:
        """The mean loss of a batch, float32 ``[]``.

        Args:
            model: what is trained.
            chosen: int64 ``[B]`` on the CPU, indices of examples.
            draw: for the augmentation; the same for every model at a seed and a step.
        """


class Keeper(Protocol):
    """What looks after a training between its steps, such as a ``CheckpointFile``."""

    def restore(self, training: Training) -> None:
        """Before the first step: bring the training to where an earlier attempt was."""

    def keep(self, training: Training) -> None:
        """After each step."""


class Training:
    """One training of ``model``.

    Args:
        model: on its device.
        task: what it learns.
        recipe: how.
        length: how long.
        seed: of the order of the data, of augmentation and of what the model draws itself.
        clock: seconds.

    Attributes:
        steps: optimizer steps made.
        seconds: that they took; what happens between them is not included.
        losses: of each step, before its update.
        diverged: True once a loss was not finite; that step made no update.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        recipe: Recipe,
        length: Length,
        seed: int,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = model
        self.optimizer = make_optimizer(model, recipe)
        self.steps = 0
        self.seconds = 0.0
        self.losses = LossCurve()
        self.diverged = False
        self._task = task
        self._recipe = recipe
        self._length = length
        self._seed = seed
        self._order = Order(task.num_train, recipe.batch_size, seed)
        self._clock = clock
        self._device = next(model.parameters()).device

    def run(
        self, keeper: Keeper | None = None, progress: Callable[[int], None] | None = None
    ) -> None:
        """Train to the end of the budget, or to a loss that is not finite.

        ``progress`` is told the number of steps done after each. It sets torch's global
        generator: to be called within ``seeding.reproducible``.
        """
        if keeper:
            keeper.restore(self)
        self.model.train()
        while not self._length.is_over(self.steps, self.seconds):
            start = self._clock()
            loss = self.step()
            self.seconds += self._clock() - start
            if not math.isfinite(loss):
                self.diverged = True
                return
            self.losses.add(loss)
            self.steps += 1
            if keeper:
                keeper.keep(self)
            if progress:
                progress(self.steps)
        start = self._clock()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds += self._clock() - start

    def step(self) -> float:
        """The next step; its loss. Nothing is updated if that is not finite."""
        torch.manual_seed(derive(self._seed, f"model {self.steps}"))
        draw = generator(self._seed, f"augmentation {self.steps}")
        loss = self._task.loss(self.model, self._order(self.steps), draw)
        value = loss.item()
        if not math.isfinite(value):
            return value
        rate = self._recipe.lr_at(self._length.share(self.steps, self.seconds))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.clip_norm)
        self.optimizer.step()
        return value

    def peak_bytes(self) -> int:
        """Most bytes of live tensors in one more step, over what was held before it.

        That is over weights, optimizer state and data, as gradients are freed first. The
        weights are not those of the training any more.

        Raises:
            UnsupportedError: the profiler of this build of torch reports no allocations.
        """
        self.model.train()
        self.optimizer.zero_grad()
        if self._device.type == "cuda":
            with torch.cuda.device(self._device):
                return cuda_peak(self.step, torch.cuda)[0]
        return cpu_peak(self.step)


class Order:
    """Shuffled passes over the training examples, one after the other, cut into batches.

    It depends on the arguments alone, not on the model or on torch's global generator.
    """

    def __init__(self, num_train: int, batch_size: int, seed: int) -> None:
        self._num_train = num_train
        self._batch_size = batch_size

        @lru_cache(maxsize=2)
        def permutation(number: int) -> Tensor:
            return torch.randperm(num_train, generator=generator(seed, f"order {number}"))

        self._pass = permutation

    def __call__(self, step: int) -> Tensor:
        """Indices of the examples of ``step`` (from 0), int64 ``[batch_size]``."""
        at, end = step * self._batch_size, (step + 1) * self._batch_size
        parts = []
        while at < end:
            number, offset = divmod(at, self._num_train)
            parts.append(self._pass(number)[offset : offset + end - at])
            at += len(parts[-1])
        return torch.cat(parts)


class LossCurve:
    """Losses as means over equal windows of steps: at most ``MAX_POINTS``, however many steps.

    When they are full, neighbours are merged and the window doubles. The last window may be
    of fewer steps.

    Attributes:
        window: steps behind each point.
    """

    def __init__(self) -> None:
        self.window = 1
        self._means: list[float] = []
        self._open: list[float] = []

    def add(self, loss: float) -> None:
        """One more step's."""
        self._open.append(loss)
        if len(self._open) < self.window:
            return
        self._means.append(math.fsum(self._open) / self.window)
        self._open = []
        if len(self._means) == MAX_POINTS:
            pairs = zip(self._means[::2], self._means[1::2], strict=True)
            self._means = [(first + second) / 2 for first, second in pairs]
            self.window *= 2

    @property
    def points(self) -> tuple[float, ...]:
        """The means, in order."""
        last = [math.fsum(self._open) / len(self._open)] if self._open else []
        return (*self._means, *last)

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` takes."""
        return {"window": self.window, "means": self._means, "open": self._open}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another curve was."""
        self.window = state["window"]
        self._means = list(state["means"])
        self._open = list(state["open"])


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; tensors of one dimension, the biases and norms, are not decayed."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in parameters if p.dim() > 1],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(BETA1, recipe.beta2), fused=True)
