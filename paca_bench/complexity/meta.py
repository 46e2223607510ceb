"""Modules and operators on the meta device, where a tensor is a shape and nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from paca_bench.complexity.meta_rules import RULES


class OnMeta(TorchDispatchMode):
    """While active, operators on meta tensors take the short way where there is one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunction():
            return run(func, args, kwargs or {})


def run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``func(*args, **kwargs)``: by its rule if it has one and its tensors are on meta."""
    rule = RULES.get(func)
    if rule is not None and _first(args).is_meta:
        out = rule(*args, **kwargs)
        if out is not NotImplemented:
            return out
    return func(*args, **kwargs)


def _first(args: Sequence[Any]) -> Tensor:
    first: Any = args[0]
    tensor: Tensor = first if isinstance(first, Tensor) else first[0]
    return tensor


class MetaCopy:
    """Stands for a module on the meta device; the module itself is neither moved nor changed.

    Attributes:
        module: on any device.
        tensors: name -> parameter or buffer of the module, on the meta device.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        own = dict([*module.named_parameters(), *module.named_buffers()])
        self._replaces = not all(tensor.is_meta for tensor in own.values())
        self.tensors = {n: _on_meta(t) for n, t in own.items()} if self._replaces else own

    def new_input(self, shape: Sequence[int]) -> Tensor:
        """A meta tensor of the dtype of the module's first floating-point tensor, or float32."""
        dtypes = (t.dtype for t in self.tensors.values() if t.is_floating_point())
        return torch.empty(tuple(shape), dtype=next(dtypes, torch.float32), device="meta")

    def __call__(self, *inputs: Tensor) -> Any:
        """What the module gives for meta tensors."""
        return self.inside(lambda: self.module(*inputs))

    def backward(self, inputs: Sequence[Tensor], mode: TorchDispatchMode) -> None:
        """Run the module on ``inputs`` and then, with ``mode`` active, its backward pass.

        From a gradient of every output to those of all parameters and inputs that want one.
        """

        def run_both() -> None:
            with OnMeta():
                results = tree_leaves(self.module(*inputs))
            outputs = [t for t in results if isinstance(t, Tensor) and t.requires_grad]
            wanted = [t for t in (*self.tensors.values(), *inputs) if t.requires_grad]
            if not outputs:
                return
            gradients = [torch.empty_like(t) for t in outputs]
            # Given tensors, torch would leave all function modes until it is done, and with
            # them a checkpoint that computes its forward again.
            ends, starts = ([get_gradient_edge(t) for t in each] for each in (outputs, wanted))
            with mode:
                torch.autograd.grad(ends, starts, gradients, allow_unused=True)

        with torch.enable_grad():
            self.inside(run_both)

    def inside(self, function: Callable[[], Any]) -> Any:
        """``function()``, while the module's tensors are replaced and new ones made on meta."""
        with torch.device("meta"):
            if not self._replaces:
                return function()
            tensors = {f"module.{name}": tensor for name, tensor in self.tensors.items()}
            return functional_call(_Around(self.module, function), tensors, ())


class _Around(nn.Module):
    """Calls a function that uses the module, so that ``functional_call`` encloses it."""

    def __init__(self, module: nn.Module, function: Callable[[], Any]) -> None:
        super().__init__()
        self.module = module
        self.function = function

    def forward(self) -> Any:
        return self.function()


def _on_meta(tensor: Tensor) -> Tensor:
    return tensor.detach().to("meta").requires_grad_(tensor.requires_grad)
