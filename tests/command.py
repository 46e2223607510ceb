"""The command line in this process, as if typed."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from paca_bench import cli


@dataclass
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def typed(
    arguments: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Result:
    """``paca-bench ARGUMENTS``, with what it printed and nothing from before."""
    monkeypatch.setattr(sys, "argv", ["paca-bench", *map(str, arguments)])
    capsys.readouterr()
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    return Result(code, *capsys.readouterr())
