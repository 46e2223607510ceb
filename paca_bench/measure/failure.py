"""What kind of failure an error of torch's is, which has no types for it."""

from __future__ import annotations

import torch

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "std::bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """True if memory ran out, on the device or beside it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
    )
