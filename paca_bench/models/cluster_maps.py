"""The clusters that a model or a host has learned, on images: its assignments as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paca_bench.attention.paca import PatchToClusterAttention
from paca_bench.attention.registry import Grid
from paca_bench.clusters import ImageClusters, stage_clusters
from paca_bench.data.images import read_fitted
from paca_bench.errors import CheckpointError, DataError, SpecError
from paca_bench.models.checkpoints import load_checkpoint
from paca_bench.models.geometry import stage_grid
from paca_bench.models.host import Host
from paca_bench.models.registry import Model, get_model, models

# Of ImageNet's training images, on the scale 0 to 1: what all official checkpoints expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# A page holds the map of every cluster, which grows with the image's area.
MAX_SIDE = 1024


def has_clusters(module: nn.Module) -> bool:
    """True if some attention in it attends to learned clusters."""
    return any(isinstance(m, PatchToClusterAttention) and m.num_clusters for m in module.modules())


@torch.inference_mode()
def assignments(module: nn.Module, images: Tensor) -> list[NDArray[np.float32] | None]:
    """Each stage's assignment, float32 ``[B, M, N]``; None for a stage without clusters.

    Args:
        module: a ``Host``, or a model with a method ``assignments``; in evaluation mode.
        images: normalised, ``[B, 3, H, W]``.
    """
    read = module.shared_states if isinstance(module, Host) else module.assignments
    return [None if z is None else z.float().cpu().numpy() for z in read(images)]  # type: ignore[operator]


def image_clusters(
    path: Path,
    name: str,
    size: Grid,
    *,
    checkpoint: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> ImageClusters:
    """The clusters that a published model finds on the image in a file.

    Args:
        path: the image. It is resized until it just covers ``size``, and its centre cut out.
        name: of a model with clusters.
        size: (H, W) of what the model sees, in pixels.
        checkpoint: the weights; random ones, the same each time, if None. Its classifier or
            segmentation head is not needed and does not matter.
        options: settings of the model that differ from the published ones.

    Raises:
        SpecError: there is no such model, it has no clusters, or the size is too large.
        DataError: the file cannot be read as an image.
        CheckpointError: the checkpoint does not fit, or gives weights that are not finite.
    """
    if max(size) > MAX_SIDE:
        raise SpecError(
            f"--res {size[0]}x{size[1]} is too large to show the map of every cluster; "
            f"a side is at most {MAX_SIDE} pixels"
        )
    try:
        pixels = read_fitted(path, *size)
    except OSError as error:
        raise DataError(
            f"cannot read {path} as an image: {error}; give a picture, such as a .png or .jpg"
        ) from error
    model = _build(name, size, options or {})
    if checkpoint is not None:
        _load(model, checkpoint)
    stages = assignments(model.eval(), _normalise(pixels))
    if not all(np.isfinite(z).all() for z in stages if z is not None):
        raise CheckpointError(
            f"{checkpoint or name} gives assignments that are not finite; the weights are unusable"
        )
    return ImageClusters(
        name=path.name,
        pixels=pixels,
        stages=tuple(
            stage_clusters(stage, stage_grid(*size, stage), None if z is None else z[0])
            for stage, z in enumerate(stages, start=1)
        ),
    )


def _build(name: str, size: Grid, options: Mapping[str, Any]) -> nn.Module:
    """The model without its head."""
    model = get_model(name)
    if not _gives_assignments(model):
        able = [other.name for other in models().values() if _gives_assignments(other)]
        raise SpecError(f"{name} has no clusters to show; those that have are {', '.join(able)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = model.build(num_classes=0, img_size=size, **options)
    if not has_clusters(module):
        raise SpecError(
            f"{name} with these options has no clusters in any stage; give some, such as "
            f"--option clusters=100,100,100,0"
        )
    return module


def _gives_assignments(model: Model) -> bool:
    return hasattr(model.module, "assignments")


def _load(model: nn.Module, checkpoint: Path) -> None:
    """Load all that the assignments depend on; the checkpoint may have a head besides."""
    report = load_checkpoint(model, checkpoint, strict=False)
    foreign = [k for k in report.unexpected if not k.partition(".")[0].endswith("head")]
    if report.missing or report.misshaped or foreign:
        raise CheckpointError(
            f"{checkpoint} does not fit {type(model).__name__}: {report}; name the variant that "
            f"it was saved from by --model, and its settings by --option"
        )


def _normalise(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 ``[H, W, 3]`` -> float32 ``[1, 3, H, W]`` as the official checkpoints expect it."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    return ((image - mean) / std)[None]
