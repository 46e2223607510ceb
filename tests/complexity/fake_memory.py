"""Peak memory by torch's own fake tensors: slow, and what the fast trace must equal."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from paca_bench.complexity.workspace import workspace_bytes
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.record import Case


def fake_peak(case: Case) -> int:
    """The peak of a case over its weights and input, in bytes."""
    dtype, training = getattr(torch, case.dtype), case.mode == "train"
    with torch.device("meta"):
        module = build_subject(case).train(training)
    named = [*module.named_parameters(), *module.named_buffers()]
    with FakeTensorMode(), torch.set_grad_enabled(training):
        weights = {name: stand_in(tensor, dtype) for name, tensor in named}
        x = torch.empty(input_shape(case), dtype=dtype)
        x.requires_grad_(training and case.level == "layer")
        with FakeLiveness([*weights.values(), x]) as live:
            out = functional_call(module, weights, (x,))
            if training:
                out.float().sum().backward()
    return live.peak


def stand_in(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    kind = dtype if tensor.is_floating_point() else tensor.dtype
    fake = torch.empty_strided(tensor.size(), tensor.stride(), dtype=kind)
    return fake.requires_grad_(tensor.requires_grad)


class FakeLiveness(TorchDispatchMode):
    """Bytes of all storages made while it is active, from their making to their collection."""

    def __init__(self, base: list[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.sizes = {t.untyped_storage()._cdata: 0 for t in base}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        for result in tree_leaves(out):
            if isinstance(result, Tensor):
                self.add(result.untyped_storage())
        held = workspace_bytes(str(func.overloadpacket), args, kwargs)
        self.peak = max(self.peak, self.now + held)
        return out

    def add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self.remove, key)

    def remove(self, key: int) -> None:
        self.now -= self.sizes.pop(key)
