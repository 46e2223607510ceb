"""What one published model costs before anything runs, for ``paca-bench explain``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.axes import MAX_RESOLUTION, shown
from paca_bench.errors import SpecError
from paca_bench.units import format_bytes, format_count, format_percent

if TYPE_CHECKING:
    from paca_bench.models.registry import Model

DEFAULT_RESOLUTION = "224"


def explain_model(model: Model, *, res: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The cost of a model for one image, as JSON values.

    Raises:
        SpecError: an unknown option, or a size or value that makes no sense.
        UnsupportedError: the architecture cannot work at this size.
    """
    height, width = parse_resolution(res)
    cost = model.cost(height=height, width=width, **options)
    return {
        "model": model.name,
        "title": model.title,
        "source": model.source,
        "height": height,
        "width": width,
        "options": {**model.defaults, **options},
        "params": cost.params,
        "macs": cost.macs,
        "flops": cost.flops,
        "terms": cost.terms,
        "param_terms": cost.param_terms,
        "peak_memory_bytes": _peak_memory_bytes(model, height, width, options),
    }


def _peak_memory_bytes(model: Model, height: int, width: int, options: Mapping[str, Any]) -> int:
    """Predicted peak over weights and input of a forward pass, float32, one image."""
    import torch

    from paca_bench.complexity.memory import predict_peak_memory

    prediction = predict_peak_memory(
        lambda: model.build(img_size=(height, width), **options),
        (1, 3, height, width),
        mode="forward",
        dtype=torch.float32,
    )
    return prediction.peak_bytes


def parse_resolution(text: str) -> tuple[int, int]:
    """``256x192`` or ``224`` to (height, width); any size, unlike a sweep's.

    Raises:
        SpecError: neither, or a side beyond what a sweep takes.
    """
    match = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", text.strip())
    if not match:
        raise SpecError(
            f"--res {shown(text)} is not the size of an image; write a side or HxW, "
            f"such as 224 or 256x192"
        )
    size = int(match[1]), int(match[2] or match[1])
    if not 1 <= min(size) <= max(size) <= MAX_RESOLUTION:
        raise SpecError(f"--res {text}: a side is 1 to {MAX_RESOLUTION} pixels")
    return size


def print_model_explanation(content: Mapping[str, Any]) -> None:
    """Stages, terms, parameters and memory as text on standard output."""
    console = Console()
    console.print(
        f"[bold]{escape(content['model'])}[/bold]  {escape(content['title'])}; "
        f"{escape(content['source'])}",
        highlight=False,
    )
    options = ", ".join(f"{name} = {value}" for name, value in content["options"].items())
    console.print(f"{content['height']}x{content['width']}, {escape(options)}", highlight=False)
    console.print(_table(content))
    console.print(
        f"{format_count(content['macs'], 'MACs')}, {format_count(content['flops'], 'FLOPs')} "
        f"(2 per MAC), {format_count(content['params'])} parameters per image",
        highlight=False,
    )
    console.print(
        f"predicted peak memory over weights and input, float32, batch 1: "
        f"{format_bytes(content['peak_memory_bytes'])} forward",
        highlight=False,
    )


def _table(content: Mapping[str, Any]) -> Table:
    """Terms by stage, with the subtotal of each stage above them."""
    macs, params = content["terms"], content["param_terms"]
    table = Table(box=None)
    table.add_column("stage and term")
    for heading in ("MACs", "share", "parameters"):
        table.add_column(heading, justify="right")

    def add(label: str, names: Iterable[str], style: str | None = None) -> None:
        names = list(names)
        count = sum(macs.get(name, 0) for name in names)
        share = format_percent(count / max(content["macs"], 1))
        parameters = sum(params.get(name, 0) for name in names)
        table.add_row(label, f"{count:,}", share, f"{parameters:,}", style=style)

    for stage, names in _by_stage([*macs, *params]).items():
        add(stage, names, style="bold")
        for name in names:
            add(f"  {name.removeprefix(f'{stage}.')}", [name])
    table.add_section()
    add("total", dict.fromkeys([*macs, *params]), style="bold")
    return table


def _by_stage(names: Iterable[str]) -> dict[str, list[str]]:
    """The first part of a term's label -> its terms, in the order of the model."""
    stages: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        stages.setdefault(name.partition(".")[0], []).append(name)
    return stages
