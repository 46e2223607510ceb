"""The three counts over every registered model and mechanism, at all sizes of the claim.

``python -m tests.complexity.full_agreement`` takes some ten minutes, and is not part of the
test suite, which compares a part of it. It exits with 1 if any two numbers differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from paca_bench.attention.registry import Grid, mechanisms
from paca_bench.models.geometry import GEOMETRIES
from paca_bench.models.registry import models
from paca_bench.record import Case
from tests.complexity.three_counts import (
    STAGES,
    comparisons,
    host_case,
    layer_case,
    model_case,
)

SIZES: list[Grid] = [(224, 224), (256, 192), (512, 512), (1024, 1024)]
# Beside the default options.
VARIANTS = {"paca": [{"num_clusters": 0}, {"num_clusters": 49}]}


def all_cases(size: Grid) -> Iterator[Case]:
    """Every mechanism at every stage and in every host, and every model."""
    for mechanism in sorted(mechanisms()):
        for axes in [{}, *VARIANTS.get(mechanism, [])]:
            yield from (layer_case(mechanism, stage, size, **axes) for stage in STAGES)
            yield from (host_case(mechanism, name, size, **axes) for name in GEOMETRIES)
    yield from (model_case(name, size) for name in models())


def main() -> int:
    """Compare, and say what was compared; 1 if anything differs."""
    made = different = cases = 0
    for size in SIZES:
        for case in all_cases(size):
            cases += 1
            for what, expected, found in comparisons(case):
                made += 1
                if found != expected:
                    different += 1
                    print(f"{case.id}: {what}: {found}, closed form {expected}", flush=True)
        print(f"{size[0]}x{size[1]}: {cases} cases so far, {made} comparisons, {different} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
