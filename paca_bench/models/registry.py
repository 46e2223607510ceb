"""The registry of published architectures, built-in and the user's, by one and the same route.

An architecture is a class decorated with ``register_model`` plus a closed-form cost; its
published variants are rows of data. It is found in a module of this package, or in any file
that is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from paca_bench.attention.registry import Grid, check_integer
from paca_bench.complexity.cost import CostSum
from paca_bench.errors import PluginError, SpecError

if TYPE_CHECKING:
    from torch import nn

Options = Mapping[str, Any]
ImageSize = int | Sequence[int]
# A stage map's grid (H, W) and channels.
Stage = tuple[Grid, int]
# What every constructor takes, and what every cost may ask for beside the constructor's settings.
_INPUTS = ("num_classes", "img_size")
_SHAPE = ("height", "width", "num_classes")
_REQUIRED = object()

ModuleClass = TypeVar("ModuleClass", bound="type[nn.Module]")
Result = TypeVar("Result")


class Variant:
    """One published variant: a name, and its settings among the constructor's keywords."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.name = name
        self.settings: Options = settings


@dataclass(frozen=True)
class Model:
    """A registered variant of an architecture.

    Attributes:
        name: what ``--model`` takes.
        title: the architecture's name for people.
        source: the paper.
        module: the class that computes it.
        cost_function: its closed form; see ``register_model``.
        settings: the variant's row, over the constructor's defaults.
        stages_function: the shapes of its stage maps; None where it has none.
        dense_settings: what to add for the backbone of a dense task.
    """

    name: str
    title: str
    source: str
    module: type[nn.Module]
    cost_function: Callable[..., CostSum]
    settings: Options = field(default_factory=dict)
    stages_function: Callable[..., list[Stage]] | None = None
    dense_settings: Options = field(default_factory=dict)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Setting -> its value for this variant."""
        parameters = inspect.signature(self.module).parameters.values()
        values = {
            p.name: _REQUIRED if p.default is p.empty else p.default
            for p in parameters
            if p.name not in _INPUTS
        }
        return {**values, **self.settings}

    def build(
        self, *, num_classes: int = 1000, img_size: ImageSize = 224, **options: Any
    ) -> nn.Module:
        """The module; see ``create_model``."""
        height, width = image_size(img_size)
        # The closed form refuses what cannot be built, and costs nothing.
        self.cost(height=height, width=width, num_classes=num_classes, **options)
        settings = self._with(options)
        return self.module(num_classes=num_classes, img_size=(height, width), **settings)

    def cost(self, *, height: int, width: int, num_classes: int = 1000, **options: Any) -> CostSum:
        """The closed-form cost for one image; see ``model_cost``."""
        check_integer("num_classes", num_classes, least=0)
        image_size((height, width))
        shape = {"height": height, "width": width, "num_classes": num_classes}
        return _call(self.cost_function, {**self._with(options), **shape})

    def stages(self, *, height: int, width: int, **options: Any) -> list[Stage]:
        """The shapes of what ``forward_features`` gives for an image, first stage first.

        Raises:
            SpecError: the architecture has no stages, or an option does not exist.
            UnsupportedError: the architecture cannot work at this size.
        """
        if self.stages_function is None:
            raise SpecError(
                f"{self.name} has no stage maps; take a pyramid, such as pacavit_tiny_p2cconv_100_0"
            )
        image_size((height, width))
        shape = {"height": height, "width": width}
        return _call(self.stages_function, {**self._with(options), **shape})

    def _with(self, options: Options) -> dict[str, Any]:
        for name, value in options.items():
            if name not in self.defaults:
                raise SpecError(
                    f"{self.name} has no option {name!r} (given {value!r}); "
                    f"its options are {', '.join(self.defaults)}"
                )
            _check_option(name, value, self.defaults[name])
        return {**self.defaults, **options}


def _check_option(name: str, value: object, default: object) -> None:
    """Raise ``SpecError`` unless ``value`` is of the kind of the published one."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise SpecError(f"{name} must be True or False, not {value!r}")
    elif isinstance(default, int):
        check_integer(name, value)
    elif isinstance(default, tuple):
        if not isinstance(value, Sequence) or len(value) != len(default):
            raise SpecError(
                f"{name} must be {len(default)} integers, one per stage, such as {default}, "
                f"not {value!r}"
            )
        for part in value:
            check_integer(f"each of {name}", part, least=0)


def _call(function: Callable[..., Result], known: Options) -> Result:
    """``function`` with those of the ``known`` arguments that it asks for."""
    return function(**{name: known[name] for name in inspect.signature(function).parameters})


def image_size(size: ImageSize) -> Grid:
    """(H, W) of an image from a side or a pair.

    Raises:
        SpecError: it is neither, or not of positive integers.
    """
    pair = size if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2:
        raise SpecError(f"img_size must be a side or (H, W), not {size!r}")
    for name, side in zip(("image height", "image width"), pair, strict=True):
        check_integer(name, side)
    return (pair[0], pair[1])


