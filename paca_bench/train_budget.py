"""How much training each is given: ``steps:300``, ``images:50k``, ``macs:1e15``, ``time:60s``.

The unit decides what is equal between mechanisms: what they see (``steps``, ``images``), what
they compute (``macs``: a cheaper one makes more steps) or how long they take (``time``: a
faster one does). Pure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from paca_bench.axes import parse_duration, shown
from paca_bench.errors import SpecError

FLAG = "--train-budget"
# In place of an amount: what the recipe says by itself.
DEFAULT = "default"
UNITS = ("steps", "images", "macs", "time")
MAX_STEPS = 10**7
_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_HELP = f"write steps:300, images:50k, macs:1e15, time:60s or {DEFAULT}"


@dataclass(frozen=True, slots=True)
class TrainBudget:
    """An amount of training.

    Attributes:
        unit: ``steps`` (of the optimizer), ``images`` (seen, with repeats), ``macs``
            (multiply-accumulates of forward and backward passes) or ``time`` (seconds).
        amount: how many.

    Raises:
        SpecError: the unit does not exist, or there is less than one whole step or image, no
            multiply-accumulate, no time, or no end to it.
    """

    unit: str
    amount: float

    def __post_init__(self) -> None:
        least = 1 if self.unit in ("steps", "images") else 0
        countable = self.unit not in ("steps", "images") or float(self.amount).is_integer()
        if not (
            self.unit in UNITS
            and countable
            and least <= self.amount < math.inf
            and self.amount > 0
            and (self.unit != "steps" or self.amount <= MAX_STEPS)
        ):
            raise _refusal(str(self))

    @classmethod
    def parse(cls, text: object) -> TrainBudget:
        """From ``UNIT:AMOUNT``; the inverse of ``str``.

        Amounts may end in k, M, G, T or P (powers of 1000); a time is as for ``--budget``.

        Raises:
            SpecError: the text is not that, or the amount out of range.
        """
        unit, _, amount = str(text).strip().partition(":")
        if unit == "time":
            return cls(unit, parse_duration(amount, f"{FLAG} time:"))
        number = re.fullmatch(
            r"([0-9]{1,20}(?:\.[0-9]{1,20})?(?:e\+?[0-9]{1,3})?)([kMGTP]?)", amount
        )
        if unit not in UNITS or number is None:
            raise _refusal(text)
        return cls(unit, float(number[1]) * _PREFIXES[number[2]])

    def __str__(self) -> str:
        # Of a number that is whole the digits, of another the shortest that mean the same.
        amount = int(self.amount) if float(self.amount).is_integer() else self.amount
        return f"{self.unit}:{amount}{'s' if self.unit == 'time' else ''}"


def _refusal(given: object) -> SpecError:
    return SpecError(
        f"{FLAG} {shown(given)} is not an amount of training; {_HELP} "
        f"(1 to {MAX_STEPS} steps; whole images; anything above 0 of the others)"
    )


def parse_train_budget(value: object) -> str:
    """``--train-budget`` in its one form, such as ``images:50000``, or ``default``.

    Raises:
        SpecError: the value is neither.
    """
    text = value.strip() if isinstance(value, str) else value
    return DEFAULT if text == DEFAULT else str(TrainBudget.parse(text))
