"""Learned clusters over an image: each one's map, and the hard segmentation. No torch.

A stage of PaCa has an assignment z ``[M, N]``: row m holds the weights of cluster m over the
stage's N tokens, a softmax, so each row sums to 1.

In the record of a trained host, ``details["clusters"]`` has

===============  ==================================================================
key              value
===============  ==================================================================
``seed``         of the training that made the weights: the first of the case
``images``       a list of images, each with
``.name``        its class
``.height``      of the kept ``pixels``, and ``.width``: at most ``KEPT_SIDE``
``.pixels``      packed uint8 ``[height, width, 3]``
``.stages``      a list of stages, each with ``stage`` (from 1), ``grid`` (H, W),
                 ``num_clusters`` (M), and where M is not 0
``..strongest``  packed uint16 ``[N]``: the cluster of largest weight, token by token
``..indices``    packed uint16 ``[K]``: the clusters whose maps are kept
``..peaks``      packed float32 ``[K]``: a cluster's largest weight
``..spreads``    packed float32 ``[K]``: see ``StageClusters``
``..levels``     packed uint8 ``[K, N]``: weights, 255 for the cluster's largest
===============  ==================================================================

Packed is the array's little-endian bytes, zlib-compressed, in base64.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paca_bench.errors import StoreError

Grid = tuple[int, int]
Floats = NDArray[np.float32] | NDArray[np.float64]

KEPT_IMAGES = 4
KEPT_SIDE = 64
# Of what a record keeps, before compression; in base64 it is at most a third more.
KEPT_BYTES = 66_000


@dataclass(frozen=True, eq=False)
class StageClusters:
    """What one stage's clusters are on one image; all arrays are empty where M = 0.

    Attributes:
        stage: from 1.
        grid: (H, W) of its tokens.
        num_clusters: M.
        strongest: ``[N]``, the cluster m of largest z[m, n] for each token n; of equal ones
            the first. It is the hard segmentation.
        indices: ``[K]``, the clusters that have a map: all of them, or the first by the
            number of tokens they are strongest for; of equal ones the lower index first.
        peaks: ``[K]``, the largest weight of each.
        spreads: ``[K]``, over how many tokens each spreads: exp of the entropy of its
            weights, from 1 (one token) to N (all alike).
        levels: uint8 ``[K, N]``, the weights as fractions of the cluster's peak, times 255.
    """

    stage: int
    grid: Grid
    num_clusters: int
    strongest: NDArray[np.int64]
    indices: NDArray[np.int64]
    peaks: NDArray[np.float64]
    spreads: NDArray[np.float64]
    levels: NDArray[np.uint8]

    @property
    def tokens(self) -> NDArray[np.int64]:
        """``[K]``: the number of tokens that each kept cluster is strongest for."""
        counts = np.bincount(self.strongest, minlength=self.num_clusters)
        return counts[self.indices]


@dataclass(frozen=True, eq=False)
class ImageClusters:
    """One image (uint8 ``[height, width, 3]``) and the clusters of every stage on it."""

    name: str
    pixels: NDArray[np.uint8]
    stages: tuple[StageClusters, ...]


def stage_clusters(
    stage: int, grid: Grid, weights: Floats | None, keep: int | None = None
) -> StageClusters:
    """The clusters of one stage from its assignment ``[M, N]``, or None where it has none.

    ``keep`` limits the number of maps, not the clusters that compete in the segmentation.
    """
    if weights is None:
        weights = np.empty((0, math.prod(grid)))
    weights = weights.astype(np.float64)
    num_clusters = len(weights)
    strongest = weights.argmax(axis=0) if num_clusters else np.empty(0, dtype=np.int64)
    counts = np.bincount(strongest, minlength=num_clusters)
    indices = np.argsort(-counts, kind="stable")[:keep]
    chosen = weights[indices]
    # An empty array has no maximum, hence the initial one.
    peaks = chosen.max(axis=1, initial=0.0)
    # A weight that underflowed to 0 adds nothing to an entropy.
    logs = np.log(chosen, out=np.zeros_like(chosen), where=chosen > 0)
    return StageClusters(
        stage=stage,
        grid=grid,
        num_clusters=num_clusters,
        strongest=strongest,
        indices=indices,
        peaks=peaks,
        spreads=np.exp(-(chosen * logs).sum(axis=1)),
        levels=np.rint(255 * chosen / peaks[:, None]).astype(np.uint8),
    )


@dataclass(frozen=True)
class Allowance:
    """What a record may keep: ``images``, and of each the maps of ``maps`` clusters a stage."""

    images: int
    maps: int


def allowance(height: int, width: int, stages: Sequence[tuple[Grid, int]]) -> Allowance | None:
    """How much fits into ``KEPT_BYTES``, for images of a size and stages (grid, M).

    Whole images first, at most ``KEPT_IMAGES``; if not even one fits, fewer maps of one; None
    if that does not fit either.
    """
    sides = min(height, KEPT_SIDE) * min(width, KEPT_SIDE)
    tokens = sum(math.prod(grid) for grid, clusters in stages if clusters)
    fixed = 3 * sides + 2 * tokens
    most = max((clusters for _, clusters in stages), default=0)
    whole = fixed + sum(math.prod(grid) * clusters for grid, clusters in stages)
    if not most or fixed > KEPT_BYTES:
        return None
    if whole > KEPT_BYTES:
        return Allowance(1, (KEPT_BYTES - fixed) // tokens)
    return Allowance(min(KEPT_BYTES // whole, KEPT_IMAGES), most)


def image_to_json(image: ImageClusters) -> dict[str, Any]:
    """JSON values; see the module's table."""
    height, width = image.pixels.shape[:2]
    return {
        "name": image.name,
        "height": height,
        "width": width,
        "pixels": _pack(image.pixels, "u1"),
        "stages": [_stage_to_json(stage) for stage in image.stages],
    }


