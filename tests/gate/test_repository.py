"""Revisions in folders of their own, which never stay."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paca_bench.errors import NothingMeasuredError
from paca_bench.gate.repository import PREFIX, Repository, Revision
from tests.fakes import heeds_ctrl_c
from tests.gate.project import git, make_project, worktrees, write


@pytest.fixture
def project(tmp_path):
    versions = ({"kernel.py": "one", ".gitignore": "*.log"}, {"kernel.py": "two"})
    return make_project(tmp_path / "project", *versions)


@pytest.fixture
def repository(project):
    return Repository.around(project)


def test_a_revision_is_a_branch_a_tag_or_a_hash(repository, project):
    first = git(project, "rev-parse", "v1")
    assert repository.revision("v1") == Revision("v1", first)
    assert repository.revision(first[:8]).commit == first
    assert repository.revision("main").commit == repository.revision("HEAD").commit != first


@pytest.mark.parametrize("name", ["nowhere", "", "--help", "-x", "HEAD:kernel.py", "v1 v2"])
def test_what_is_no_revision_is_said_with_what_to_do(repository, name):
    with pytest.raises(NothingMeasuredError, match=r"is no commit of .*git fetch") as error:
        repository.revision(name)
    assert error.value.exit_code == 3


def test_no_repository(tmp_path):
    with pytest.raises(NothingMeasuredError, match="in no git repository"):
        Repository.around(tmp_path)


def test_a_folder_inside_is_in_the_repository(project):
    (project / "inner").mkdir()
    assert Repository.around(project / "inner").root == project.resolve()


def test_without_git(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NothingMeasuredError, match="git is not installed"):
        Repository.around(project)


def test_a_clean_working_tree_is_its_commit(repository, project):
    (project / "some.log").touch()
    assert repository.working_tree() == Revision("working tree", git(project, "rev-parse", "HEAD"))


def test_a_working_tree_is_measured_with_its_changes_and_left_as_it_is(repository, project):
    write(project, {"kernel.py": "three", "new/helper.py": "new", "some.log": "ignored"})
    git(project, "rm", "--quiet", "--cached", ".gitignore")
    before = git(project, "status", "--porcelain"), git(project, "log", "--all", "--oneline")
    found = repository.working_tree()
    assert found.is_dirty
    assert "uncommitted changes included" in str(found)
    with repository.checked_out({"head": found}) as folders:
        assert (folders["head"] / "kernel.py").read_text() == "three"
        assert (folders["head"] / "new" / "helper.py").read_text() == "new"
        assert not (folders["head"] / "some.log").exists()
        write(project, {"kernel.py": "edited meanwhile"})
        assert (folders["head"] / "kernel.py").read_text() == "three"
    write(project, {"kernel.py": "three"})
    after = git(project, "status", "--porcelain"), git(project, "log", "--all", "--oneline")
    assert after == before


def test_both_sides_are_there_and_then_gone(repository, project):
    both = {"base": repository.revision("v1"), "head": repository.revision("v2")}
    with repository.checked_out(both) as folders:
        assert (folders["base"] / "kernel.py").read_text() == "one"
        assert (folders["head"] / "kernel.py").read_text() == "two"
        assert len(str(folders["base"])) == len(str(folders["head"]))
        assert len(worktrees(project)) == 3
    assert worktrees(project) == [str(project.resolve())]
    assert not folders["base"].parent.exists()


def test_the_same_revision_on_both_sides(repository):
    same = repository.revision("v1")
    with repository.checked_out({"base": same, "head": same}) as folders:
        assert (folders["head"] / "kernel.py").read_text() == "one"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_worktrees_go_whatever_happens(repository, project, error):
    with pytest.raises(error), repository.checked_out({"base": repository.revision("v1")}):
        raise error
    assert worktrees(project) == [str(project.resolve())]


def test_hooks_of_the_user_do_not_run(repository, project):
    hook = project / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with repository.checked_out({"base": repository.revision("v1")}) as folders:
        assert (folders["base"] / "kernel.py").exists()


def test_variables_of_an_outer_git_do_not_count(repository, project, monkeypatch, tmp_path):
    """As in a hook, or in a rebase's --exec."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert Repository.around(project).revision("v1").name == "v1"


HOLD = """
import sys, time
from pathlib import Path
from paca_bench.gate.repository import Repository
repository = Repository.around(Path(sys.argv[1]))
with repository.checked_out({"base": repository.revision("v1")}):
    print("there", flush=True)
    time.sleep(60)
"""


def test_a_killed_gates_worktrees_go_at_the_next_start_and_a_running_ones_stay(repository, project):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(project)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "there\n"
        (left,) = [Path(path) for path in worktrees(project) if PREFIX in path]
        repository.remove_stale()
        assert (left / "kernel.py").exists()
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    assert (left / "kernel.py").exists()
    with repository.checked_out({"base": repository.revision("v2")}):
        assert not left.parent.exists()
        assert str(left) not in worktrees(project)


def test_worktrees_of_the_user_stay(repository, project, tmp_path):
    git(project, "worktree", "add", "--quiet", "--detach", str(tmp_path / "mine"), "v1")
    repository.remove_stale()
    assert (tmp_path / "mine" / "kernel.py").exists()


TERMINATED = """
import sys, time
from pathlib import Path
from paca_bench.cli.gate import _end_in_good_order
from paca_bench.gate.repository import Repository
_end_in_good_order()
repository = Repository.around(Path(sys.argv[1]))
with repository.checked_out({"base": repository.revision("v1")}):
    print("there", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_job_that_is_ended_leaves_no_worktree(project, sent, code):
    with subprocess.Popen(
        [sys.executable, "-c", TERMINATED, str(project)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=heeds_ctrl_c,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "there\n"
        os.kill(other.pid, sent)
        assert other.wait(timeout=30) == code
    assert worktrees(project) == [str(project.resolve())]
