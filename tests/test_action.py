"""The GitHub Action and the workflows: their structure, and the script with a made-up gate."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from paca_bench.cli import app

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "action.yml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EVIL = "$(touch pwned) `touch pwned`; touch pwned\" ' && touch pwned #"
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
USED = re.compile(r"\binputs\.([A-Za-z][\w-]*)")

# Records its arguments one a line, and ends as it is told.
FAKE_GATE = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$ARGUMENTS"
for argument in "$@"; do
  case "$SILENT$argument" in --markdown=*) echo found > "${argument#--markdown=}" ;; esac
done
exit "$STATUS"
"""


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    # YAML 1.1 reads the key "on" as true.
    return {("on" if key is True else key): value for key, value in content.items()}


def action() -> dict[str, Any]:
    return read(ACTION)


def steps() -> list[dict[str, Any]]:
    return action()["runs"]["steps"]


def scripts(content: object) -> list[str]:
    """Every ``run`` anywhere."""
    if isinstance(content, dict):
        own = [content["run"]] if isinstance(content.get("run"), str) else []
        return own + [script for value in content.values() for script in scripts(value)]
    if isinstance(content, list):
        return [script for value in content for script in scripts(value)]
    return []


def used_actions(content: object) -> list[str]:
    if isinstance(content, dict):
        own = [content["uses"]] if isinstance(content.get("uses"), str) else []
        return own + [name for value in content.values() for name in used_actions(value)]
    if isinstance(content, list):
        return [name for value in content for name in used_actions(value)]
    return []


def gate_step() -> dict[str, Any]:
    return next(step for step in steps() if step.get("id") == "gate")


def gate_options() -> dict[str, Any]:
    """Option of ``paca-bench gate`` -> click's parameter."""
    command = typer.main.get_command(app).commands["gate"]
    return {name: parameter for parameter in command.params for name in parameter.opts}


def test_the_action_is_a_composite_whose_steps_say_their_shell() -> None:
    assert action()["runs"]["using"] == "composite"
    for step in steps():
        assert ("run" in step) != ("uses" in step)
        assert ("shell" in step) == ("run" in step)


def test_inputs_that_are_used_are_declared_and_the_other_way_round() -> None:
    declared = action()["inputs"]
    found = set(USED.findall(" ".join(EXPRESSION.findall(ACTION.read_text(encoding="utf-8")))))
    assert found == declared.keys()
    for name, one in declared.items():
        assert one["description"], name
        assert isinstance(one.get("default", ""), str), f"{name}: an input is a text"


def test_outputs_are_those_of_steps() -> None:
    for output in action()["outputs"].values():
        step, name = re.search(r"steps\.(\w+)\.outputs\.([\w-]+)", output["value"]).groups()
        assert f"{name}=" in next(one for one in steps() if one.get("id") == step)["run"]


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_no_script_holds_an_expression(path: Path) -> None:
    """What an expression puts into a script is run as its text."""
    assert not any(EXPRESSION.search(script) for script in scripts(read(path)))


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_scripts_are_bash(path: Path) -> None:
    found = scripts(read(path))
    assert found or path.name == "performance.yml"
    for script in found:
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS], ids=lambda path: path.name)
def test_other_actions_have_a_version(path: Path) -> None:
    for name in used_actions(read(path)):
        assert name == "./" or re.fullmatch(r"actions/[\w-]+@v\d+", name)


def test_every_option_exists_and_takes_a_value_where_one_is_given() -> None:
    options = gate_options()
    script = gate_step()["run"]
    given = {name: "=" in mark for name, mark in re.findall(r"^\s+(--[a-z-]+)(=?)", script, re.M)}
    given |= dict.fromkeys(re.findall(r"option (--[a-z-]+)", script), True)
    given |= dict.fromkeys(re.findall(r"switch (--[a-z-]+)", script), False)
    assert {"--base", "--github", "--html", "--plugin", "--strict", "--static-only"} <= given.keys()
    for name, takes_value in given.items():
        assert name in options, f"paca-bench gate has no {name}"
        assert options[name].is_flag != takes_value, name
    assert options["--plugin"].multiple


def test_every_exit_code_is_described() -> None:
    text = action()["outputs"]["exit-code"]["description"]
    assert all(re.search(rf"\b{code} \w+", text) for code in range(5))


@dataclass
class Ended:
    status: int
    arguments: list[str]
    output: str
    summary: str
    log: str
    folder: Path

    @property
    def options(self) -> list[str]:
        """Without the command, and the files that are always written."""
        command, *options = self.arguments
        assert command == "gate"
        files = ("--out=", "--html=", "--markdown=", "--json=", "--junit=")
        return [one for one in options if not one.startswith(files)]


