"""Tensors that are only a shape, and what operators make of them.

A ``ShapeTensor`` says that it is on the CPU, and has neither data nor the cost of torch's
own fake tensors. What an operator gives for arguments of certain layouts is asked of torch
once, and remembered: the blocks of a network ask the same again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)

from paca_bench.complexity.shape_rules import results_by_rule
from paca_bench.complexity.workspace import workspace_bytes
from paca_bench.errors import UnsupportedError

_CPU = torch.device("cpu")
# So many answers take some 100 MB; a network needs about a thousand.
_MAX_ANSWERS = 50_000

# Operators whose results do not depend on the device. They run on meta tensors, which is
# about ten times faster than on fake ones, and called most of the time.
_SAME_ON_META = frozenset(
    {
        "aten._softmax",
        "aten._softmax_backward_data",
        "aten._unsafe_view",
        "aten.add",
        "aten.add_",
        "aten.addmm",
        "aten.alias",
        "aten.bmm",
        "aten.detach",
        "aten.div",
        "aten.expand",
        "aten.gelu",
        "aten.gelu_backward",
        "aten.mm",
        "aten.mul",
        "aten.permute",
        "aten.relu",
        "aten.select",
        "aten.slice",
        "aten.split",
        "aten.squeeze",
        "aten.sub",
        "aten.sum",
        "aten.t",
        "aten.transpose",
        "aten.unsqueeze",
        "aten.view",
    }
)


class Layout:
    """Size, strides, offset and dtype of a tensor; one object for all that are equal."""

    __slots__ = ("_meta", "dtype", "offset", "size", "stride")

    def __init__(
        self, size: tuple[int, ...], stride: tuple[int, ...], offset: int, dtype: torch.dtype
    ) -> None:
        self.size = size
        self.stride = stride
        self.offset = offset
        self.dtype = dtype
        self._meta: Tensor | None = None

    @property
    def meta(self) -> Tensor:
        """A meta tensor of this layout, always the same."""
        if self._meta is None:
            self._meta = self.new_meta()
        return self._meta

    def new_meta(self) -> Tensor:
        """A meta tensor of this layout, with a storage of its own."""
        if not self.offset:
            return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")
        whole = torch.empty((self._extent(),), dtype=self.dtype, device="meta")
        return whole.as_strided(self.size, self.stride, self.offset)

    def _extent(self) -> int:
        """Elements of the storage up to the last one that is used."""
        steps = zip(self.size, self.stride, strict=True)
        return max(0, self.offset + 1 + sum((count - 1) * step for count, step in steps))


class ShapeTensor(Tensor):
    """A tensor of a layout, without data.

    Attributes:
        strided: its layout.
        held: whatever its maker gave it to hold; views hold the same.
    """

    strided: Layout
    held: Any

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Refuse: without data, an operator makes sense only inside a trace."""
        raise UnsupportedError(f"{func} was called on a shape outside of its trace")


def shape_tensor(layout: Layout, storage: object, *, requires_grad: bool = False) -> ShapeTensor:
    """A ``ShapeTensor`` that holds ``storage``."""
    tensor: ShapeTensor = Tensor._make_wrapper_subclass(
        ShapeTensor,
        layout.size,
        layout.stride,
        layout.offset,
        dtype=layout.dtype,
        device=_CPU,
        requires_grad=requires_grad,
    )
    tensor.strided = layout
    tensor.held = storage
    return tensor


def restride(tensor: ShapeTensor, layout: Layout) -> None:
    """Give ``tensor`` another layout in place."""
    # Below the dispatch of the trace, where it is a matter of three numbers.
    with torch._C._DisableTorchDispatch():
        tensor.as_strided_(layout.size, layout.stride, layout.offset)
    tensor.strided = layout


class Result(NamedTuple):
    """One result of an operator.

    ==================  ==================  =======================================
    ``layout``          ``source``          what it is
    ==================  ==================  =======================================
    a layout            None                a new tensor, on ``value`` bytes
    a layout            an index            a view of that tensor argument
    None                an index            that argument itself; in the layout
                                            ``value``, if there is one
    None                None                ``value``, which is no tensor
    ==================  ==================  =======================================
    """

    layout: Layout | None
    source: int | None
    value: Any


