"""What independent ways of counting a case agree on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from paca_bench.complexity.cost import Totals
from paca_bench.complexity.dispatch import Counts, count
from paca_bench.complexity.roofline import ITEM_BYTES
from paca_bench.errors import DisagreementError
from paca_bench.models.subject import build_subject, case_cost, input_shape
from paca_bench.record import Case


@dataclass(frozen=True, slots=True)
class Agreement:
    """The static counts of a case, for one image.

    Attributes:
        counts: of a forward and a backward pass, by dispatch.
        params: trainable parameters of the module.
        method: what agreed.
    """

    counts: Counts
    params: int
    method: str


def agreed_counts(case: Case) -> Agreement:
    """Count the case's module by dispatch, forward and backward, and compare with its closed form.

    A model of another library has no closed form, and a mechanism may have none of its
    parameters; what there is must agree exactly.

    Raises:
        CountError: an operator has no counter.
        DisagreementError: the closed form gives another number.
        SpecError, UnsupportedError: the case cannot be built.
    """
    with torch.device("meta"):
        # A batch norm in training would want more than the one image that is counted.
        module = build_subject(case).eval()
    counts = count(
        module,
        (1, *input_shape(case)[1:]),
        backward=True,
        # An image wants no gradient; tokens inside a network do.
        input_gradient=case.level == "layer",
    )
    params = sum(p.numel() for p in module.parameters())
    cost = case_cost(case)
    if cost is None:
        return Agreement(counts, params, "count of operators")
    _compare(case, cost, counts, params)
    return Agreement(counts, params, "closed form and count of operators agree")


def _compare(case: Case, cost: Totals, counts: Counts, params: int) -> None:
    backward = counts.backward
    assert backward is not None
    elements = cost.moved_elements()
    pairs = [
        ("multiply-accumulates", cost.macs, counts.macs),
        ("multiply-accumulates backward", cost.backward_macs, backward.macs),
    ]
    if elements is not None:
        pairs.append(("bytes to move", ITEM_BYTES["float32"] * elements, counts.moved_bytes))
    for what, expected, found in pairs:
        if expected != found:
            raise DisagreementError(
                f"{case.id}: the closed form gives {expected} {what}, counting operators gives "
                f"{found}; correct the cost of {case.mechanism!r}, or register a counter for an "
                f"operator of its own"
            )
    if cost.param_terms and cost.params != params:
        raise DisagreementError(
            f"{case.id}: the closed form gives {cost.params} parameters, the module has "
            f"{params}; correct the param_expressions in the cost of {case.mechanism!r}"
        )
