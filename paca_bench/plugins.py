"""The user's own mechanisms: Python files named with ``--plugin``."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from paca_bench.attention.registry import mechanisms
from paca_bench.errors import PacaBenchError, PluginError


def load_plugins(files: Iterable[str]) -> None:
    """Import each file, once; what it registers is then known.

    Built-in and installed mechanisms come first, so that it is the plugin that is refused
    where both use a name.

    Raises:
        PluginError: a file is missing, is not Python, or fails on import.
    """
    files = list(files)
    if files:
        mechanisms()
    for file in files:
        _load(Path(file))


def _load(path: Path) -> None:
    if not path.is_file():
        raise PluginError(f"--plugin {path}: there is no such file")
    # The resolved path is the identity: one file named twice is one plugin.
    name = f"paca_bench_plugin_{abs(hash(str(path.resolve())))}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"--plugin {path}: a plugin is a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, PacaBenchError):
            raise PluginError(f"--plugin {path}: {error}") from error
        raise PluginError(f"--plugin {path}{_line(error, path)}: {_describe(error)}") from error


def _line(error: BaseException, path: Path) -> str:
    """``, line 7`` where the error came from the plugin's own text."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f", line {frames[-1].lineno}" if frames else ""


def _describe(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}"
