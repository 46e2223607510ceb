"""The command line: parses, calls, prints. Everything heavy is imported inside a command."""

import atexit
import gc
import sys
import warnings
from typing import TextIO

# Imported for the commands that they register, in the order of the help.
from paca_bench.cli import gate, history, measure, predict, read, trained  # noqa: F401
from paca_bench.cli.base import app
from paca_bench.errors import PacaBenchError

__all__ = ["app", "main"]


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our own warnings on one line, without the place in the code that gave them."""
    if category.__module__.startswith("paca_bench."):
        text = f"paca-bench: warning: {message}\n"
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)


def main() -> None:
    """The entry point: an error meant for the user becomes one line and its exit code."""
    warnings.showwarning = _show_warning
    # Python's last collection would go through all of torch, to no end: the process ends.
    atexit.register(gc.freeze)
    try:
        app()
    except PacaBenchError as error:
        message = " ".join(str(error).split())
        print(f"paca-bench: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
