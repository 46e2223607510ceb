"""A user's file is loaded once, or its fault is named with file and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paca_bench.attention import registry
from paca_bench.errors import PluginError
from paca_bench.plugins import load_plugins
from tests.fakes import own_registry

MECHANISM = """
from paca_bench import register_attention
from paca_bench.attention.base import Attention
from paca_bench.complexity.cost import Cost

def cost(*, grid, dim, num_heads):
    return Cost({}, {}, {})

@register_attention("%s", cost=cost)
class Mine(Attention):
    def __init__(self, *, dim, num_heads, grid):
        super().__init__()

    def forward(self, x, grid, shared=None):
        return x
"""


@pytest.fixture(autouse=True)
def _registry_of_its_own() -> Iterator[None]:
    with own_registry():
        yield


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_what_a_plugin_registers_is_known(tmp_path: Path) -> None:
    load_plugins([write(tmp_path, MECHANISM % "mine")])
    assert registry.get_mechanism("mine").title == "mine"


def test_a_plugin_named_twice_is_loaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, MECHANISM % "mine")
    monkeypatch.chdir(tmp_path)
    load_plugins([file, "mine.py", "./mine.py"])
    load_plugins([file])


def test_two_plugins_of_one_file_name_are_two(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, MECHANISM % name))
    load_plugins(files)
    assert {"one", "two"} <= registry.mechanisms().keys()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\ndef f(:\n", ", line 2: SyntaxError: "),
        ("x = 1\n  y = 2\n", ", line 2: IndentationError: "),
        ("\nimport no_such_module\n", ", line 2: ModuleNotFoundError: No module named"),
        ("def f():\n    return 1 / 0\nf()\n", ", line 2: ZeroDivisionError: "),
        ("raise SystemExit(3)\n", ", line 1: SystemExit: 3"),
        ("import json\njson.loads('{')\n", ", line 2: JSONDecodeError: "),
        ("exec('1 +')\n", ", line 1: SyntaxError: "),
        ("x = '\0'\n", "SyntaxError: source code"),
        (MECHANISM % "vit", "mechanism 'vit' is already registered by"),
        (MECHANISM % "Bad Name", "mechanism name 'Bad Name' is not allowed"),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_a_fault_is_named_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str, relative: bool
) -> None:
    file = write(tmp_path, text)
    if relative:
        monkeypatch.chdir(tmp_path)
        file = "mine.py"
    for _ in range(2):
        # Every time, not only the first.
        with pytest.raises(PluginError) as error:
            load_plugins([file])
        message = str(error.value)
        assert message.startswith(f"--plugin {file}")
        assert says in message
        assert "line None" not in message


def test_the_line_of_a_fault_in_another_file_is_where_it_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "\n\n\ndef f(:\n", "helper_of_a_plugin.py")
    monkeypatch.syspath_prepend(tmp_path)
    file = write(tmp_path, "x = 1\nimport helper_of_a_plugin\n")
    with pytest.raises(PluginError, match=r"mine\.py, line 2: SyntaxError: .*helper_of_a_plugin"):
        load_plugins([file])


def test_what_is_not_a_python_file(tmp_path: Path) -> None:
    for name, says in (
        ("missing.py", "there is no such file"),
        ("", "there is no such file"),
        ("x" * 5000, "there is no such file"),
    ):
        with pytest.raises(PluginError, match=says):
            load_plugins([str(tmp_path / name)])
    with pytest.raises(PluginError, match=r"a plugin is a Python file \(\.py\)"):
        load_plugins([write(tmp_path, "x = 1", "mine.txt")])
    (tmp_path / "mine.so").write_bytes(b"not a library")
    with pytest.raises(PluginError, match="ImportError"):
        load_plugins([str(tmp_path / "mine.so")])
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(PluginError, match="SyntaxError"):
        load_plugins([str(tmp_path / "bytes.py")])


def test_a_plugin_that_failed_halfway_can_be_mended_and_loaded(tmp_path: Path) -> None:
    file = write(tmp_path, MECHANISM % "mine" + "\n1 / 0\n")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        load_plugins([file])
    assert "mine" not in registry.mechanisms()
    write(tmp_path, MECHANISM % "mine")
    load_plugins([file])
    assert "mine" in registry.mechanisms()


def test_interrupting_an_import_is_not_the_plugins_fault(tmp_path: Path) -> None:
    file = write(tmp_path, "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_plugins([file])
