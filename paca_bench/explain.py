"""What an attention module or a model costs before anything runs, for ``paca-bench explain``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.attention.registry import get_mechanism, mechanisms
from paca_bench.axes import shown
from paca_bench.errors import SpecError
from paca_bench.explain_model import DEFAULT_RESOLUTION, explain_model, print_model_explanation
from paca_bench.plugins import load_plugins
from paca_bench.units import format_bytes, format_count, format_percent

Explanation = dict[str, Any]


def explain(
    name: str,
    *,
    res: str | None = None,
    shape: Mapping[str, Any],
    clusters: int | None = None,
    options: Iterable[str] = (),
    plugins: Iterable[str] = (),
) -> Explanation:
    """The cost of the mechanism or model called ``name``, for one image, as JSON values.

    Args:
        name: of either.
        res: of a model's image; None for the usual one.
        shape: those of ``grid``, ``dim`` and ``heads`` that were given, for a mechanism.
        clusters: M of a mechanism, where given.
        options: further settings as ``NAME=VALUE``.
        plugins: files to load first.

    Raises:
        SpecError: there is neither, an option is of the other kind, or a value makes no sense.
        UnsupportedError: it cannot work at this shape.
    """
    load_plugins(plugins)
    if name in mechanisms():
        if res is not None:
            raise SpecError(
                f"--res {shown(res)} is the image of a model, and {name} is a mechanism; "
                f"give its tokens by --grid, such as --grid 56x56"
            )
        return explain_mechanism(name, clusters=clusters, options=options, **shape)
    from paca_bench.models.registry import models

    known = models()
    if name not in known:
        raise _unknown(name, known)
    foreign = [*shape] if clusters is None else [*shape, "clusters"]
    if foreign:
        raise SpecError(
            f"--{foreign[0]} is of a mechanism, and {name} is a model; give its image by --res, "
            f"and settings of its own by --option NAME=VALUE, such as {_example(known[name])}"
        )
    settings = dict(parse_option(option) for option in options)
    return explain_model(known[name], res=res or DEFAULT_RESOLUTION, options=settings)


def _example(model: Any) -> str:
    name, value = next(iter(model.defaults.items()))
    text = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return f"{name}={text}"


def _unknown(name: str, models: Iterable[str]) -> SpecError:
    near = difflib.get_close_matches(name, [*mechanisms(), *models], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    return SpecError(
        f"unknown mechanism or model {shown(name)}; {hint}see 'paca-bench list mechanisms' and "
        f"'paca-bench list models'; a mechanism of your own is added with --plugin FILE"
    )


def explain_mechanism(
    mechanism: str,
    *,
    grid: str = "56x56",
    dim: int = 96,
    heads: int = 2,
    clusters: int | None = None,
    options: Iterable[str] = (),
) -> Explanation:
    """The cost of a mechanism at a shape, for one image, as JSON values.

    Raises:
        SpecError: an unknown mechanism or option, or a shape that makes no sense.
        UnsupportedError: the mechanism cannot work at this shape.
    """
    chosen = get_mechanism(mechanism)
    shape: dict[str, Any] = {"grid": parse_grid(grid), "dim": dim, "num_heads": heads}
    parsed: dict[str, Any] = {} if clusters is None else {"num_clusters": clusters}
    for option in options:
        name, value = parse_option(option)
        if name in shape or name in parsed:
            raise SpecError(f"--option {name}: it is given already, by an option of its own")
        parsed[name] = value
    cost = chosen.cost(**shape, **parsed)
    return {
        "mechanism": mechanism,
        "title": chosen.title,
        "source": chosen.source,
        **shape,
        "options": {**chosen.defaults, **parsed},
        "formula": cost.formula,
        "latex": cost.latex,
        "symbols": dict(cost.values),
        "macs": cost.macs,
        "flops": cost.flops,
        "terms": cost.terms,
        "term_formulas": {name: str(e) for name, e in cost.expressions.items()},
        "params": cost.params,
        "param_terms": cost.param_terms,
        **_memory(chosen, shape, parsed),
    }


def _memory(mechanism: Any, shape: dict[str, Any], options: dict[str, Any]) -> dict[str, int]:
    """Predicted peak bytes over weights and input, float32, one image, forward and train."""
    import torch

    from paca_bench.complexity.memory import predict_peak_memory
    from paca_bench.models.host import Layer

    height, width = shape["grid"]

    def peak(mode: str) -> int:
        try:
            prediction = predict_peak_memory(
                lambda: Layer(mechanism.build(**shape, **options), shape["grid"]),
                (1, height * width, shape["dim"]),
                mode=mode,
                dtype=torch.float32,
                input_gradient=True,
            )
        except RuntimeError as error:
            # Sizes beyond what torch can address, even on no memory at all.
            raise SpecError(
                f"no memory can be predicted at grid {height}x{width}, dim {shape['dim']}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        return int(prediction.peak_bytes)

    return {
        "peak_memory_bytes": peak("forward"),
        "peak_memory_bytes_train": peak("train"),
    }


def parse_grid(text: str) -> tuple[int, int]:
    """``56x48`` or ``56`` to (H, W).

    Raises:
        SpecError: neither.
    """
    match = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", text.strip())
    if not match:
        raise SpecError(f"--grid {shown(text)} is not a grid of tokens; write HxW, such as 56x56")
    return int(match[1]), int(match[2] or match[1])


def parse_option(text: str) -> tuple[str, Any]:
    """``NAME=VALUE``, the value an integer, several by comma, a float, true/false or text.

    Raises:
        SpecError: there is no ``=``.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SpecError(f"--option {shown(text)} is not NAME=VALUE, such as window_size=8")
    for convert in (int, _integers, float):
        try:
            return name, convert(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value.lower(), value)