_models: dict[str, Model] = {}


def register_model(
    *variants: Variant,
    title: str,
    source: str,
    cost: Callable[..., CostSum],
    stages: Callable[..., list[Stage]] | None = None,
    dense_settings: Options | None = None,
) -> Callable[[ModuleClass], ModuleClass]:
    """Class decorator that adds an architecture's variants, for ``create_model`` and sweeps.

    Args:
        *variants: the rows; each setting is a keyword of the class's constructor.
        title: the architecture's name for people.
        source: the paper, for the report.
        cost: a function of keyword arguments among ``height``, ``width``, ``num_classes`` and
            the class's own settings, returning the ``CostSum`` for one image.
        stages: likewise, without ``num_classes``, returning the shapes of the stage maps that
            the class's ``forward_features`` gives; None where there are none.
        dense_settings: what to add to the settings for the backbone of a dense task.

    The class's constructor takes the keywords ``num_classes`` (0: no head) and ``img_size``
    = (H, W); its ``forward`` takes images ``[B, 3, H, W]`` and gives logits. Where weights depend
    on the image size, its method ``at_own_size`` gives those of another size for its own.

    Raises:
        PluginError: a name is taken or malformed, the constructor lacks a keyword, a row or
            function has one that the constructor does not, or a row leaves one unset.
    """

    def register(module: ModuleClass) -> ModuleClass:
        rows = [
            Model(v.name, title, source, module, cost, v.settings, stages, dense_settings or {})
            for v in variants
        ]
        for row in rows:
            _check_model(row)
        _models.update({row.name: row for row in rows})
        return module

    return register


def _check_model(model: Model) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", model.name):
        raise PluginError(
            f"model name {model.name!r} is not allowed; use lower-case letters, digits and _"
        )
    if model.name in _models:
        taken = _models[model.name].module
        raise PluginError(
            f"model {model.name!r} is already registered by {taken.__module__}."
            f"{taken.__qualname__}; choose another name"
        )
    keywords = inspect.signature(model.module).parameters
    lacking = [name for name in _INPUTS if name not in keywords]
    if lacking:
        raise PluginError(f"model {model.name!r}: its constructor lacks {', '.join(lacking)}")
    unset = [name for name, value in model.defaults.items() if value is _REQUIRED]
    if unset:
        raise PluginError(f"model {model.name!r}: its row does not set {', '.join(unset)}")
    functions = [f for f in (model.cost_function, model.stages_function) if f is not None]
    asked = (inspect.signature(function).parameters for function in functions)
    wanted = [*model.settings, *model.dense_settings, *itertools.chain(*asked)]
    foreign = [name for name in wanted if name not in keywords and name not in _SHAPE]
    if foreign:
        raise PluginError(
            f"model {model.name!r}: {', '.join(foreign)} is not among the constructor's keywords "
            f"({', '.join(keywords)})"
        )


def models() -> dict[str, Model]:
    """All models by name."""
    _load_built_in()
    return dict(_models)


@cache
def _load_built_in() -> None:
    package = import_module("paca_bench.models")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        import_module(module.name)


def model_names() -> list[str]:
    """The names of all models, sorted."""
    return sorted(models())


def get_model(name: str) -> Model:
    """The model called ``name``.

    Raises:
        SpecError: there is none; the message lists the nearest names.
    """
    known = models()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=4, cutoff=0.4) or sorted(known)
        raise SpecError(f"unknown model {name!r}; the nearest names are {', '.join(near)}")
    return known[name]


def create_model(
    name: str, *, num_classes: int = 1000, img_size: ImageSize = 224, **options: Any
) -> nn.Module:
    """Build a published architecture, with random weights, in float32.

    Args:
        name: a registered name, such as ``swin_tiny_patch4_window7_224``.
        num_classes: outputs of the head; 0 builds no head, and ``forward`` gives the pooled
            features ``[B, C]``.
        img_size: side or (H, W) of the images that size-dependent parts are made for. Only
            DeiT is bound to it; the others take further sizes.
        **options: settings that differ from the published row, such as ``clusters``.

    Returns:
        A module: images ``[B, 3, H, W]`` -> logits ``[B, num_classes]``; those with stages
        also have ``forward_features``: images -> four maps ``[B, C, H, W]``.

    Raises:
        SpecError: unknown name or option, or a value that makes no sense.
        UnsupportedError: the architecture cannot work at ``img_size``.
    """
    return get_model(name).build(num_classes=num_classes, img_size=img_size, **options)


def model_cost(
    name: str, *, height: int, width: int, num_classes: int = 1000, **options: Any
) -> CostSum:
    """The closed-form cost of ``create_model`` for one image; nothing is built.

    Raises:
        SpecError: unknown name or option, or a value that makes no sense.
        UnsupportedError: the architecture cannot work at this size.
    """
    model = get_model(name)
    return model.cost(height=height, width=width, num_classes=num_classes, **options)
