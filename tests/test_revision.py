"""Which commit a run says it is of, from real repositories and from none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from paca_bench import sweeper
from paca_bench.analyzer import analyze
from paca_bench.revision import git_revision
from paca_bench.store import RunFolder
from tests.fakes import FakeMachine, FakePool

DATE = "2026-01-31T12:00:00+02:00"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@localhost")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One commit of one file."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_COMMITTER_DATE", DATE)
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "kernel.py").write_text("fast = True\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_clean_commit(repository: Path) -> None:
    expected = {"commit": git(repository, "rev-parse", "HEAD"), "dirty": False,
                "committed_at": DATE}  # fmt: skip
    assert git_revision(repository) == expected
    (repository / "deeper").mkdir()
    assert git_revision(repository / "deeper") == expected


def test_a_tracked_change_is_dirty_and_a_new_file_is_not(repository: Path) -> None:
    (repository / "results").mkdir()
    (repository / "results" / "run.json").write_text("{}")
    clean = git_revision(repository)
    (repository / "kernel.py").write_text("fast = False\n")
    changed = git_revision(repository)
    assert clean is not None
    assert changed == {**clean, "dirty": True}
    assert not clean["dirty"]


def test_outside_a_repository_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision(tmp_path) is None


def test_before_the_first_commit_there_is_none(repository: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert git_revision(empty) is None


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), PermissionError("git"), subprocess.TimeoutExpired("git", 5)]
)
def test_a_git_that_is_missing_or_hangs_breaks_nothing(
    repository: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", broken)
    assert git_revision(repository) is None


def test_a_sweep_says_its_commit_and_goes_on_after_the_next_one(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes between two commits need not be what is measured: ``code`` says that."""
    monkeypatch.setattr(sweeper, "WorkerPool", FakePool(FakeMachine()))
    monkeypatch.chdir(repository)
    settings = {"res": "64", "mechanism": "vit", "mode": "forward", "level": "layer",
                "metrics": "latency"}  # fmt: skip
    run = sweeper.sweep(out=repository / "run", **settings)
    first = RunFolder.open(run).header["git"]
    assert first == git_revision(repository)
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    sweeper.sweep(out=repository / "run", resume=True)
    assert RunFolder.open(run).header["git"] != first


def test_an_analysis_says_its_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    run = analyze(out=repository / "run", res="64", mechanism="vit", level="layer")
    assert RunFolder.open(run).header["git"] == git_revision(repository)
