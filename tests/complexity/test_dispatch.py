from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from paca_bench.complexity import operators
from paca_bench.complexity.dispatch import count, count_call
from paca_bench.complexity.operators import Work, register_counter
from paca_bench.errors import CountError

aten = torch.ops.aten


def heads(tokens: int, dim: int = 8, value_dim: int | None = None) -> Tensor:
    return torch.randn(2, 3, tokens, value_dim or dim)


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    scores = q @ k.transpose(-2, -1)
    return (scores if mask is None else scores + mask).softmax(-1) @ v


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (torch.mm, [(4, 5), (5, 6)], 4 * 5 * 6),
        (torch.mv, [(4, 5), (5,)], 4 * 5),
        (torch.dot, [(7,), (7,)], 7),
        (torch.bmm, [(2, 4, 5), (2, 5, 6)], 2 * 4 * 5 * 6),
        (torch.addmm, [(6,), (4, 5), (5, 6)], 4 * 5 * 6),
        (torch.addmv, [(4,), (4, 5), (5,)], 4 * 5),
        (torch.baddbmm, [(2, 4, 6), (2, 4, 5), (2, 5, 6)], 2 * 4 * 5 * 6),
        (torch.addbmm, [(4, 6), (2, 4, 5), (2, 5, 6)], 2 * 4 * 5 * 6),
        (torch.matmul, [(2, 3, 4, 5), (5, 6)], 6 * 4 * 5 * 6),
        (torch.matmul, [(2, 1, 4, 5), (3, 5, 6)], 6 * 4 * 5 * 6),
        (F.linear, [(2, 3, 5), (6, 5)], 6 * 5 * 6),
        (F.linear, [(2, 3, 5), (6, 5), (6,)], 6 * 5 * 6),
        (lambda a, b: torch.einsum("bnc,bmc->bnm", a, b), [(2, 7, 4), (2, 5, 4)], 2 * 7 * 5 * 4),
        (F.conv1d, [(2, 3, 9), (4, 3, 3)], 2 * 4 * 7 * 3 * 3),
        (F.conv2d, [(2, 3, 9, 7), (4, 3, 3, 3)], 2 * 4 * 7 * 5 * 27),
        (lambda x, w: F.conv2d(x, w, padding=1), [(1, 3, 9, 7), (4, 3, 3, 3)], 4 * 63 * 27),
        (lambda x, w: F.conv2d(x, w, stride=2), [(1, 3, 9, 7), (4, 3, 3, 3)], 4 * 12 * 27),
        (lambda x, w: F.conv2d(x, w, groups=2), [(1, 4, 9, 7), (6, 2, 3, 3)], 6 * 35 * 18),
        (lambda x, w: F.conv2d(x, w, groups=4), [(1, 4, 9, 7), (4, 1, 3, 3)], 4 * 35 * 9),
        (F.conv_transpose2d, [(1, 3, 5, 4), (3, 6, 2, 2)], 3 * 20 * 6 * 4),
        (
            lambda x, w: F.conv_transpose2d(x, w, stride=2, groups=3),
            [(1, 3, 5, 4), (3, 2, 2, 2)],
            3 * 20 * 2 * 4,
        ),
    ],
)
def test_matrix_like_work(function: Any, shapes: list[tuple[int, ...]], macs: int) -> None:
    counts = count_call(function, *(torch.randn(s) for s in shapes))

    assert counts.macs == macs
    assert counts.flops == 2 * macs
    assert sum(counts.by_operator.values()) == sum(counts.by_category.values()) == macs


