"""The ways to execute a case, on tiny modules: had as asked, or not supported."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from paca_bench.measure.execution import (
    Recompiled,
    autocasting,
    executing,
    in_memory_format,
    no_recompilation,
    not_had,
)
from paca_bench.measure.kernel import kernel_path
from paca_bench.measure.prepare import prepare
from paca_bench.record import Case
from tests.complexity.test_memory import make_case


def case(**changes: object) -> Case:
    return make_case("vit", level="layer", mode="forward", **changes)


def test_a_kernel_is_the_one_that_was_asked_for_and_no_other_afterwards() -> None:
    for kernel, path in (("math", "math"), ("flash", "flash (CPU)"), ("auto", "flash (CPU)")):
        one = prepare(case(kernel=kernel))
        with executing(one.case):
            assert kernel_path(one.module, one.x, "forward") == path
    assert kernel_path(one.module, one.x, "forward") == "flash (CPU)"


def test_a_kernel_that_a_device_has_not_is_known_as_such() -> None:
    q = torch.randn(1, 1, 4, 8)
    with executing(case(kernel="efficient")), pytest.raises(RuntimeError) as raised:
        scaled_dot_product_attention(q, q, q)
    assert "--kernel auto" in not_had(raised.value)


@pytest.mark.parametrize("error", [ValueError("shapes"), RuntimeError("no kernel image")])
def test_other_errors_are_the_mechanisms_own(error: Exception) -> None:
    assert not_had(error) == ""


def test_a_missing_compiler_is_found_behind_the_error_that_hides_it() -> None:
    class InvalidCxxCompiler(RuntimeError):
        pass

    error = RuntimeError("backend='inductor' raised")
    error.__cause__ = InvalidCxxCompiler("none of these work")
    assert "install g++" in not_had(error)


def test_channels_last_is_that_of_images_and_of_weights() -> None:
    module, x = in_memory_format(
        make_case("vit", level="host", mode="forward", memory_format="channels_last"),
        nn.Conv2d(3, 4, 3),
        torch.randn(2, 3, 8, 8),
    )
    assert x.is_contiguous(memory_format=torch.channels_last)
    weight = next(module.parameters())
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_autocast_covers_the_products_and_keeps_the_weights() -> None:
    module = nn.Linear(4, 4)
    cast = autocasting(case(autocast="bfloat16"), module)
    assert cast(torch.randn(2, 4)).dtype is torch.bfloat16
    assert module.weight.dtype is torch.float32
    assert autocasting(case(), module) is module


@pytest.mark.parametrize("value", ["on", "off"])
def test_tf32_is_set_within_and_as_it_was_afterwards(value: str) -> None:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    with executing(case(tf32=value)):
        assert [backend.allow_tf32 for backend in backends] == [value == "on"] * 2
    assert [backend.allow_tf32 for backend in backends] == before


def test_compiling_again_while_timing_is_an_error_with_the_count() -> None:
    counts = iter([3, 5])
    with (
        pytest.raises(Recompiled, match="compiled 2 graphs again"),
        no_recompilation(case(compile="default"), lambda: next(counts)),
    ):
        pass


def test_a_case_that_is_not_compiled_is_not_asked() -> None:
    with no_recompilation(case(), lambda: pytest.fail("asked")):
        pass


def test_a_compiled_call_gives_what_the_eager_one_does_and_counts_its_graphs() -> None:
    """The smallest module there is, through the backend that needs no C++ compiler."""
    from paca_bench.measure.execution import compiled_graphs

    torch._dynamo.reset()
    module = nn.Linear(4, 4)
    quick = torch.compile(module, backend="eager")
    x = torch.randn(2, 4)
    before = compiled_graphs()
    assert torch.equal(quick(x), module(x))
    assert compiled_graphs() == before + 1
    with no_recompilation(case(compile="default")):
        quick(x)
    with pytest.raises(Recompiled), no_recompilation(case(compile="default")):
        quick(torch.randn(2, 2, 4))
