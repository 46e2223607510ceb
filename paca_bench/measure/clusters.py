"""What a record keeps of the clusters that a host has learned: maps of a few test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from paca_bench.attention.paca import PatchToClusterAttention
from paca_bench.clusters import (
    KEPT_IMAGES,
    KEPT_SIDE,
    ImageClusters,
    allowance,
    image_to_json,
    stage_clusters,
)
from paca_bench.models.cluster_maps import assignments, has_clusters
from paca_bench.models.geometry import stage_grid
from paca_bench.models.host import Host


def kept_clusters(
    host: nn.Module,
    images: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    prepare: Callable[[Tensor], Tensor],
) -> list[dict[str, Any]]:
    """The first image of each of the first classes, and the clusters on it.

    It draws no random numbers and leaves the host as it is. What is kept is small enough for
    a line of a record, see ``paca_bench.clusters.allowance``.

    Args:
        host: trained, in evaluation mode.
        images: uint8 ``[n, 3, H, W]``.
        labels: ``[n]``.
        classes: their names.
        prepare: images to what the host takes.

    Returns:
        One ``image_to_json`` an image; none where the host has no clusters, or where the
        images are too large to be kept.
    """
    if not isinstance(host, Host) or not has_clusters(host):
        return []
    height, width = images.shape[-2:]
    grids = [stage_grid(height, width, stage) for stage in range(1, len(host.stages) + 1)]
    allowed = allowance(height, width, list(zip(grids, _num_clusters(host), strict=True)))
    if allowed is None:
        return []
    chosen = first_of_each(labels, len(classes))[: allowed.images]
    pictures = images[chosen]
    weights = assignments(host, prepare(pictures))
    small = _shrink(pictures).permute(0, 2, 3, 1).cpu().numpy()
    return [
        image_to_json(
            ImageClusters(
                name=classes[int(labels[index])],
                pixels=small[position],
                stages=tuple(
                    stage_clusters(
                        stage, grid, None if z is None else z[position], keep=allowed.maps
                    )
                    for stage, (grid, z) in enumerate(zip(grids, weights, strict=True), start=1)
                ),
            )
        )
        for position, index in enumerate(chosen)
    ]


def first_of_each(labels: Tensor, num_classes: int) -> list[int]:
    """The index of the first image of each of the first classes that have one."""
    values = labels.cpu().numpy()
    found = (np.flatnonzero(values == label) for label in range(num_classes))
    return [int(indices[0]) for indices in found if len(indices)][:KEPT_IMAGES]


def _num_clusters(host: Host) -> list[int]:
    """M of each stage; 0 where there are none."""
    attentions = [blocks[-1].attention for blocks in host.stages]  # type: ignore[index]
    return [a.num_clusters if isinstance(a, PatchToClusterAttention) else 0 for a in attentions]


def _shrink(images: Tensor) -> Tensor:
    """uint8 ``[n, 3, H, W]`` with sides of at most ``KEPT_SIDE``, each pixel a mean."""
    height, width = (min(side, KEPT_SIDE) for side in images.shape[-2:])
    return adaptive_avg_pool2d(images.float(), (height, width)).round().to(torch.uint8)
