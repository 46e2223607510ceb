"""Where a training's random numbers come from, and its algorithms kept to the same bits.

Every draw has a generator of its own, seeded by what it is for and by the step: nothing
depends on how many numbers something else has drawn, and a training that is gone on with
needs no state of a generator.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import torch
from torch import nn

from paca_bench.attention.base import Attention
from paca_bench.models.subject import build_subject
from paca_bench.record import Case

# Fixed buffers for cuBLAS, without which its results may depend on what ran before (cuBLAS
# documentation, "Results Reproducibility"). Read when CUDA begins.
CUBLAS_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
_NOT_DETERMINISTIC = re.compile(r"(\S+) does not have a deterministic implementation")


def derive(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, unrelated to those of the neighbouring seeds."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, purpose: str) -> torch.Generator:
    """A generator on the CPU for one purpose."""
    return torch.Generator().manual_seed(derive(seed, purpose))


def build_seeded(case: Case, num_classes: int, seed: int) -> nn.Module:
    """The case's module with weights that depend on the seed, and in a host on names alone.

    A host's attention starts as its constructor leaves it. The rest is drawn again, each
    module from a generator seeded by its name, so that it does not depend on how many random
    numbers the mechanism used: whatever two hosts have in common starts equal. A published
    model starts as published.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "attention"))
        model = build_subject(case, num_classes)
        if case.level == "host":
            for name, module in _outside_attention(model, ""):
                reset = getattr(module, "reset_parameters", None)
                if reset is not None:
                    torch.manual_seed(derive(seed, name))
                    reset()
    return model


def _outside_attention(module: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    """``module`` and all modules in it that are no part of an ``Attention``, with names."""
    if isinstance(module, Attention):
        return []
    found = [(name, module)]
    for child_name, child in module.named_children():
        found += _outside_attention(child, f"{name}.{child_name}")
    return found


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over name, type, shape and bytes of all parameters and buffers, in their order."""
    digest = hashlib.sha256()
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def reproducible(device: torch.device) -> Iterator[set[str]]:
    """Within, torch takes deterministic algorithms where it has them; as it was afterwards.

    The global generators are given back as they were, too. Yields the names of operators
    that had no deterministic algorithm, which grows as they are met.
    """
    found: set[str] = set()
    show = warnings.showwarning

    def note(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if match := _NOT_DETERMINISTIC.match(str(message)):
            found.add(match[1])
        else:
            show(message, category, filename, lineno, file, line)

    before = torch.are_deterministic_algorithms_enabled()
    warned_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmarked = torch.backends.cudnn.benchmark
    devices = [device] if device.type == "cuda" else []
    if device.type == "cuda":
        os.environ.setdefault(*CUBLAS_WORKSPACE)
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.filterwarnings("always", message=".*deterministic implementation")
        warnings.showwarning = note
        torch.use_deterministic_algorithms(True, warn_only=True)
        # It is a debugging aid, which would write all memory twice.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        try:
            yield found
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warned_only)
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark = benchmarked