@pytest.mark.parametrize(
    ("function", "shapes", "elements"),
    [
        (torch.mm, [(4, 5), (5, 6)], 20 + 30 + 24),
        (torch.mv, [(4, 5), (5,)], 20 + 5 + 4),
        (torch.addmm, [(6,), (4, 5), (5, 6)], 20 + 30 + 24),
        (torch.baddbmm, [(2, 4, 6), (2, 4, 5), (2, 5, 6)], 40 + 60 + 48),
        (F.linear, [(2, 3, 5), (6, 5), (6,)], 30 + 30 + 36),
        (lambda x, w: F.conv2d(x, w, groups=2), [(2, 4, 9, 7), (6, 2, 3, 3)], 504 + 108 + 420),
        (F.scaled_dot_product_attention, [(3, 5, 8), (3, 7, 8), (3, 7, 4)], 120 + 168 + 84 + 60),
        (
            F.scaled_dot_product_attention,
            [(3, 5, 8), (3, 7, 8), (3, 7, 8), (1, 5, 7)],
            2 * 120 + 2 * 168 + 35,
        ),
        (explicit_attention, [(3, 5, 8), (3, 7, 8), (3, 7, 8)], 2 * 120 + 2 * 168 + 2 * 105),
        # The one matrix that all products of a batch share is read once.
        (lambda a, b: a @ b.expand(3, -1, -1), [(3, 4, 5), (5, 6)], 60 + 30 + 72),
        (lambda x, y: F.layer_norm((x + y).softmax(-1), (4,)), [(3, 4), (3, 4)], 0),
        (lambda x: x.transpose(0, 1).contiguous(), [(3, 4)], 0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moved_bytes(
    function: Any, shapes: list[tuple[int, ...]], elements: int, dtype: torch.dtype
) -> None:
    counts = count_call(function, *(torch.zeros(s, dtype=dtype) for s in shapes))

    assert counts.moved_bytes == elements * dtype.itemsize
    assert sum(counts.bytes_by_operator.values()) == counts.moved_bytes
    assert sum(counts.bytes_by_category.values()) == counts.moved_bytes


@pytest.mark.parametrize(
    ("function", "shape", "operations"),
    [
        (lambda x: x + 1, (3, 4), 12),
        (lambda x: x.add_(1), (3, 4), 12),
        (lambda x: x + torch.ones(5, 1, 1), (3, 4), 60),
        (F.gelu, (3, 4), 12),
        (lambda x: x.softmax(-1), (3, 4), 12),
        (lambda x: F.layer_norm(x, (4,)), (3, 4), 12),
        (lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)), (3, 4), 12),
        (lambda x: F.batch_norm(x, None, None, training=True), (3, 4), 12),
        (lambda x: x.sum(), (3, 4), 12),
        (lambda x: x.mean(dim=1), (3, 4), 12),
        (lambda x: F.adaptive_avg_pool2d(x, 2), (1, 3, 6, 6), 108),
        (lambda x: F.max_pool2d(x, 2), (1, 3, 6, 6), 108),
        (lambda x: F.interpolate(x, scale_factor=2), (1, 3, 2, 2), 48),
        (lambda x: x.view(-1)[None].expand(2, -1).transpose(0, 1).contiguous(), (3, 4), 0),
        (lambda x: torch.cat([F.pad(x, (1, 1)).roll(1, 0), x.new_zeros(1, 6)]), (3, 4), 0),
    ],
)
def test_elementwise_convention(function: Any, shape: tuple[int, ...], operations: int) -> None:
    counts = count_call(function, torch.rand(shape))

    assert counts.elementwise_ops == operations
    assert counts.macs == 0


PATHS = {
    "torch's choice": F.scaled_dot_product_attention,
    "explicit": explicit_attention,
    "flash (CPU)": aten._scaled_dot_product_flash_attention_for_cpu,
    "math": aten._scaled_dot_product_attention_math,
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("path", PATHS)
def test_attention_counts_the_same_on_every_path(path: str, device: str) -> None:
    q, k, v = (heads(n).to(device) for n in (5, 7, 7))

    counts = count_call(PATHS[path], q, k, v)

    assert counts.macs == 2 * 3 * 5 * 7 * (8 + 8)
    assert counts.elementwise_ops == 2 * 3 * 5 * 7


@pytest.mark.parametrize(
    "operator",
    [
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    ],
)
def test_fused_attention_of_gpus(operator: str) -> None:
    q, k, v = (heads(n).to("meta") for n in (5, 7, 7))
    more: dict[str, list[Any]] = {
        "_scaled_dot_product_efficient_attention": [None, False],
        "_scaled_dot_product_cudnn_attention": [None, False],
    }

    counts = count_call(lambda: getattr(aten, operator)(q, k, v, *more.get(operator, [])))

    assert counts.by_operator == {f"aten.{operator}": 2 * 3 * 5 * 7 * 16}
    assert counts.elementwise_ops == 2 * 3 * 5 * 7


def test_masked_attention_adds_the_mask_on_every_path() -> None:
    q, k, v = (heads(n) for n in (5, 7, 7))
    mask = torch.zeros(2, 3, 5, 7)

    fused = count_call(lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    explicit = count_call(explicit_attention, q, k, v, mask)

    assert (fused.macs, fused.elementwise_ops) == (explicit.macs, explicit.elementwise_ops)
    assert fused.elementwise_ops == 2 * (2 * 3 * 5 * 7)


def test_values_may_be_wider_than_keys() -> None:
    counts = count_call(F.scaled_dot_product_attention, heads(5), heads(7), heads(7, value_dim=4))

    assert counts.macs == 2 * 3 * 5 * 7 * (8 + 4)


def test_fused_attention_on_the_cpu_is_not_zero() -> None:
    """Some releases of torch's own FlopCounterMode give 0 here."""
    q, k, v = (heads(64) for _ in range(3))

    def fused_outside_inference_mode() -> Tensor:
        # Where gradients are recorded, torch has picked the kernel before anyone can look.
        with torch.inference_mode(False), torch.enable_grad():
            return F.scaled_dot_product_attention(q, k, v)

    counts = count_call(fused_outside_inference_mode)

    assert counts.by_operator == {
        "aten._scaled_dot_product_flash_attention_for_cpu": 2 * 3 * 64 * 64 * 16
    }


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(6, 4), (2, 5, 6)),
        (nn.Linear(6, 4, bias=False), (2, 5, 6)),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 7)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (2, 4, 5, 7)),
        (nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 2)), (2, 5, 6)),
    ],
)
def test_backward_is_twice_the_forward(module: nn.Module, shape: tuple[int, ...]) -> None:
    counts = count(module, shape, backward=True)

    assert counts.backward is not None
    assert counts.backward.macs == counts.backward_macs == 2 * counts.macs > 0
    assert counts.backward.moved_bytes == 2 * counts.moved_bytes > 0
    assert counts.backward.by_module == {k: 2 * n for k, n in counts.by_module.items()}
    assert counts.backward.by_category == {k: 2 * n for k, n in counts.by_category.items()}


