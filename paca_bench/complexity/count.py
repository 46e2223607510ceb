"""The count of a case that two independent ways agree on."""

from __future__ import annotations

import torch

from paca_bench.complexity.dispatch import Counts, count
from paca_bench.errors import DisagreementError
from paca_bench.models.subject import build_subject, case_cost, input_shape
from paca_bench.record import Case


def agreed_counts(case: Case) -> Counts:
    """The forward counts of the case's module for one image, by dispatch.

    Raises:
        CountError: an operator has no counter.
        DisagreementError: the closed form gives another number.
        SpecError, UnsupportedError: the case cannot be built.
    """
    with torch.device("meta"):
        module = build_subject(case)
    counts = count(module, (1, *input_shape(case)[1:]))
    cost = case_cost(case)
    # A model of another library has no closed form to compare with.
    expected = counts.macs if cost is None else cost.macs
    if counts.macs != expected:
        raise DisagreementError(
            f"{case.id}: the closed form gives {expected} multiply-accumulates, counting "
            f"operators gives {counts.macs}; correct the cost of {case.mechanism!r}, or register "
            f"a counter for an operator of its own"
        )
    return counts
