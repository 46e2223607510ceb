"""A classifier whose every answer is known, and folders of images that it is asked about.

Its six logits are 0, -1, ... -5 times the mean of the normalised red channel. On a red image,
whose red is above ImageNet's mean, they descend: class k has rank k. On a black one they ascend:
class k has rank 5 - k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from paca_bench.complexity.cost import CostSum
from paca_bench.models import registry
from paca_bench.models.blocks import classifier
from paca_bench.models.parts import head_cost
from paca_bench.models.registry import Variant, register_model

NAME = "colours"
CLASSES = tuple("abcdef")


def colours_cost(*, num_classes: int) -> CostSum:
    return CostSum.of([("head", head_cost(3, num_classes))])


class Colours(nn.Module):
    def __init__(self, *, num_classes: int, img_size: tuple[int, int], gain: int = 1) -> None:
        super().__init__()
        self.img_size = img_size
        self.head = classifier(3, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        assert tuple(images.shape[1:]) == (3, *self.img_size)
        return self.head(images.mean(dim=(2, 3)))


def register_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the one test that asks."""
    monkeypatch.setattr(registry, "_models", dict(registry.models()))
    register_model(Variant(NAME), title="Colours", source="tests", cost=colours_cost)(Colours)


def colours_weights(classes: int = len(CLASSES)) -> dict[str, Tensor]:
    weight = torch.zeros(classes, 3)
    weight[:, 0] = -torch.arange(classes, dtype=torch.float32)
    return {"head.weight": weight, "head.bias": torch.zeros(classes)}


def colours_checkpoint(path: Path, classes: int = len(CLASSES)) -> Path:
    torch.save({"model": colours_weights(classes)}, path)
    return path


def make_folder(root: Path, images: Mapping[str, Sequence[str]]) -> Path:
    """Class -> colours of its images, which are of different sizes."""
    for name, colours in images.items():
        (root / name).mkdir(parents=True)
        for index, colour in enumerate(colours):
            size = (30 + 7 * index, 44 - 3 * index)
            Image.new("RGB", size, colour).save(root / name / f"{index}.png")
    return root
