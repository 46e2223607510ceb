"""What counts as a regression: ``latency>5%,macs>0,memory>1%``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from paca_bench.axes import shown, suggest
from paca_bench.errors import SpecError

LATENCY = "latency"
DEFAULT_FAIL_ON = "latency>5%,macs>0,params>0,memory>1%"

# Name in a rule -> the metric of a record, all of them deterministic, in order of display.
STATIC_METRICS: Mapping[str, str] = {
    "macs": "macs",
    "params": "params",
    "memory": "predicted_peak_memory_bytes",
    "backward_macs": "backward_macs",
    "moved_bytes": "moved_bytes",
    "elementwise_ops": "elementwise_ops",
}
# Metric group of a record -> the names whose comparison needs it.
GROUP_NAMES: Mapping[str, tuple[str, ...]] = {
    "complexity": ("macs", "params", "backward_macs", "moved_bytes", "elementwise_ops"),
    "latency": (LATENCY,),
    "memory": ("memory",),
}

_HELP = "write METRIC>PERCENT such as latency>5%, METRIC>0 or, of a count, METRIC!=0"
_LARGEST_PERCENT = 1e6


@dataclass(frozen=True, slots=True)
class Rule:
    """One metric's limit: a relative increase beyond ``threshold`` is a regression.

    ``either_way`` makes any difference one, also a decrease (``macs!=0``).
    """

    name: str
    threshold: float
    either_way: bool = False

    def __str__(self) -> str:
        if self.either_way:
            return f"{self.name}!=0"
        return f"{self.name}>{100 * self.threshold:.6g}%" if self.threshold else f"{self.name}>0"

    def is_broken(self, base: float, new: float) -> bool:
        """True if going from ``base`` to ``new`` is a regression."""
        if self.either_way:
            return new != base
        return new - base > self.threshold * base


def parse_rules(text: str) -> dict[str, Rule]:
    """Name -> rule, from a list by comma; only what is named there can fail.

    Raises:
        SpecError: a metric does not exist, is named twice, or its limit is not understood.
    """
    rules: dict[str, Rule] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        rule = _parse_rule(item)
        if rule.name in rules:
            raise SpecError(f"--fail-on names {rule.name} twice; give one limit a metric")
        rules[rule.name] = rule
    if not rules:
        raise SpecError(f"--fail-on is empty; {_HELP}")
    return rules


def _parse_rule(item: str) -> Rule:
    match = re.fullmatch(r"([a-z_]+)\s*(>|!=)\s*([0-9]{1,10}(?:\.[0-9]{1,10})?)(%?)", item)
    if not match:
        raise SpecError(f"--fail-on {shown(item)} is not understood; {_HELP}")
    name, sign, number, percent = match.groups()
    names = (LATENCY, *STATIC_METRICS)
    if name not in names:
        raise SpecError(f"--fail-on {shown(item)}: no metric {name}; {suggest(name, names)}")
    limit = float(number)
    if (limit and not percent) or limit > _LARGEST_PERCENT:
        raise SpecError(
            f"--fail-on {shown(item)}: a limit is 0 or a percentage up to "
            f"{_LARGEST_PERCENT:.0f}%, such as {name}>5%"
        )
    if sign == "!=" and (limit or name == LATENCY):
        raise SpecError(
            f"--fail-on {shown(item)}: != takes 0, of a count; no two latencies are equal"
        )
    return Rule(name, limit / 100, sign == "!=")
