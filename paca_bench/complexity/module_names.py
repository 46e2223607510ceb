"""Which module an operator works for, forward and backward."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


class ModuleNames:
    """While active, knows which part of a module is running.

    In the backward pass that is the part whose forward recorded the node of the graph that is
    running: autograd numbers its nodes as they are made, so the numbers that a module saw at
    its start and end enclose its own.
    """

    def __init__(self, module: nn.Module) -> None:
        self._names = {child: name for name, child in module.named_modules()}
        self._running = [""]
        # From which node's number on, and whose; both grow together.
        self._starts: list[int] = []
        self._owners: list[str] = []

    def __enter__(self) -> ModuleNames:
        # Hooks of all modules: two for each would take longer than what they listen to.
        self._hooks = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def innermost(self) -> str:
        """The qualified name of the innermost module that is running; "" for the whole."""
        node = torch._C._current_autograd_node() if len(self._running) == 1 else None
        if node is None:
            return self._running[-1]
        index = bisect_right(self._starts, node._sequence_nr()) - 1
        return self._owners[index] if index >= 0 else ""

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        if module in self._names:
            self._running.append(self._names[module])
            self._mark()

    def _leave(self, module: nn.Module, _inputs: Any, _out: Any) -> None:
        if module in self._names:
            self._running.pop()
            self._mark()

    def _mark(self) -> None:
        self._starts.append(torch._C._autograd._get_sequence_nr())
        self._owners.append(self._running[-1])
