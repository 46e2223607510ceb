"""The registry of attention mechanisms, built-in and the user's, by one and the same route.

A mechanism is a class decorated with ``register_attention`` plus a closed-form cost. It is
found in a module of this package, in a file that the user names (``--plugin FILE``), or in
an installed package with an entry point in the group ``paca_bench.attentions``.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from paca_bench.complexity.cost import Cost
from paca_bench.errors import PluginError, SpecError

if TYPE_CHECKING:
    from paca_bench.attention.base import Attention

ENTRY_POINT_GROUP = "paca_bench.attentions"

Grid = tuple[int, int]
Options = Mapping[str, Any]
_SHAPE = ("dim", "num_heads", "grid")
_REQUIRED = object()

AttentionClass = TypeVar("AttentionClass", bound="type[Attention]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a pyramid a module stands.

    ``stage`` counts from 1. ``block`` counts from 0 within the stage, and is None where the
    module is measured alone, outside any host. ``device`` is where it then runs, such as ``cpu``
    or ``cuda:0``; blocks of a pyramid are the same on every device.
    """

    stage: int
    block: int | None = None
    device: str = "cpu"


def same_options(place: Place, options: Options) -> Options:
    """The default ``stage_options``: the same at every place."""
    return options


@dataclass(frozen=True)
class Mechanism:
    """A registered mechanism.

    Attributes:
        name: what ``--mechanism`` takes.
        title: the name for people.
        source: the paper.
        module: the class that computes it.
        cost_function: its closed form; see ``register_attention``.
        stage_options: the options it uses at a ``Place`` of a pyramid, given the user's.
        control: True if it is no attention but what others are held against: it is
            measured only where it is named, and in hosts alone.
    """

    name: str
    title: str
    source: str
    module: type[Attention]
    cost_function: Callable[..., Cost]
    stage_options: Callable[[Place, Options], Options]
    control: bool = False

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Option name -> default value, from the constructor's signature."""
        parameters = inspect.signature(self.module).parameters.values()
        return {
            p.name: _REQUIRED if p.default is p.empty else p.default
            for p in parameters
            if p.name not in _SHAPE
        }

    @property
    def has_clusters(self) -> bool:
        """True if the number of clusters is an axis of this mechanism."""
        return "num_clusters" in self.defaults

    def options_at(self, place: Place, options: Options) -> Options:
        """The options it uses at ``place``, given the user's; M may be one for every stage.

        One number for all stages is what ``stage_options`` may still vary, such as to none in
        the last stage; one for each is taken as it stands.
        """
        clusters = options.get("num_clusters")
        if not isinstance(clusters, tuple):
            return self.stage_options(place, options)
        if not 1 <= place.stage <= len(clusters):
            raise SpecError(f"num_clusters {clusters} says nothing of stage {place.stage}")
        own = {"num_clusters": clusters[place.stage - 1]}
        return {**self.stage_options(place, {**options, **own}), **own}

    def build(self, *, dim: int, num_heads: int, grid: Grid, **options: Any) -> Attention:
        """The module for tokens ``[B, H*W, dim]`` on ``grid`` = (H, W).

        Raises:
            SpecError: a shape or option is unknown or out of range.
        """
        self._check(dim, num_heads, grid, options)
        return self.module(dim=dim, num_heads=num_heads, grid=grid, **options)

    def cost(self, *, grid: Grid, dim: int, num_heads: int, **options: Any) -> Cost:
        """The closed-form cost at a shape, for one image. Raises as ``build``."""
        self._check(dim, num_heads, grid, options)
        known = {**self.defaults, **options, "grid": grid, "dim": dim, "num_heads": num_heads}
        return self.cost_function(**{name: known[name] for name in self._cost_parameters})

    @cached_property
    def _cost_parameters(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.cost_function).parameters)

    def _check(self, dim: int, num_heads: int, grid: Grid, options: Options) -> None:
        check_shape(dim, num_heads, grid)
        unknown = [name for name in options if name not in self.defaults]
        if unknown:
            allowed = ", ".join(self.defaults) or "none"
            raise SpecError(
                f"{self.name} has no option {unknown[0]!r} (given {options[unknown[0]]!r}); "
                f"its options: {allowed}"
            )
        missing = [
            name
            for name, default in self.defaults.items()
            if default is _REQUIRED and name not in options
        ]
        if missing:
            raise SpecError(f"{self.name} needs a value for {', '.join(missing)}")


_mechanisms: dict[str, Mechanism] = {}


def register_attention(
    name: str,
    *,
    cost: Callable[..., Cost],
    title: str | None = None,
    source: str = "",
    stage_options: Callable[[Place, Options], Options] = same_options,
    control: bool = False,
) -> Callable[[AttentionClass], AttentionClass]:
    """Class decorator that makes an ``Attention`` available as ``name`` everywhere.

    Args:
        name: lower-case letters, digits and underscores; what ``--mechanism`` takes.
        cost: a function of keyword arguments among ``grid``, ``dim``, ``num_heads`` and the
            class's own options, returning its ``Cost`` for one image.
        title: the name for people; ``name`` if not given.
        source: the paper, for the report.
        stage_options: ``(Place, options) -> options`` to vary options over a pyramid.
        control: it is no attention but what others are held against; see ``Mechanism``.

    Raises:
        PluginError: the name is taken or malformed, the class is not an ``Attention`` with
            the keywords ``dim``, ``num_heads`` and ``grid``, or ``cost`` asks for an option
            that the class does not have.
    """

    def register(module: AttentionClass) -> AttentionClass:
        mechanism = Mechanism(name, title or name, source, module, cost, stage_options, control)
        _check_mechanism(mechanism)
        _mechanisms[name] = mechanism
        return module

    return register