class SelfAttend(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x)


def test_backward_of_attention_on_the_meta_device() -> None:
    counts = count(SelfAttend(), (1, 2, 9, 4), backward=True)

    assert counts.backward_macs == 2 * counts.macs == 2 * (2 * 2 * 9 * 9 * 4)


@pytest.mark.parametrize(
    ("frozen", "input_gradient", "products"),
    [(False, True, 2), (True, True, 1), (False, False, 1), (True, False, 0)],
)
@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv2d(6, 4, 1)])
def test_only_the_gradients_that_are_wanted_count(
    layer: nn.Module, frozen: bool, input_gradient: bool, products: int
) -> None:
    layer.requires_grad_(not frozen)
    shape = (5, 6) if isinstance(layer, nn.Linear) else (1, 6, 5, 1)

    counts = count(layer, shape, backward=True, input_gradient=input_gradient)

    assert counts.backward is not None
    assert counts.backward.macs == products * counts.macs
    assert counts.backward.moved_bytes == products * counts.moved_bytes
    # The gradient of the bias is a sum over all of the result's.
    assert counts.backward.elementwise_ops == (0 if frozen else 5 * 4)


def test_forward_is_the_same_with_and_without_backward() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.LayerNorm(9), nn.Linear(9, 5))

    alone = count(module, (2, 3, 5, 5))

    assert replace(count(module, (2, 3, 5, 5), backward=True), backward=None) == alone
    assert alone.backward_macs is None


def test_elementwise_operations_of_a_backward_pass() -> None:
    module = nn.Sequential(nn.GELU(), nn.LayerNorm(4), nn.Softmax(-1))

    counts = count(module, (3, 4), backward=True)

    # Each is one operation an element, and the norm's parameters are not counted beside it.
    assert counts.elementwise_ops == 3 * 12
    assert counts.backward is not None
    assert counts.backward.elementwise_ops == 3 * 12