def _integers(text: str) -> tuple[int, ...]:
    """``100,100,100,0``; raises ValueError for anything else."""
    parts = text.split(",")
    if len(parts) == 1:
        raise ValueError
    return tuple(int(part) for part in parts)


def print_explanation(content: Explanation) -> None:
    """Formula or stages, terms, parameters and memory as text on standard output."""
    if "model" in content:
        print_model_explanation(content)
        return
    console = Console()
    height, width = content["grid"]
    console.print(f"[bold]{escape(content['title'])}[/bold]  {escape(content['source'])}")
    console.print(
        f"grid {height}x{width}, C = {content['dim']}, h = {content['num_heads']}, "
        + ", ".join(f"{name} = {value}" for name, value in content["options"].items()),
        highlight=False,
    )
    table = Table(box=None)
    for heading in ("term", "closed form"):
        table.add_column(heading)
    for heading in ("MACs", "share", "parameters"):
        table.add_column(heading, justify="right")
    macs = max(content["macs"], 1)
    for name in dict.fromkeys([*content["terms"], *content["param_terms"]]):
        count = content["terms"].get(name, 0)
        table.add_row(
            name,
            content["term_formulas"].get(name, ""),
            f"{count:,}",
            format_percent(count / macs),
            f"{content['param_terms'].get(name, 0):,}",
        )
    table.add_section()
    table.add_row("total", content["formula"], f"{content['macs']:,}", "", f"{content['params']:,}")
    console.print(table)
    console.print(
        f"{format_count(content['macs'], 'MACs')}, {format_count(content['flops'], 'FLOPs')} "
        f"(2 per MAC), {format_count(content['params'])} parameters per image of "
        f"{height * width} tokens",
        highlight=False,
    )
    console.print(
        f"predicted peak memory over weights and input, float32, batch 1: "
        f"{format_bytes(content['peak_memory_bytes'])} forward, "
        f"{format_bytes(content['peak_memory_bytes_train'])} train",
        highlight=False,
    )
