"""Two revisions of a git repository, each in a folder of its own for as long as it is needed.

Both sides are worktrees under one temporary folder, also the working tree as it is: what is
measured cannot be edited meanwhile, and paths, whose length alone can shift a program in
memory, are equally long. A gate that was killed leaves its worktrees; the next one in the same
repository removes them, which it can tell by a lock that dies with its holder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from paca_bench.axes import shown
from paca_bench.errors import NothingMeasuredError

PREFIX = "paca-bench-gate-"
LOCK = "gate.lock"
# What a hook or an outer git has set is about another repository or index.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
_NOBODY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "paca-bench"), ("EMAIL", "paca-bench@localhost"))
}


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of the repository.

    Attributes:
        name: as the user gave it, or "working tree".
        commit: its hash; of a working tree with changes, of a commit that no branch has.
        is_dirty: it is the working tree with uncommitted changes.
    """

    name: str
    commit: str
    is_dirty: bool = False

    def __str__(self) -> str:
        changes = ", uncommitted changes included" if self.is_dirty else ""
        return f"{self.name} ({self.commit[:12]}{changes})"


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository with a working tree at ``root``."""

    root: Path

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that ``folder`` is in.

        Raises:
            NothingMeasuredError: it is in none, or git is missing.
        """
        try:
            top = _git(folder, "rev-parse", "--show-toplevel")
        except NothingMeasuredError as error:
            raise NothingMeasuredError(
                f"{folder} is in no git repository with a working tree ({error}); run the gate "
                f"in a clone of the project"
            ) from None
        return cls(Path(top).resolve())

    def revision(self, name: str) -> Revision:
        """The commit that ``name`` (a branch, tag or hash) stands for.

        Raises:
            NothingMeasuredError: there is none.
        """
        try:
            # What begins with a dash would be an option.
            commit = self.git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
        except NothingMeasuredError:
            raise NothingMeasuredError(
                f"{shown(name)} is no commit of {self.root}; in a shallow clone fetch it first, "
                f"as by git fetch origin {shown(name)}, or with fetch-depth: 0 in a workflow"
            ) from None
        return Revision(name, commit)

    def working_tree(self) -> Revision:
        """The working tree as it is, files that git ignores left out.

        It is written as a commit that no branch has, by an index of its own: the user's is not
        touched.

        Raises:
            NothingMeasuredError: the repository has no commit yet, or git fails.
        """
        head = self.git("rev-parse", "--verify", "HEAD^{commit}")
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            index = Path(folder) / "index"
            own = self.root / self.git("rev-parse", "--git-path", "index")
            if own.exists():
                # With what git knows of unchanged files, so that they are not read again.
                shutil.copy(own, index)
            environment = {"GIT_INDEX_FILE": str(index), **_NOBODY}
            self.git("add", "--all", "--", ".", environment=environment)
            tree = self.git("write-tree", environment=environment)
            if tree == self.git("rev-parse", f"{head}^{{tree}}"):
                return Revision("working tree", head)
            message = ("-p", head, "-m", "The working tree that a gate measured")
            commit = self.git("commit-tree", tree, *message, environment=environment)
        return Revision("working tree", commit, is_dirty=True)

    @contextmanager
    def checked_out(self, revisions: Mapping[str, Revision]) -> Iterator[dict[str, Path]]:
        """Name -> a folder with that revision; all are removed in the end.

        Raises:
            NothingMeasuredError: git cannot check one out.
        """
        self.remove_stale()
        parent = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        lock = FileLock(parent / LOCK)
        lock.acquire()
        try:
            folders = {}
            for name, revision in revisions.items():
                folders[name] = parent / name
                self.git("worktree", "add", "--detach", str(folders[name]), revision.commit)
            yield folders
        finally:
            self._remove(parent)
            lock.release()

    def remove_stale(self) -> None:
        """Remove the worktrees of gates that were killed."""
        for parent in {path.parent for path in self._worktrees()}:
            if not parent.name.startswith(PREFIX):
                continue
            if not parent.exists():
                continue  # pruned below
            lock = FileLock(parent / LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:  # a gate that is running
                continue
            self._remove(parent)
            lock.release()
        self.git("worktree", "prune")

    def _worktrees(self) -> list[Path]:
        lines = self.git("worktree", "list", "--porcelain").splitlines()
        return [Path(line.removeprefix("worktree ")) for line in lines if line[:9] == "worktree "]

    def _remove(self, parent: Path) -> None:
        """Remove a folder of worktrees, and git's knowledge of them."""
        shutil.rmtree(parent, ignore_errors=True)
        self.git("worktree", "prune")

    def git(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """What git prints, run in the root; see ``_git``."""
        return _git(self.root, *arguments, environment=environment)


def _git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What git prints, without hooks; its message as a ``NothingMeasuredError`` if it fails."""
    own = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    command = ["git", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
            env={**own, **(environment or {})},
        )
    except FileNotFoundError:
        raise NothingMeasuredError("git is not installed, and a gate compares revisions") from None
    except subprocess.CalledProcessError as error:
        text = (error.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NothingMeasuredError(f"git {arguments[0]} failed: {text}") from error
    return done.stdout.strip()
