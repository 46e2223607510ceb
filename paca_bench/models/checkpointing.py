"""Activation checkpointing: a block keeps its input alone, and runs again in the backward pass.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, with one block as the
segment. A block is the unit that a stage repeats; a class says that it is one by
``is_block = True``. Models of other libraries have marks of their own, which are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from paca_bench.errors import UnsupportedError


@contextmanager
def checkpointed(module: nn.Module, active: bool = True) -> Iterator[None]:
    """Within, ``module`` runs as ``checkpoint_blocks`` makes it, if ``active``.

    Raises:
        UnsupportedError: it has no known blocks.
    """
    if not active:
        yield
        return
    undo = _switch_on(module)
    try:
        yield
    finally:
        undo()


def checkpoint_blocks(module: nn.Module) -> None:
    """Make every block of ``module`` recompute its activations in the backward pass.

    It takes effect in training mode with gradients; the output and the gradients are bit for
    bit what they are without. A block that is checkpointed already stays as it is.

    Raises:
        UnsupportedError: it has no known blocks.
    """
    _switch_on(module)


class _Recomputed:
    """A block's ``forward`` that keeps only its inputs, in training."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.forward: Callable[..., Any] = block.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self.block.training and torch.is_grad_enabled()):
            return self.forward(*args, **kwargs)
        # Nothing in a block is random, so that no state of a generator need be kept.
        return checkpoint(
            self.forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs
        )


def _switch_on(module: nn.Module) -> Callable[[], None]:
    """Checkpoint all blocks, and give what undoes it."""
    blocks = [m for m in module.modules() if _is_block(m)]
    if not blocks:
        return _switch_on_timm(module)
    new = [b for b in blocks if not isinstance(b.forward, _Recomputed)]
    for block in new:
        block.forward = _Recomputed(block)

    def undo() -> None:
        for block in new:
            # The instance's own ``forward`` hides that of its class.
            del block.forward

    return undo


def _is_block(module: nn.Module) -> bool:
    """True for our own blocks and the user's, and for the layers of ``transformers``."""
    marks = (c.__name__ == "GradientCheckpointingLayer" for c in type(module).__mro__)
    return bool(getattr(module, "is_block", False)) or any(marks)


def _switch_on_timm(module: nn.Module) -> Callable[[], None]:
    """Models of ``timm`` do it themselves."""
    switch = getattr(module, "set_grad_checkpointing", None)
    if switch is None:
        raise UnsupportedError(
            "activation checkpointing: none of the model's modules is known as the block of a "
            "stage; set is_block = True in the class of the block"
        )
    try:
        switch(True)
    except AssertionError as error:
        raise UnsupportedError(
            f"timm's {type(module).__name__} has no activation checkpointing"
        ) from error
    return lambda: switch(False)