def _stage_to_json(stage: StageClusters) -> dict[str, Any]:
    data: dict[str, Any] = {
        "stage": stage.stage,
        "grid": list(stage.grid),
        "num_clusters": stage.num_clusters,
    }
    if stage.num_clusters:
        data |= {
            "strongest": _pack(stage.strongest, "u2"),
            "indices": _pack(stage.indices, "u2"),
            "peaks": _pack(stage.peaks, "f4"),
            "spreads": _pack(stage.spreads, "f4"),
            "levels": _pack(stage.levels, "u1"),
        }
    return data


def image_from_json(data: Mapping[str, Any]) -> ImageClusters:
    """The inverse of ``image_to_json``, at the precision that was kept.

    Raises:
        StoreError: a key is missing, or a value damaged.
    """
    try:
        shape = (int(data["height"]), int(data["width"]), 3)
        pixels = _unpack(data["pixels"], "u1", shape)
        stages = tuple(_stage_from_json(stage) for stage in data["stages"])
        return ImageClusters(str(data["name"]), pixels, stages)
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise StoreError(
            f"a record's learned clusters are damaged ({type(error).__name__}: {error}); take "
            f"'clusters' out of its details, or measure the case again"
        ) from error


def _stage_from_json(data: Mapping[str, Any]) -> StageClusters:
    height, width = (int(side) for side in data["grid"])
    stage, grid, num_clusters = int(data["stage"]), (height, width), int(data["num_clusters"])
    if not num_clusters:
        return stage_clusters(stage, grid, None)
    indices = _unpack(data["indices"], "u2", (-1,)).astype(np.int64)
    strongest = _unpack(data["strongest"], "u2", (height * width,)).astype(np.int64)
    if max(indices.max(initial=0), strongest.max()) >= num_clusters:
        raise ValueError(f"a cluster beyond the {num_clusters} of stage {stage}")
    return StageClusters(
        stage=stage,
        grid=grid,
        num_clusters=num_clusters,
        strongest=strongest,
        indices=indices,
        peaks=_unpack(data["peaks"], "f4", indices.shape).astype(np.float64),
        spreads=_unpack(data["spreads"], "f4", indices.shape).astype(np.float64),
        levels=_unpack(data["levels"], "u1", (len(indices), height * width)),
    )


def _pack(array: NDArray[Any], dtype: str) -> str:
    content = np.ascontiguousarray(array, dtype=f"<{dtype}").tobytes()
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _unpack(text: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    content = zlib.decompress(base64.b64decode(text, validate=True))
    return np.frombuffer(content, dtype=f"<{dtype}").reshape(shape)