@pytest.fixture
def gated(tmp_path: Path):
    """The script of the step ``gate``, with inputs as given and a gate that ends as told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "paca-bench").write_text(FAKE_GATE)
    (programs / "paca-bench").chmod(0o755)
    place = tmp_path / "work space"
    place.mkdir()

    def run(status: int = 0, silent: bool = False, **inputs: str) -> Ended:
        declared = action()["inputs"]
        known = {name.replace("-", "_"): name for name in declared}
        values = {name: str(declared[name].get("default", "")) for name in declared}
        values |= {"base": "main"} | {known[name]: value for name, value in inputs.items()}
        files = {name: tmp_path / name for name in ("ARGUMENTS", "GITHUB_OUTPUT", "SUMMARY")}
        environment = {
            name: EXPRESSION.sub(lambda found: _value(found.group(1), values, tmp_path), text)
            for name, text in gate_step()["env"].items()
        }
        done = subprocess.run(
            # As the runner does for "shell: bash".
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", gate_step()["run"]],
            cwd=place,
            env={
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "STATUS": str(status),
                "SILENT": "yes" if silent else "",
                "ARGUMENTS": str(files["ARGUMENTS"]),
                "GITHUB_OUTPUT": str(files["GITHUB_OUTPUT"]),
                "GITHUB_STEP_SUMMARY": str(files["SUMMARY"]),
                **environment,
            },
            capture_output=True,
            text=True,
        )
        content = {k: path.read_text() if path.exists() else "" for k, path in files.items()}
        assert done.stderr == ""
        return Ended(
            done.returncode,
            content["ARGUMENTS"].splitlines(),
            content["GITHUB_OUTPUT"],
            content["SUMMARY"],
            done.stdout,
            place,
        )

    return run


def _value(expression: str, inputs: dict[str, str], temp: Path) -> str:
    name = expression.strip()
    return str(temp) if name == "runner.temp" else inputs[name.removeprefix("inputs.")]


def test_what_is_not_asked_for_is_left_to_the_gate(gated) -> None:
    ended = gated()
    assert ended.options == ["--base=main", "--github"]
    assert ended.status == 0
    assert ended.output == "exit-code=0\n"
    assert ended.summary == "", "the gate itself writes it"


def test_every_input_is_an_option(gated) -> None:
    ended = gated(
        head="topic",
        suite="suites/own.toml",
        budget="5m",
        fail_on="latency>5%,macs>0",
        plugin="one.py\n\nmy kernels/two.py\n",
        static_only="true",
        install="true",
        strict="true",
    )
    assert ended.options == [
        "--base=main",
        "--github",
        "--head=topic",
        "--suite=suites/own.toml",
        "--budget=5m",
        "--fail-on=latency>5%,macs>0",
        "--plugin=one.py",
        "--plugin=my kernels/two.py",
        "--static-only",
        "--install",
        "--strict",
    ]


@pytest.mark.parametrize("name", ["base", "head", "suite", "budget", "fail_on", "plugin"])
def test_no_input_is_run(gated, name: str) -> None:
    ended = gated(**{name: EVIL})
    assert f"--{name.replace('_', '-')}={EVIL}" in ended.options
    assert not list(ended.folder.iterdir()), "nothing was made by a command in an input"


@pytest.mark.parametrize("name", ["static_only", "install", "strict"])
@pytest.mark.parametrize("value", ["True", "yes", "1", EVIL])
def test_a_switch_that_is_neither_true_nor_false_fails(gated, name: str, value: str) -> None:
    """A word that was meant as true must not be taken for false."""
    ended = gated(**{name: value})
    assert ended.status == 2
    assert ended.arguments == [], "the gate did not start"
    assert f"::error::the input {name.replace('_', '-')} is true or false" in ended.log
    assert "pwned" not in ended.log
    assert not list(ended.folder.iterdir())


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 130])
def test_the_step_ends_as_the_gate_does(gated, status: int) -> None:
    ended = gated(status)
    assert ended.status == status
    assert ended.output == f"exit-code={status}\n"


def test_a_gate_that_compared_nothing_is_in_the_summary(gated) -> None:
    ended = gated(3, silent=True)
    assert ended.status == 3
    assert "compared nothing (exit code 3)" in ended.summary


def test_reports_are_kept_whatever_the_end() -> None:
    (upload,) = [step for step in steps() if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == gate_step()["env"]["REPORTS"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_of_forks_need_no_secret_and_write_nothing(path: Path) -> None:
    content = read(path)
    assert "pull_request" in content["on"]
    assert "pull_request_target" not in content["on"]
    assert content["permissions"] == {"contents": "read"}
    assert "secrets." not in path.read_text(encoding="utf-8")
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 60
        checkout = next(step for step in job["steps"] if "checkout" in step.get("uses", ""))
        assert checkout["with"]["persist-credentials"] is False


def test_the_performance_workflow_uses_this_action() -> None:
    content = read(ROOT / ".github" / "workflows" / "performance.yml")
    (job,) = content["jobs"].values()
    checkout, gate = job["steps"]
    assert checkout["with"]["fetch-depth"] == 0, "the base must be there"
    assert gate["uses"] == "./"
    assert gate["with"].keys() <= action()["inputs"].keys()
    asked = content["on"]["workflow_dispatch"]["inputs"]
    expressions = " ".join(EXPRESSION.findall(str(gate["with"])))
    assert set(USED.findall(expressions)) == asked.keys()
    constraints = job["env"]["PIP_CONSTRAINT"].removeprefix("${{ github.workspace }}/")
    assert (ROOT / constraints).is_file()


def test_ci_does_what_ci_does_elsewhere() -> None:
    content = read(ROOT / ".github" / "workflows" / "ci.yml")
    assert scripts(content) == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