def _check_mechanism(mechanism: Mechanism) -> None:
    from paca_bench.attention.base import Attention

    name, module = mechanism.name, mechanism.module
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise PluginError(
            f"mechanism name {name!r} is not allowed; use lower-case letters, digits and _"
        )
    if name in _mechanisms:
        taken = _mechanisms[name].module
        raise PluginError(
            f"mechanism {name!r} is already registered by {taken.__module__}.{taken.__qualname__};"
            f" choose another name"
        )
    if not (isinstance(module, type) and issubclass(module, Attention)):
        raise PluginError(f"mechanism {name!r}: {module!r} is not a subclass of Attention")
    parameters = inspect.signature(module).parameters
    lacking = [p for p in _SHAPE if p not in parameters]
    if lacking:
        raise PluginError(f"mechanism {name!r}: its constructor lacks {', '.join(lacking)}")
    foreign = [
        p for p in inspect.signature(mechanism.cost_function).parameters if p not in parameters
    ]
    if foreign:
        raise PluginError(
            f"mechanism {name!r}: its cost asks for {', '.join(foreign)}, which is not among the "
            f"constructor's keywords ({', '.join(parameters)})"
        )


def forget_module(name: str) -> None:
    """Take back what the module called ``name`` registered, because it failed later on."""
    for taken in [n for n, m in _mechanisms.items() if m.module.__module__ == name]:
        del _mechanisms[taken]


def mechanisms() -> dict[str, Mechanism]:
    """All mechanisms by name, those of installed packages and controls included."""
    _load_built_in()
    _load_installed()
    return dict(_mechanisms)


def get_mechanism(name: str) -> Mechanism:
    """The mechanism called ``name``.

    Raises:
        SpecError: there is none.
    """
    known = mechanisms()
    if name not in known:
        raise SpecError(
            f"unknown mechanism {name!r}; known: {', '.join(sorted(known))}. "
            f"A mechanism of your own is added with --plugin FILE"
        )
    return known[name]


def create_attention(
    mechanism: str, *, dim: int, num_heads: int, grid: Grid, **params: Any
) -> Attention:
    """Build an attention module: ``forward(x, grid)`` takes and gives ``[B, H*W, dim]``.

    Args:
        mechanism: a registered name, see ``paca-bench list``.
        dim: channels C.
        num_heads: heads h, a divisor of ``dim``.
        grid: (H, W) of the tokens.
        **params: the mechanism's own options, such as ``num_clusters``.

    Raises:
        SpecError: unknown mechanism or option, or a shape that makes no sense.
    """
    return get_mechanism(mechanism).build(dim=dim, num_heads=num_heads, grid=grid, **params)


def attention_cost(mechanism: str, *, grid: Grid, dim: int, num_heads: int, **params: Any) -> Cost:
    """The closed-form cost of a mechanism for one image; arguments as ``create_attention``.

    Returns:
        A ``Cost`` with ``macs``, ``flops``, ``params``, ``terms`` and ``formula``.

    Raises:
        SpecError: unknown mechanism or option, or a shape that makes no sense.
    """
    return get_mechanism(mechanism).cost(grid=grid, dim=dim, num_heads=num_heads, **params)


def check_shape(dim: int, num_heads: int, grid: Grid) -> None:
    """Raise ``SpecError`` unless these are positive integers and the heads divide ``dim``."""
    if not isinstance(grid, Sequence) or len(grid) != 2:
        raise SpecError(f"grid must be (H, W), not {grid!r}")
    for name, value in (("dim", dim), ("num_heads", num_heads), ("H", grid[0]), ("W", grid[1])):
        check_integer(name, value)
    if dim % num_heads:
        raise SpecError(f"num_heads {num_heads} does not divide dim {dim}")


def check_integer(name: str, value: object, *, least: int = 1) -> None:
    """Raise ``SpecError`` unless ``value`` is an integer of at least ``least``."""
    # bool is an int to Python, but never a size.
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SpecError(f"{name} must be an integer of at least {least}, not {value!r}")


@cache
def _load_built_in() -> None:
    package = import_module("paca_bench.attention")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        import_module(module.name)


_installed_loaded = False


def _load_installed() -> None:
    global _installed_loaded
    if _installed_loaded:
        return
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except Exception as error:
            raise PluginError(
                f"the installed plugin {point.name!r} ({point.value}) cannot be loaded: "
                f"{type(error).__name__}: {error}; uninstall or mend it"
            ) from error
    # Only now: after a failure the next call must fail again, not miss the rest in silence.
    _installed_loaded = True
