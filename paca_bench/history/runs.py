"""The runs of a history in the order of their commits, wherever they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from paca_bench.compare.pytest_benchmark import read_benchmarks
from paca_bench.compare.runs import is_run, read_run
from paca_bench.compare.sides import SideCase, sources
from paca_bench.errors import StoreError
from paca_bench.store import RunFolder

# What pytest-benchmark writes where there is no repository.
_NO_COMMIT = ("unversioned", "unknown")
_SHORT = 9
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRun:
    """One run, or one pytest-benchmark file.

    Attributes:
        path: of the run folder or the file.
        cases: what was measured; of the samples of each process their median alone.
        started_at: None where it was not recorded.
        commit: None where the run was made in no git repository.
        is_dirty: tracked files had been changed since the commit.
        committed_at: of the commit.
    """

    path: Path
    cases: Sequence[SideCase]
    started_at: datetime | None = None
    commit: str | None = None
    is_dirty: bool = False
    committed_at: datetime | None = None

    @property
    def label(self) -> str:
        """The short commit, with a star if files had been changed; else the folder's name."""
        if self.commit is None:
            return self.path.resolve().name
        return self.commit[:_SHORT] + ("*" if self.is_dirty else "")

    @property
    def at(self) -> datetime:
        """Its place in time: of its commit, or of its start where there is no commit."""
        return self.committed_at or self.started_at or _NEVER

    @property
    def date(self) -> str:
        """``2026-01-31``; empty if unknown."""
        return "" if self.at == _NEVER else self.at.date().isoformat()

    def same_code(self, other: HistoryRun) -> bool:
        """True if both are of the same commit, and of nothing but it."""
        return (
            self.commit is not None
            and self.commit == other.commit
            and not (self.is_dirty or other.is_dirty)
        )


def load_runs(paths: Iterable[Path]) -> list[HistoryRun]:
    """All runs under ``paths``: run folders, pytest-benchmark files, or folders of either.

    In order of their commits' dates; runs of one commit, and those without one, in order of
    their start. A folder that holds no run adds none.

    Raises:
        StoreError: a path does not exist, or what is there cannot be read.
    """
    found: dict[Path, HistoryRun] = {}
    for path in paths:
        if not path.exists():
            raise StoreError(
                f"{path} does not exist; give run folders, pytest-benchmark JSON files, or "
                f"folders of them, such as results/*"
            )
        for source in sources(path):
            read = _read_run if is_run(source) else _read_benchmarks
            run = read(source)
            found.setdefault(run.path.resolve(), run)
    return sorted(found.values(), key=lambda run: (run.at, run.started_at or _NEVER, run.label))


def _read_run(path: Path) -> HistoryRun:
    folder = RunFolder.open(path)
    git = _mapping(folder.header.get("git"))
    commit = git.get("commit")
    return HistoryRun(
        path=folder.path,
        cases=_medians(read_run(path)[0]),
        started_at=_moment(folder.header.get("started_at")),
        commit=commit if isinstance(commit, str) else None,
        is_dirty=git.get("dirty") is True,
        committed_at=_moment(git.get("committed_at")),
    )


def _read_benchmarks(path: Path) -> HistoryRun:
    cases = _medians(read_benchmarks(path)[0])
    content = _mapping(json.loads(path.read_bytes()))
    info = _mapping(content.get("commit_info"))
    commit = info.get("id")
    return HistoryRun(
        path=path,
        cases=cases,
        started_at=_moment(content.get("datetime")),
        commit=commit if isinstance(commit, str) and commit not in _NO_COMMIT else None,
        is_dirty=info.get("dirty") is True,
        committed_at=_moment(info.get("time")),
    )


def _medians(cases: Iterable[SideCase]) -> list[SideCase]:
    """The cases without the samples, which are many where runs are."""
    return [replace(case, processes=[[median(p)] for p in case.processes]) for case in cases]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _moment(value: Any) -> datetime | None:
    """A moment from ISO 8601, in UTC where it does not say; None if it is none."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
