"""The dependency rule of the design, read from the source; and what start-up loads."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "paca_bench"
MODULES = sorted(PACKAGE.rglob("*.py"))

# library -> the folders and modules of the package that may import it
ALLOWED = {
    "torch": {
        "attention", "models", "complexity", "measure", "data", "worker", "environment",
        "explain", "preview",
    },
    "fvcore": {"complexity"},
    "plotly": {"report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "scipy": {"analyse"},
    "typer": {"cli"},
    "PIL": {"data"},
    "pynvml": {"environment", "measure"},
}  # fmt: skip
HEAVY = ("torch", "pandas", "plotly", "scipy", "numpy", "jinja2", "fvcore", "mlxtend", "PIL")
# What ``import paca_bench`` and the command line load before a command runs.
START_UP = {"__init__", "cli", "errors", "version", "units", "axes", "spec", "record", "store",
            "results", "typed_json", "plugins", "catalogue", "progress", "preview", "explain",
            "workers", "sweeper", "runner", "environment"}  # fmt: skip


def place(path: Path) -> str:
    """The folder of the package, or the module where it stands at the top."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield node.module or ""


def module_level(tree: ast.Module) -> Iterator[str]:
    """Imports that run when the module is imported: not in functions, not for types only."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        waiting += ast.iter_child_nodes(node)


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_dependency_rule(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in set(map(top, imports(tree))) & ALLOWED.keys():
        assert place(path) in ALLOWED[name], f"{name} may not be imported here"
    if place(path) in START_UP:
        heavy = set(map(top, module_level(tree))) & set(HEAVY)
        assert not heavy, f"{heavy} must be imported inside a function here"


DOING = {"worker", "workers", "runner", "sweeper", "measure", "models", "attention"}
UPWARDS = {
    "analyse": {"report", *DOING},
    "report": DOING,
    "store": {"analyse", "report", "plan", "spec", *DOING},
    "record": {"analyse", "report", "plan", "spec", "store", *DOING},
    "measure": {"analyse", "report", "plan", "store", "runner", "sweeper"},
    "attention": {"analyse", "report", "plan", "store", "runner", "sweeper", "measure", "models"},
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_data_flows_one_way(path: Path) -> None:
    """Analysis and report know nothing of measuring, and nothing below knows the top."""
    found = {
        name.split(".")[1]
        for name in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("paca_bench.")
    }
    assert not found & UPWARDS.get(place(path), set())
    assert place(path) == "cli" or "cli" not in found


def test_the_rule_is_checked_against_something() -> None:
    uses = dict.fromkeys(ALLOWED, 0)
    for path in MODULES:
        for name in map(top, imports(ast.parse(path.read_text(encoding="utf-8")))):
            if name in uses:
                uses[name] += 1
    assert all(uses.values()), uses


def loaded_by(code: str) -> set[str]:
    """The modules in a fresh Python after ``code``."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {top(name) for name in json.loads(done.stderr.splitlines()[-1])}


HELP = """
import sys
from paca_bench.cli import main
sys.argv = ["paca-bench", {}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import paca_bench; dir(paca_bench); paca_bench.__version__; paca_bench.PacaBenchError",
        "import paca_bench.cli",
        HELP.format('"--help"'),
        HELP.format('"sweep", "--help"'),
        HELP.format('"--version"'),
        HELP.format('"list", "suites"'),
    ],
    ids=["import", "cli", "--help", "sweep --help", "--version", "list suites"],
)
def test_start_up_loads_nothing_heavy(code: str) -> None:
    assert not loaded_by(code) & {*HEAVY}


def test_loading_results_and_reporting_need_no_torch(tmp_path: Path) -> None:
    """A machine that only compares and reports has no use for torch."""
    code = f"""
from pathlib import Path
from tests.builders import make_record, make_run
import paca_bench
run = make_run(Path({str(tmp_path / "run")!r}), [make_record("vit")]).path
paca_bench.load_results(run)
paca_bench.write_report(run, {str(tmp_path / "report.html")!r})
"""
    assert "torch" not in loaded_by(code)