class Answer(NamedTuple):
    """What an operator gives and needs.

    Attributes:
        results: in order.
        collect: makes the operator's result of all of them; None where there is one alone.
        workspace_bytes: held during the call, beside arguments and results.
    """

    results: tuple[Result, ...]
    collect: Callable[[Iterable[Any]], Any] | None
    workspace_bytes: int


class Operators:
    """Answers for operators on shapes, kept as long as there are not too many."""

    def __init__(self) -> None:
        self._answers: dict[Any, Answer] = {}
        self._layouts: dict[Any, Layout] = {}
        self._fake_mode = FakeTensorMode()
        self._threads = 0

    def start(self) -> None:
        """Begin a trace; drop answers that no longer hold, or have become too many."""
        threads = torch.get_num_threads()
        if threads != self._threads or len(self._answers) > _MAX_ANSWERS:
            self._answers.clear()
            self._layouts.clear()
            self._threads = threads

    def layout(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Layout:
        """The layout of ``tensor``, in ``dtype`` if given."""
        key = (
            tuple(tensor.shape),
            tensor.stride(),
            int(tensor.storage_offset()),
            dtype or tensor.dtype,
        )
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = Layout(*key)
        return layout

    def answer(
        self, operator: Any, key: Any, args: Any, kwargs: Any, tensors: Sequence[ShapeTensor]
    ) -> Answer:
        """What ``operator`` gives.

        Args:
            operator: the overload.
            key: hashable, of everything that the answer depends on.
            args: positional arguments.
            kwargs: arguments by name.
            tensors: the shapes among the arguments, in order.

        Raises:
            UnsupportedError: the result depends on values.
        """
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self._ask(operator, args, kwargs, tensors)
        return answer

    def _ask(self, operator: Any, args: Any, kwargs: Any, tensors: Sequence[ShapeTensor]) -> Answer:
        name = str(operator.overloadpacket)
        layouts = [tensor.strided for tensor in tensors]
        stand_ins: list[Any] = []
        out: Any = results_by_rule(name, args)
        if out is not None:
            # A rule gives new tensors alone, which are no views of an argument.
            layouts = []
        elif name in _SAME_ON_META:
            stand_ins = [layout.meta for layout in layouts]
            out = operator(*_replace(args, iter(stand_ins)), **kwargs)
        else:
            stand_ins = [FakeTensor(self._fake_mode, it.new_meta(), _CPU) for it in layouts]
            out = self._run_fake(operator, args, kwargs, stand_ins)
        results = out if isinstance(out, tuple | list) else (out,)
        return Answer(
            results=tuple(self._result(result, stand_ins, layouts, name) for result in results),
            collect=type(out) if isinstance(out, tuple | list) else None,
            workspace_bytes=workspace_bytes(name, args, kwargs),
        )

    def _run_fake(self, operator: Any, args: Any, kwargs: Any, stand_ins: Sequence[Tensor]) -> Any:
        replacements = iter(stand_ins)
        args = _replace(args, replacements)
        kwargs = dict(zip(kwargs, _replace(list(kwargs.values()), replacements), strict=True))
        try:
            with self._fake_mode:
                return operator(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise UnsupportedError(
                f"memory cannot be predicted: {operator.overloadpacket} depends on the values of "
                f"its input"
            ) from error

    def _result(
        self, result: Any, arguments: Sequence[Tensor], layouts: Sequence[Layout], name: str
    ) -> Result:
        if not isinstance(result, Tensor):
            if isinstance(result, tuple | list):
                raise UnsupportedError(f"memory cannot be predicted: {name} gives nested lists")
            return Result(None, None, result)
        layout = self.layout(result)
        storage = result.untyped_storage()
        for index, (argument, before) in enumerate(zip(arguments, layouts, strict=True)):
            if result is argument:
                return Result(None, index, None if layout is before else layout)
            if argument.untyped_storage()._cdata == storage._cdata:
                return Result(layout, index, None)
        return Result(layout, None, storage.nbytes())


def _replace(values: Any, replacements: Any) -> Any:
    """``values`` with each tensor in them, in order, replaced by the next replacement."""
    if isinstance(values, Tensor):
        return next(replacements)
    if type(values) in (tuple, list):
        return [_replace(value, replacements) for value in values]
    return values
