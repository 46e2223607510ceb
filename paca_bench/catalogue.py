"""What paca-bench has to offer, for ``paca-bench list``."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paca_bench.axes import suggest
from paca_bench.errors import SpecError
from paca_bench.plugins import load_plugins
from paca_bench.spec import suite_names, suite_title

KINDS = ("mechanisms", "models", "levels", "metrics", "suites", "data")

_LEVELS = {
    "layer": "the attention module alone, at the geometry of a stage of the pyramid",
    "host": "one four-stage pyramid in which only the attention is swapped",
    "model": "a published architecture, or one of timm or transformers",
}
_METRICS = {
    "complexity": "MACs, FLOPs, elementwise operations and parameters, counted",
    "latency": "seconds per call, median over processes with an interval",
    "memory": "peak bytes of live tensors over weights and input",
    "accuracy": "test top-1 of a fixed-budget training, or mIoU of the dense task (--task segment)",
    "energy": "joules per image, where the machine counts them; only when asked for",
}

_CONTROL = "a control, measured where --mechanism names it"

Catalogue = dict[str, dict[str, str]]


def catalogue(kind: str | None, plugins: Iterable[str]) -> Catalogue:
    """Kind -> name -> description; of all kinds, or of one.

    Raises:
        SpecError: there is no such kind.
        PluginError: a plugin cannot be loaded.
    """
    if kind is not None and kind not in KINDS:
        raise SpecError(f"there is no list of {kind!r}; {suggest(kind, KINDS)}")
    load_plugins(plugins)
    makers = {
        "mechanisms": _mechanisms,
        "models": _models,
        "levels": lambda: _LEVELS,
        "metrics": lambda: _METRICS,
        "suites": _suites,
        "data": _data,
    }
    return {name: makers[name]() for name in (KINDS if kind is None else (kind,))}


def print_catalogue(content: Catalogue) -> None:
    """One table a kind, on standard output."""
    console = Console()
    for kind, entries in content.items():
        table = Table(title=kind, title_justify="left", show_header=False, box=None)
        table.add_column(no_wrap=True, style="bold")
        table.add_column()
        for name, description in entries.items():
            table.add_row(escape(name), escape(description))
        console.print(table)


def _mechanisms() -> dict[str, str]:
    from paca_bench.attention.registry import mechanisms

    return {
        name: "; ".join(filter(None, (m.title, m.source, _CONTROL if m.control else "")))
        for name, m in sorted(mechanisms().items())
    }


def _models() -> dict[str, str]:
    from paca_bench.models.registry import models

    return {name: f"{m.title}; {m.source}" for name, m in sorted(models().items())}


def _suites() -> dict[str, str]:
    return {name: suite_title(name) for name in suite_names()}


def _data() -> dict[str, str]:
    from paca_bench.data.registry import describe_datasets

    return dict(describe_datasets())
