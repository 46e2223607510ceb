"""A mechanism of an installed package is found with no edit and no flag."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from paca_bench.attention import registry
from paca_bench.attention.registry import ENTRY_POINT_GROUP, attention_cost, mechanisms
from paca_bench.errors import PluginError

PACKAGE = Path(__file__).parent / "package"


def install(site: Path, name: str, entry_points: dict[str, str], **modules: str) -> None:
    """What an installer leaves in ``site``: the modules, and the metadata that Python reads."""
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{ENTRY_POINT_GROUP}]", *(f"{k} = {v}" for k, v in entry_points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on ``sys.path``, and a registry to which nothing is installed yet."""
    monkeypatch.setattr(registry, "_mechanisms", mechanisms())
    monkeypatch.setattr(registry, "_installed_loaded", False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_installed_package_is_found_by_a_fresh_python(tmp_path: Path) -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    source = (PACKAGE / "identity_attention.py").read_text()
    points = project["entry-points"][ENTRY_POINT_GROUP]
    install(tmp_path, "identity_attention", points, identity_attention=source)
    program = (
        "import json, torch\n"
        "from paca_bench.attention.registry import create_attention, get_mechanism\n"
        "m = get_mechanism('skipped')\n"
        "a = create_attention('skipped', dim=8, num_heads=2, grid=(2, 3))\n"
        "macs = m.cost(dim=8, num_heads=2, grid=(2, 3)).macs\n"
        "print(json.dumps([m.title, list(a(torch.ones(1, 6, 8), (2, 3)).shape), macs]))\n"
    )
    paths = [str(tmp_path), str(PACKAGE.parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["No attention", [1, 6, 8], 6 * 64]


BROKEN = {
    "raises": ("raise RuntimeError('no such kernel')", "RuntimeError: no such kernel"),
    "imports": ("import a_module_that_does_not_exist", "ModuleNotFoundError: No module named"),
    "duplicate": (
        "from paca_bench.attention.registry import register_attention\n"
        "from paca_bench.attention.vit import SelfAttention, vit_cost\n"
        "register_attention('vit', cost=vit_cost)(SelfAttention)",
        "PluginError: mechanism 'vit' is already registered",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_package_is_named_every_time(site: Path, kind: str) -> None:
    source, reason = BROKEN[kind]
    module = f"broken_attention_{kind}"
    install(site, module, {"mine": module}, **{module: source})
    # Twice: a failure must not make the next call pass without the plugin.
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            mechanisms()
        assert str(caught.value).startswith(
            f"the installed plugin 'mine' ({module}) cannot be loaded: {reason}"
        )
        assert str(caught.value).endswith("; uninstall or mend it")
        assert caught.value.__cause__ is not None


def test_a_missing_module_is_named(site: Path) -> None:
    install(site, "gone_attention", {"gone": "gone_attention"})
    with pytest.raises(PluginError, match=r"'gone' \(gone_attention\) cannot be loaded"):
        attention_cost("vit", dim=8, num_heads=2, grid=(2, 3))


def test_packages_are_loaded_once(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "loads", 0, raising=False)
    source = "from paca_bench.attention import registry\nregistry.loads += 1\n"
    install(site, "counting_attention", {"c": "counting_attention"}, counting_attention=source)
    for _ in range(3):
        mechanisms()
    assert registry.loads == 1
    assert registry._installed_loaded
