"""One command checks everything: ``nox``. CI runs the same sessions."""

import json
from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "venv"

CONSTRAINED = ("-c", "constraints.txt")


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite. Arguments after -- go to pytest."""
    session.install(*CONSTRAINED, "-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    session.install("ruff==0.17.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on the package."""
    session.install(*CONSTRAINED, "-e", ".", "mypy==2.4.1", "pandas-stubs")
    session.run("mypy")


@nox.session
def bench(session: nox.Session) -> None:
    """The pytest-benchmark modules in suites/. Arguments after -- go to pytest."""
    session.install(*CONSTRAINED, "-e", ".[test]")
    modules = sorted(str(path) for path in Path("suites").glob("bench_*.py"))
    # The allocator that workers have, as workers know it.
    program = "import json; from paca_bench.workers import TUNED_MALLOC as t; print(json.dumps(t))"
    tuned = json.loads(session.run("python", "-c", program, silent=True))
    session.run("pytest", *modules, "--benchmark-only", *session.posargs, env=tuned)
