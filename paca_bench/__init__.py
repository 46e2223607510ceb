"""Fair, uncertainty-aware benchmarks of vision attention.

The public names below are loaded on first use, so that importing the package imports
neither torch nor plotly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paca_bench.analyzer import analyze as analyze
    from paca_bench.attention.registry import attention_cost as attention_cost
    from paca_bench.attention.registry import create_attention as create_attention
    from paca_bench.attention.registry import register_attention as register_attention
    from paca_bench.errors import PacaBenchError as PacaBenchError
    from paca_bench.models.checkpoints import load_checkpoint as load_checkpoint
    from paca_bench.models.registry import create_model as create_model
    from paca_bench.models.registry import model_cost as model_cost
    from paca_bench.models.segmenter import create_segmenter as create_segmenter
    from paca_bench.report.html import write_report as write_report
    from paca_bench.results import load_results as load_results
    from paca_bench.sweeper import sweep as sweep

    __version__: str

# public name -> the module that has it
_HOMES = {
    "PacaBenchError": "paca_bench.errors",
    "analyze": "paca_bench.analyzer",
    "attention_cost": "paca_bench.attention.registry",
    "create_attention": "paca_bench.attention.registry",
    "create_model": "paca_bench.models.registry",
    "create_segmenter": "paca_bench.models.segmenter",
    "load_checkpoint": "paca_bench.models.checkpoints",
    "load_results": "paca_bench.results",
    "model_cost": "paca_bench.models.registry",
    "register_attention": "paca_bench.attention.registry",
    "sweep": "paca_bench.sweeper",
    "write_report": "paca_bench.report.html",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from paca_bench.version import package_version

        return package_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'paca_bench' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
