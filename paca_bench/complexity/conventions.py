"""Ours for a published row, by each convention that published tables count with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from paca_bench.complexity.cost import CostSum
from paca_bench.complexity.fvcore_extra import extra_flops, fvcore_elements
from paca_bench.complexity.published import PublishedRow
from paca_bench.complexity.upernet import upernet_elements, upernet_parts
from paca_bench.models.registry import create_model, get_model, model_cost
from paca_bench.models.segmenter import create_segmenter, segmenter_cost

IMAGENET_CLASSES = 1000
ADE20K_CLASSES = 150
SEGMENTER_CHANNELS = 256

MACS = "MACs"
NO_SAME_PADDING = "no same-pad"
FVCORE = "fvcore"
# Simplest first.
CONVENTIONS = {
    MACS: "multiply-accumulates of linear layers, convolutions and products of tensors",
    NO_SAME_PADDING: "those without the clustering teacher's depthwise convolutions, whose "
    "padding='same' traces as an operator that fvcore has no rule for",
    FVCORE: "those, plus what fvcore adds per element: 5 for a layer norm, 2 for a batch norm, "
    "4 for a bilinear interpolation, 1 for an adaptive pooling",
}


def row_cost(row: PublishedRow) -> CostSum:
    """The closed-form cost of the model that the row describes, for one image."""
    size = {"height": row.input, "width": row.input}
    options = _options(row.clusters)
    if row.head is None:
        return model_cost(row.model, num_classes=IMAGENET_CLASSES, **size, **options)
    if row.head == "paca":
        return segmenter_cost(row.model, ADE20K_CLASSES, **size, **options)
    stages = get_model(row.model).stages(**size, **options)
    backbone = model_cost(row.model, num_classes=0, **size, **options)
    return CostSum.of([*backbone.parts, *upernet_parts(stages, ADE20K_CLASSES)])


def counts(row: PublishedRow) -> Iterator[tuple[str, int]]:
    """Convention -> what it makes of the row's model; those that differ, simplest first.

    fvcore's comes last, since its elements are found by tracing, which takes a moment.
    """
    cost = row_cost(row)
    yield MACS, cost.macs
    same_padded = sum(macs for term, macs in cost.terms.items() if ".mixer.depthwise" in term)
    if same_padded:
        yield NO_SAME_PADDING, cost.macs - same_padded
    extra = _fvcore_extra(row.model, row.input, row.clusters, row.head)
    yield FVCORE, cost.macs - same_padded + extra


@cache
def _fvcore_extra(model: str, side: int, clusters: tuple[int, ...] | None, head: str | None) -> int:
    options = _options(clusters)

    def build() -> Any:
        if head == "paca":
            return create_segmenter(model, ADE20K_CLASSES, img_size=side, **options)
        return create_model(model, num_classes=0, img_size=side, **options)

    total = extra_flops(fvcore_elements(build, (1, 3, side, side)))
    stages = get_model(model).stages(height=side, width=side, **options) if head else []
    if head == "paca":
        # The official head also resizes the finest map, onto its own grid; ours does not.
        (height, width), _ = stages[0]
        total += extra_flops({"bilinear": SEGMENTER_CHANNELS * height * width})
    elif head == "upernet":
        total += extra_flops(upernet_elements(stages))
    return total


def _options(clusters: tuple[int, ...] | None) -> dict[str, Any]:
    return {} if clusters is None else {"clusters": clusters}
