"""The deterministic weights and inputs under which the golden outputs were made.

Every entry of a state dict is drawn by itself, seeded by its key, so that a model filled
here and one filled elsewhere agree as soon as their keys and shapes do.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn

# Leaves that are computed by the constructor, not trained.
CONSTRUCTED = ("relative_position_index", "attn_mask", "blur_filter")


def fill_value(key: str, shape: tuple[int, ...]) -> Tensor:
    """The float32 value of the entry ``key``; ``key`` is the whole official key."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode("utf-8"))))
    z = generator.standard_normal(shape)
    leaf = key.rpartition(".")[2]
    if leaf == "running_var":
        value = 1 + 0.1 * np.abs(z)
    elif leaf == "running_mean":
        value = 0.1 * z
    elif leaf == "relative_position_bias_table":
        value = 0.5 * z
    elif len(shape) == 3:
        value = 0.2 * z
    elif len(shape) >= 2:
        value = z / math.sqrt(math.prod(shape[1:]))
    elif leaf == "weight":
        value = 1 + 0.1 * z
    else:
        value = 0.1 * z
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


@torch.no_grad()
def fill(module: nn.Module) -> None:
    """Overwrite all weights and running statistics of ``module``, whose keys are official."""
    for key, entry in module.state_dict().items():
        leaf = key.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            entry.zero_()
        elif leaf not in CONSTRUCTED:
            entry.copy_(fill_value(key, tuple(entry.shape)))


def image_input(height: int, width: int, batch: int = 2) -> Tensor:
    """Images ``[B, 3, H, W]``."""
    return _normal(0, (batch, 3, height, width))


def layer_input(batch: int, tokens: int, *, seed: int = 1, dim: int = 96) -> Tensor:
    """Tokens ``[B, N, C]``; seed 2 is the input of the second, sharing layer."""
    return _normal(seed, (batch, tokens, dim))


def _normal(seed: int, shape: tuple[int, ...]) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))
