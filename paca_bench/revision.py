"""Which commit is measured, where a run is made in a git repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

_TIMEOUT_S = 5.0


def git_revision(folder: Path) -> dict[str, Any] | None:
    """``commit``, ``dirty`` and ``committed_at`` (ISO 8601) of the repository of ``folder``.

    As pytest-benchmark's ``commit_info``: the repository is that of the folder where a
    command runs, so that a project that keeps its own kernels finds its own commits.
    ``dirty`` says that a tracked file was changed since. None outside a repository, in one
    without a commit, and where git is missing or does not answer in time.
    """
    head = _git(folder, "log", "-1", "--no-show-signature", "--format=%H %cI")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no") if head else None
    if not head or changes is None:
        return None
    commit, committed_at = head.split()
    return {"commit": commit, "dirty": bool(changes), "committed_at": committed_at}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, stripped; None if it fails."""
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *arguments],
            cwd=folder,
            # To look is no reason to write the index, which another git may hold.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
