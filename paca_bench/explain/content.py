"""The cost of a mechanism, of it in a host, or of a model, for one image, as JSON values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from paca_bench.attention.registry import Mechanism, get_mechanism, mechanisms
from paca_bench.axes import shown
from paca_bench.complexity.cost import CostSum, Totals
from paca_bench.complexity.growth import growth
from paca_bench.complexity.roofline import static_metrics
from paca_bench.errors import SpecError
from paca_bench.explain.parsing import parse_grid, parse_option, parse_resolution
from paca_bench.models.geometry import get_geometry, host_cost
from paca_bench.models.registry import Model, models
from paca_bench.plugins import load_plugins

if TYPE_CHECKING:
    from torch import nn

DEFAULT_RESOLUTION = "224"
DEFAULT_SHAPE = {"grid": "56x56", "dim": 96, "heads": 2}
# What is said of bytes and memory is said of this.
DTYPE = "float32"

Explanation = dict[str, Any]


def explain(
    name: str,
    *,
    res: str | None = None,
    host: str | None = None,
    shape: Mapping[str, Any],
    clusters: int | None = None,
    options: Iterable[str] = (),
    plugins: Iterable[str] = (),
) -> Explanation:
    """The cost of the mechanism or model called ``name``, for one image, as JSON values.

    Args:
        name: of either.
        res: of the image of a model or host; None for the usual one.
        host: a geometry's name, to explain the mechanism in every block of it.
        shape: those of ``grid``, ``dim`` and ``heads`` that were given, for a mechanism alone.
        clusters: M of a mechanism, where given.
        options: further settings as ``NAME=VALUE``.
        plugins: files to load first.

    Raises:
        SpecError: there is neither, an option is of another kind, or a value makes no sense.
        UnsupportedError: it cannot work at this shape.
    """
    load_plugins(plugins)
    settings = _settings(clusters, options)
    if name in mechanisms():
        mechanism = get_mechanism(name)
        if host is not None:
            _refuse(shape, f"is of a mechanism alone, and --host {host} gives the shapes")
            return _explain_host(mechanism, host, res or DEFAULT_RESOLUTION, settings)
        if res is not None:
            raise SpecError(
                f"--res {shown(res)} is the image of a model or host, and {name} is a mechanism; "
                f"give its tokens by --grid, such as --grid 56x56, or a --host, such as nano"
            )
        return _explain_mechanism(mechanism, {**DEFAULT_SHAPE, **shape}, settings)
    known = models()
    if name not in known:
        raise _unknown(name, known)
    given = {
        **shape,
        **({} if clusters is None else {"clusters": clusters}),
        **({} if host is None else {"host": host}),
    }
    example = _example(known[name])
    _refuse(
        given,
        f"is of a mechanism, and {name} is a model; give its image by --res, and settings of "
        f"its own by --option NAME=VALUE, such as {example}",
    )
    return _explain_model(known[name], res or DEFAULT_RESOLUTION, settings)


def _settings(clusters: int | None, options: Iterable[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {} if clusters is None else {"num_clusters": clusters}
    for option in options:
        name, value = parse_option(option)
        if name in settings or name in ("grid", "dim", "num_heads"):
            raise SpecError(f"--option {name}: it is given already, by an option of its own")
        settings[name] = value
    return settings


def _refuse(given: Iterable[str], why: str) -> None:
    for option in given:
        raise SpecError(f"--{option} {why}")


def _example(model: Model) -> str:
    name, value = next(iter(model.defaults.items()))
    text = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return f"{name}={text}"


def _unknown(name: str, known: Iterable[str]) -> SpecError:
    near = difflib.get_close_matches(name, [*mechanisms(), *known], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return SpecError(
        f"unknown mechanism or model {shown(name)}; {hint}see 'paca-bench list mechanisms' and "
        f"'paca-bench list models'; a mechanism of your own is added with --plugin FILE"
    )


def _explain_mechanism(
    mechanism: Mechanism, given: Mapping[str, Any], options: Mapping[str, Any]
) -> Explanation:
    grid = parse_grid(given["grid"])
    shape: dict[str, Any] = {"grid": grid, "dim": given["dim"], "num_heads": given["heads"]}
    cost = mechanism.cost(**shape, **options)

    def build() -> nn.Module:
        from paca_bench.models.host import Layer

        return Layer(mechanism.build(**shape, **options), grid)

    return {
        "mechanism": mechanism.name,
        "title": mechanism.title,
        "source": mechanism.source,
        **shape,
        "options": {**mechanism.defaults, **options},
        "formula": cost.formula,
        "latex": cost.latex,
        "symbols": dict(cost.values),
        **_totals(cost),
        **_memory(build, (1, math.prod(grid), shape["dim"]), input_gradient=True),
    }


def _explain_host(
    mechanism: Mechanism, host: str, res: str, options: Mapping[str, Any]
) -> Explanation:
    height, width = parse_resolution(res)
    geometry = get_geometry(host)

    def cost_of(height: int, width: int) -> CostSum:
        return host_cost(mechanism, geometry, height, width, **options)

    def build() -> nn.Module:
        from paca_bench.models.host import Host

        return Host(mechanism, geometry, height=height, width=width, **options)

    return {
        "mechanism": mechanism.name,
        "host": host,
        "title": f"{mechanism.title} in every block of host {host}",
        "source": mechanism.source,
        "height": height,
        "width": width,
        "options": {**mechanism.defaults, **options},
        **_whole(cost_of, build, height, width),
    }


def _explain_model(model: Model, res: str, options: Mapping[str, Any]) -> Explanation:
    height, width = parse_resolution(res)
    return {
        "model": model.name,
        "title": model.title,
        "source": model.source,
        "height": height,
        "width": width,
        "options": {**model.defaults, **options},
        **_whole(
            lambda h, w: model.cost(height=h, width=w, **options),
            lambda: model.build(img_size=(height, width), **options),
            height,
            width,
        ),
    }


def _whole(
    cost_of: Callable[[int, int], CostSum],
    build: Callable[[], nn.Module],
    height: int,
    width: int,
) -> Explanation:
    """What is said of anything that takes an image."""
    cost = cost_of(height, width)
    # A square of the same area: growth is in the number of tokens.
    side = max(round(math.sqrt(height * width)), 1)
    return {
        **_totals(cost),
        "growth": growth(lambda s: cost_of(s, s), side).to_json(),
        **_memory(build, (1, 3, height, width), input_gradient=False),
    }


def _totals(cost: Totals) -> Explanation:
    formulas = cost.expressions_in_values
    return {
        **static_metrics(cost, batch=1, dtype=DTYPE, mode="forward"),
        "terms": cost.terms,
        "term_formulas": {name: str(e) for name, (e, _) in formulas.items()},
        "term_latex": {name: e.latex() for name, (e, _) in formulas.items()},
        "term_symbols": {name: dict(values) for name, (_, values) in formulas.items()},
        "param_terms": cost.param_terms,
    }


def _memory(
    build: Callable[[], nn.Module], input_shape: tuple[int, ...], *, input_gradient: bool
) -> Explanation:
    """Predicted peak bytes over weights and input, float32, one image, of each mode."""
    import torch

    from paca_bench.complexity.memory import predict_peak_memory

    def peak(mode: str, *, checkpointing: bool = False) -> int:
        try:
            prediction = predict_peak_memory(
                build,
                input_shape,
                mode=mode,
                dtype=torch.float32,
                input_gradient=input_gradient,
                checkpointing=checkpointing,
            )
        except RuntimeError as error:
            # Sizes beyond what torch can address, even on no memory at all.
            shape = "x".join(map(str, input_shape))
            raise SpecError(
                f"no memory can be predicted for an input of {shape}: {str(error).splitlines()[0]}"
            ) from error
        return int(prediction.peak_bytes)

    return {
        "peak_memory_bytes": peak("forward"),
        "peak_memory_bytes_train": peak("train"),
        "peak_memory_bytes_checkpointed": peak("train", checkpointing=True),
    }
