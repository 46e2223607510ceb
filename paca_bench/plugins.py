"""The user's own mechanisms: Python files named with ``--plugin``."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from paca_bench.attention.registry import forget_module, mechanisms
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
    if not _is_file(path):
        raise PluginError(f"--plugin {path}: there is no such file")
    # The resolved path is the identity: one file named twice is one plugin.
    path_in_full = path.resolve()
    name = f"paca_bench_plugin_{abs(hash(str(path_in_full)))}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path_in_full)
    if spec is None or spec.loader is None:
        raise PluginError(f"--plugin {path}: a plugin is a Python file (.py)")
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        forget_module(name)
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, PacaBenchError):
            raise PluginError(f"--plugin {path}: {error}") from error
        raise PluginError(f"--plugin {path}{_fault(error, str(path_in_full))}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, or the folder may not be read
        return False


def _fault(error: BaseException, file: str) -> str:
    """``, line 7: NameError: ...``, of the plugin's own line that is at fault or led to it."""
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        return f", line {error.lineno}: {name}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    line = f", line {frames[-1].lineno}" if frames else ""
    return f"{line}: {name}: {error}"
