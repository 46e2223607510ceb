"""Models of other libraries in the same sweep: ``timm:NAME`` and ``hf:NAME``.

Both are built with random weights and never downloaded. ``hf:`` takes a model type of
``transformers`` with its default configuration (``hf:vit``), or a folder with a
``config.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paca_bench.errors import SpecError, UnsupportedError

if TYPE_CHECKING:
    from torch import nn

Size = tuple[int, int]


def is_external(name: str) -> bool:
    """True for a name with one of the known prefixes."""
    return name.partition(":")[0] in _BUILDERS and ":" in name


def build_external(name: str, *, num_classes: int, img_size: Size) -> nn.Module:
    """A module from images ``[B, 3, H, W]`` to logits ``[B, num_classes]``.

    Raises:
        SpecError: the library is not installed, or does not know the model.
        UnsupportedError: the model cannot be built for this size.
    """
    prefix, _, model = name.partition(":")
    return _BUILDERS[prefix](model, num_classes, img_size)


def check_external(name: str) -> None:
    """Raise ``SpecError`` unless the library behind ``name`` is installed and knows it."""
    prefix, _, model = name.partition(":")
    _CHECKS[prefix](model)


def _timm(name: str, num_classes: int, img_size: Size) -> nn.Module:
    timm = _check_timm(name)
    try:
        return timm.create_model(name, num_classes=num_classes, img_size=img_size)
    except TypeError:
        # Convolutional networks take any size and no such argument.
        return timm.create_model(name, num_classes=num_classes)


def _check_timm(name: str) -> Any:
    timm = _library("timm", f"timm:{name}")
    if not timm.is_model(name):
        raise SpecError(f"timm {timm.__version__} has no model {name!r}; see timm.list_models()")
    return timm


def _hf(name: str, num_classes: int, img_size: Size) -> nn.Module:
    transformers = _library("transformers", f"hf:{name}")
    config = _hf_config(name)
    config.num_labels = num_classes
    if hasattr(config, "image_size"):
        height, width = img_size
        config.image_size = height if height == width else [height, width]
    try:
        module = transformers.AutoModelForImageClassification.from_config(config)
    except (ValueError, TypeError) as error:
        raise UnsupportedError(f"hf:{name} cannot be built: {_first_line(error)}") from error
    return _logits_only(module)


def _hf_config(name: str) -> Any:
    transformers = _library("transformers", f"hf:{name}")
    try:
        if (Path(name) / "config.json").is_file():
            return transformers.AutoConfig.from_pretrained(name, local_files_only=True)
        return transformers.AutoConfig.for_model(name)
    except (ValueError, OSError, KeyError) as error:
        raise SpecError(
            f"transformers {transformers.__version__} has no model type {name!r}; give a type "
            f"such as hf:vit, or a folder with a config.json"
        ) from error


def _logits_only(module: nn.Module) -> nn.Module:
    """``module`` with its ``logits`` as the result, so that it is a function of one tensor."""
    from torch import Tensor, nn

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, images: Tensor) -> Tensor:
            return self.model(images).logits

    return Logits()


def _library(module: str, name: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise SpecError(
            f"--model {name} needs the package {module}, which cannot be imported "
            f"({_first_line(error)}); pip install {module}"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_BUILDERS: Mapping[str, Callable[[str, int, Size], nn.Module]] = {"timm": _timm, "hf": _hf}
_CHECKS: Mapping[str, Callable[[str], Any]] = {"timm": _check_timm, "hf": _hf_config}
