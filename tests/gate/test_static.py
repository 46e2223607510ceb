"""The counts of both sides: each in a process of its own, with the paca_bench of its worktree."""

import json

import pytest

from paca_bench.errors import NothingMeasuredError, SpecError
from paca_bench.gate.repository import Revision
from paca_bench.gate.side import GateSide
from paca_bench.gate.static import METRICS, count_both
from paca_bench.store import RUN_FILE
from tests.gate.project import write

# A package in the worktree stands for another revision of paca_bench itself.
PACKAGE = """
import json, os, sys
from pathlib import Path

class PacaBenchError(Exception):
    exit_code = {code}

def sweep(**settings):
    {body}
"""
RUNS = """out = Path(settings["out"])
    out.mkdir()
    (out / "run.json").write_text(json.dumps(settings))
    (out / "where").write_text(__file__)"""


@pytest.fixture
def both(tmp_path):
    """Counts sides whose ``sweep`` is the Python given for each."""

    def count(base, new, code=2, **settings):
        sides = []
        for name, body in (("BASE", base), ("NEW", new)):
            folder = tmp_path / name
            write(folder, {"paca_bench/__init__.py": PACKAGE.format(code=code, body=body)})
            revision = Revision(name.lower(), "0" * 40)
            sides.append(GateSide.importing(name, revision, folder))
        runs = {name: tmp_path / f"run-{name}" for name in ("BASE", "NEW")}
        count_both(sides, {name: {"res": 32, **settings} for name in runs}, runs)
        return runs

    return count


def test_each_side_runs_the_package_of_its_worktree_if_it_has_one(both, tmp_path):
    runs = both(RUNS, RUNS, level="layer")
    for name, run in runs.items():
        assert (run / "where").read_text().startswith(str(tmp_path / name))
        settings = json.loads((run / RUN_FILE).read_text())
        assert settings == {"res": 32, "level": "layer", "metrics": METRICS, "out": str(run)}


FAILS = {
    "refused": ("raise PacaBenchError('no such thing')", "no such thing"),
    "broken": ("raise ValueError('half done')", "ValueError: half done"),
    "killed": ("os.kill(os.getpid(), 9)", "it ended without a word"),
    "silent": ("pass", "it ended without a word"),
}


@pytest.mark.parametrize("fails", FAILS)
@pytest.mark.parametrize("name", ["BASE, base", "NEW, new"])
def test_a_side_that_cannot_run(both, fails, name):
    body, text = FAILS[fails]
    sides = (RUNS, body) if name.startswith("NEW") else (body, RUNS)
    with pytest.raises(NothingMeasuredError, match=f"could not run: {name}.*{text}") as error:
        both(*sides)
    assert error.value.exit_code == 3


def test_settings_that_both_sides_refuse_are_bad_usage(both):
    body = FAILS["refused"][0]
    with pytest.raises(SpecError, match=r"^no such thing$") as error:
        both(body, body)
    assert error.value.exit_code == 2


def test_a_sweep_in_which_nothing_worked_is_a_side_too(both):
    """Its records say what failed, and the comparison says so case by case."""
    failed = RUNS + "\n    raise PacaBenchError('no case ended with a figure')"
    assert all((run / RUN_FILE).exists() for run in both(RUNS, failed, code=3).values())
