"""A training's state on the disk, so that one that was killed is gone on with.

Written whole or not at all. Losing one costs time and nothing else, so whatever is wrong with
the file or the disk is noted and the training goes on without.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from paca_bench.measure.training import Training

EVERY_S = 15.0
PART_SUFFIX = ".part"
_FORMAT = 1


class CheckpointFile:
    """Keeps a ``Training`` in ``path``.

    Args:
        path: the file; its folder is made when it is first needed.
        identity: what the training is, name -> text: one that differs in any is another's.
        every_s: seconds between two writings, at least.
        every_steps: writes at multiples of so many steps instead.
        clock: seconds.

    Attributes:
        notes: what went otherwise than without a checkpoint, in words.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, str],
        *,
        every_s: float = EVERY_S,
        every_steps: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.notes: list[str] = []
        self._path = path
        self._identity = {"format": str(_FORMAT), **identity}
        self._every_s = every_s
        self._every_steps = every_steps
        self._clock = clock
        self._written = clock()

    def restore(self, training: Training) -> None:
        """Bring ``training``, which has not begun, to where the file's was; if it is its own."""
        if not self._path.exists():
            return
        try:
            state = torch.load(self._path, map_location="cpu", weights_only=True)
            reason = self._foreign(state) or _misfit(state, training)
        except Exception as error:  # torch raises anything at a file that is torn
            reason = f"it cannot be read ({type(error).__name__})"
        if reason:
            self.notes.append(f"{self._path.name} was left out, and training began anew: {reason}")
            return
        training.optimizer.load_state_dict(state["optimizer"])
        training.model.load_state_dict(state["model"])
        training.losses.load_state_dict(state["losses"])
        training.steps, training.seconds = state["steps"], state["seconds"]
        self.notes.append(f"gone on with after step {training.steps}")

    def keep(self, training: Training) -> None:
        """Write the state if it is time to."""
        if not self._is_due(training.steps):
            return
        state = {
            "identity": self._identity,
            "model": training.model.state_dict(),
            "optimizer": training.optimizer.state_dict(),
            "losses": training.losses.state_dict(),
            "steps": training.steps,
            "seconds": training.seconds,
        }
        # By way of memory, because torch hides the disk's own error.
        content = io.BytesIO()
        torch.save(state, content)
        try:
            _write_whole(self._path, content.getbuffer())
        except OSError as error:
            if not any("no checkpoint" in note for note in self.notes):
                why = error.strerror or error
                self.notes.append(
                    f"no checkpoint could be written after step {training.steps}: {why}"
                )
        self._written = self._clock()

    def _is_due(self, steps: int) -> bool:
        if self._every_steps:
            return steps % self._every_steps == 0
        return self._clock() - self._written >= self._every_s

    def _foreign(self, state: Any) -> str:
        """Why the state is another training's; empty if it is this one's."""
        found = state.get("identity") if isinstance(state, dict) else None
        if not isinstance(found, dict):
            return "it is no checkpoint of a training"
        names = sorted(self._identity.keys() | found.keys())
        changed = [name for name in names if found.get(name) != self._identity.get(name)]
        return f"it is of another {' and '.join(changed)}" if changed else ""


def _misfit(state: Mapping[str, Any], training: Training) -> str:
    """Why the state does not fit the training's tensors; empty if it does."""
    fits = _shapes(state["model"]) == _shapes(training.model.state_dict())
    groups = [group["params"] for group in state["optimizer"]["param_groups"]]
    own = [group["params"] for group in training.optimizer.state_dict()["param_groups"]]
    return "" if fits and groups == own else "it is of another model"


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (value.dtype, value.shape) for name, value in state.items()}


def _write_whole(path: Path, content: memoryview) -> None:
    """Put ``content`` into ``path``, whole or not at all.

    Raises:
        OSError: the disk is full or not writable; what was there is as it was.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
