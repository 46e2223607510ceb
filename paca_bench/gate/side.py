"""One side of a gate: a revision in its folder, and the Python that runs its code."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paca_bench.errors import NothingMeasuredError
from paca_bench.gate.repository import Repository, Revision
from paca_bench.spec import SweepSpec
from paca_bench.workers import WorkerPool

# What a side is called in a comparison, by the arm that measures it.
NAMES = {"base": "BASE", "head": "NEW"}
# So that "-m" finds what the environment has, and not what lies in the folder it starts in.
_SAFE = {"PYTHONSAFEPATH": "1"}


@dataclass(frozen=True, slots=True)
class GateSide:
    """A revision that can be run.

    Attributes:
        name: ``BASE`` or ``NEW``.
        revision: what is in the folder.
        folder: the worktree.
        python: the interpreter.
        environment: variables over those of this process.
    """

    name: str
    revision: Revision
    folder: Path
    python: str
    environment: Mapping[str, str]

    @classmethod
    def importing(cls, name: str, revision: Revision, folder: Path) -> GateSide:
        """Runs in this interpreter, and imports from the worktree (or its ``src``) first."""
        places = [folder / "src", folder] if (folder / "src").is_dir() else [folder]
        if inherited := os.environ.get("PYTHONPATH"):
            places.append(Path(inherited))
        path = os.pathsep.join(map(str, places))
        return cls(name, revision, folder, sys.executable, {**_SAFE, "PYTHONPATH": path})

    @classmethod
    def installed(cls, name: str, revision: Revision, folder: Path) -> GateSide:
        """Installs the worktree into a virtual environment beside it, over what is here.

        Raises:
            NothingMeasuredError: it cannot be installed.
        """
        place = folder.with_name(f"{folder.name}-environment")
        _run(name, [sys.executable, "-m", "venv", "--system-site-packages", str(place)])
        python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        # A virtual environment made in another one does not see that one's packages.
        here = dict.fromkeys(sysconfig.get_path(key) for key in ("purelib", "platlib"))
        lines = [f"import site; site.addsitedir({path!r})\n" for path in here]
        own = _run(name, [str(python), "-c", "import sysconfig as s; print(s.get_path('purelib'))"])
        (Path(own.strip()) / "paca_bench_gate.pth").write_text("".join(lines), encoding="utf-8")
        _run(name, [str(python), "-m", "pip", "install", "--quiet", str(folder)])
        # What is installed must not be hidden by a path that leads to other code.
        return cls(name, revision, folder, str(python), {**_SAFE, "PYTHONPATH": ""})

    def settings(self, settings: Mapping[str, Any], repository: Repository) -> dict[str, Any]:
        """``settings`` of a sweep, with plugins of the repository as this side has them."""
        found = dict(settings)
        if "plugin" in found:
            found["plugin"] = [self._own(Path(file), repository) for file in found["plugin"]]
        return found

    def _own(self, file: Path, repository: Repository) -> str:
        full = file.resolve()
        if full.is_relative_to(repository.root):
            return str(self.folder / full.relative_to(repository.root))
        return str(full)

    def pool(self, spec: SweepSpec) -> WorkerPool:
        """Workers that run this side's code; one more fork server each time."""
        return WorkerPool(
            spec.threads,
            spec.allocator,
            python=self.python,
            environment=self.environment,
            folder=self.folder,
        )


def _run(name: str, command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.strip().splitlines()]
        # pip ends with hints; what is wrong stands above them.
        wrong = [line for line in lines if "error:" in line.lower()] or lines or ["no message"]
        raise NothingMeasuredError(
            f"{name} could not be installed: {wrong[0]}; see 'pip install .' in that revision, or "
            f"leave out --install"
        )
    return done.stdout
