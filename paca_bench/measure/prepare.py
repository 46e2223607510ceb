"""A case's module and input, ready to be called in the way that the case is executed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paca_bench.measure.execution import autocasting, compiled, in_memory_format
from paca_bench.models.checkpointing import checkpoint_blocks
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.record import Case


@dataclass(frozen=True, slots=True)
class Prepared:
    """A module in three forms that share their weights, and its input.

    Attributes:
        case: whose they are.
        plain: the module itself, for a reference in another dtype.
        eager: the same under the case's autocast.
        module: the same compiled, where the case is; this is what is measured.
        x: standard normal input. A layer's carries gradients in training, as it would
            inside a network.
    """

    case: Case
    plain: nn.Module
    eager: nn.Module
    module: nn.Module
    x: Tensor


def prepare(case: Case) -> Prepared:
    """Build the case's module, in its dtype on its device.

    Raises:
        SpecError, UnsupportedError: the case cannot be built.
    """
    dtype = getattr(torch, case.dtype)
    plain = build_subject(case).to(device=case.device, dtype=dtype)
    plain.train(case.trains)
    if case.mode == "checkpointed":
        checkpoint_blocks(plain)
    x = torch.randn(input_shape(case)).to(device=case.device, dtype=dtype)
    plain, x = in_memory_format(case, plain, x)
    x.requires_grad_(case.trains and case.level == "layer")
    eager = autocasting(case, plain)
    return Prepared(case, plain, eager, compiled(case, eager), x)