class Branches(nn.Module):
    """Two results, and a layer that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.left, self.right, self.idle = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = self.shared(x)
        return {"maps": [self.left(x), self.right(x)], "name": "branches"}


def test_backward_starts_from_all_results() -> None:
    counts = count(Branches(), (3, 4), backward=True)

    assert counts.backward is not None
    assert counts.backward.by_module == dict.fromkeys(("shared", "left", "right"), 2 * 3 * 16)


class Recomputed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            x = self.layer(x)
            return F.scaled_dot_product_attention(x, x, x)

        return checkpoint(attend, x, use_reentrant=False)


def test_what_a_checkpoint_computes_again_is_work_of_the_backward_pass() -> None:
    counts = count(Recomputed(), (1, 3, 5, 4), backward=True)

    assert counts.macs == 15 * 16 + 3 * 2 * 25 * 4
    assert counts.backward_macs == 3 * counts.macs


def test_by_module_names_the_innermost_module() -> None:
    shared = nn.Linear(6, 6)
    module = nn.Sequential(shared, nn.Sequential(nn.GELU(), nn.Linear(6, 3)), nn.Identity())

    counts = count(module, (5, 6))

    assert counts.by_module == {"0": 5 * 36, "1.1": 5 * 18}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_real_weights_are_neither_moved_nor_used() -> None:
    module = nn.Linear(6, 4)
    before = {name: t.clone() for name, t in module.state_dict().items()}

    count(module, (10**9, 6), backward=True)

    assert all(torch.equal(t, before[name]) for name, t in module.state_dict().items())
    assert all(p.device.type == "cpu" and p.grad is None for p in module.parameters())


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(CountError, match=r"aten\._cdist_forward.*register_counter\("):
        count_call(torch.cdist, torch.ones(3, 4), torch.ones(2, 4))


@pytest.fixture
def _own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "_rules", dict(operators._rules))


def pairs(args: Any, kwargs: Any, out: Tensor) -> Work:
    """Of ``aten._cdist_forward``."""
    return Work(macs=out.numel() * args[0].shape[-1])


class Distances(nn.Module):
    """Between points that are parameters and those of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.ones(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(self.points, x)


@pytest.mark.usefixtures("_own_rules")
def test_an_unknown_operator_of_the_backward_pass_is_an_error() -> None:
    register_counter("aten._cdist_forward", category="distance")(pairs)

    assert count(Distances(), (3, 4)).macs == 2 * 3 * 4
    with pytest.raises(CountError, match=r"aten\._cdist_backward.*register_counter\("):
        count(Distances(), (3, 4), backward=True)


@pytest.mark.usefixtures("_own_rules")
def test_a_registered_counter_may_leave_the_bytes_to_its_tensors() -> None:
    register_counter("aten._cdist_forward", category="distance")(pairs)

    counts = count_call(torch.cdist, torch.ones(3, 4), torch.ones(2, 4))

    assert counts.bytes_by_category == {"distance": 4 * (3 * 4 + 2 * 4 + 3 * 2)}


@pytest.mark.usefixtures("_own_rules")
def test_a_registered_counter_without_products_moves_nothing() -> None:
    def all_pairs(args: Any, kwargs: Any, out: Tensor) -> Work:
        return Work(elementwise_ops=out.numel())

    register_counter("aten._cdist_forward", category="distance")(all_pairs)

    counts = count_call(torch.cdist, torch.ones(3, 4), torch.ones(2, 4))

    assert (counts.elementwise_ops, counts.moved_bytes) == (6, 0)


@pytest.mark.usefixtures("_own_rules")
def test_a_counter_can_be_registered_once() -> None:
    register_counter("aten._cdist_forward", category="distance")(pairs)

    counts = count_call(torch.cdist, torch.ones(3, 4), torch.ones(2, 4))

    assert counts.by_category == {"distance": 3 * 2 * 4}
    with pytest.raises(CountError, match=r"_cdist_forward has a counter already"):
        register_counter("aten._cdist_forward", category="distance")(pairs)


@pytest.mark.parametrize("activation", [nn.ELU, nn.SELU, nn.Softplus, nn.Mish])
def test_the_gradient_of_a_pointwise_operator_is_pointwise(activation: type[nn.Module]) -> None:
    """torch tags ``elu`` as pointwise, and not ``elu_backward``."""
    counts = count(activation(), (4, 5), backward=True)
    assert counts.backward is not None
    assert counts.backward.macs == 0
    assert counts.backward.elementwise_ops >= 20
