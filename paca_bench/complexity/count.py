"""What independent ways of counting a case agree on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from paca_bench.complexity.cost import Totals
from paca_bench.complexity.dispatch import Counts, count
from paca_bench.errors import DisagreementError
from paca_bench.models.subject import build_subject, case_cost, input_shape
from paca_bench.record import Case


@dataclass(frozen=True, slots=True)
class Agreement:
    """The static counts of a case, for one image.

    Attributes:
        counts: of a forward pass, by dispatch.
        params: trainable parameters of the module.
        method: what agreed.
    """

    counts: Counts
    params: int
    method: str


def agreed_counts(case: Case) -> Agreement:
    """Count the case's module by dispatch, and compare with its closed form.

    A model of another library has no closed form, and a mechanism may have none of its
    parameters; what there is must agree exactly.

    Raises:
        CountError: an operator has no counter.
        DisagreementError: the closed form gives another number.
        SpecError, UnsupportedError: the case cannot be built.
    """
    with torch.device("meta"):
        module = build_subject(case)
    counts = count(module, (1, *input_shape(case)[1:]))
    params = sum(p.numel() for p in module.parameters())
    cost = case_cost(case)
    if cost is None:
        return Agreement(counts, params, "count of operators")
    _compare(case, cost, counts.macs, params)
    return Agreement(counts, params, "closed form and count of operators agree")


def _compare(case: Case, cost: Totals, macs: int, params: int) -> None:
    if cost.macs != macs:
        raise DisagreementError(
            f"{case.id}: the closed form gives {cost.macs} multiply-accumulates, counting "
            f"operators gives {macs}; correct the cost of {case.mechanism!r}, or register a "
            f"counter for an operator of its own"
        )
    if cost.param_terms and cost.params != params:
        raise DisagreementError(
            f"{case.id}: the closed form gives {cost.params} parameters, the module has "
            f"{params}; correct the param_expressions in the cost of {case.mechanism!r}"
        )
