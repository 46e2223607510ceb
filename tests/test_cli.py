"""The command line: one clear line for every mistake, and nothing harmed by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paca_bench import attention_cost, load_results, sweeper
from paca_bench.doctor import diagnose
from paca_bench.doctor.diagnose import run_doctor
from paca_bench.doctor.finding import Diagnosis
from paca_bench.record import Status
from paca_bench.store import RunFolder
from paca_bench.workers import Outcome
from tests.builders import make_record, make_run
from tests.command import Result, typed
from tests.doctor.fakes import Patient
from tests.fakes import FakeMachine, FakePool, own_registry
from tests.test_store import snapshot

TINY = ("--mechanism", "vit,paca", "--clusters", "4", "--mode", "forward", "--level", "layer")


Run = Callable[..., Result]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Run]:
    """``main()`` in this process, in an empty folder, as if typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def call(*arguments: object) -> Result:
        return typed(arguments, monkeypatch, capsys)

    with own_registry():
        yield call


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> FakePool:
    one = FakePool(FakeMachine())
    monkeypatch.setattr(sweeper, "WorkerPool", one)
    return one


def is_one_line(result: Result, says: str) -> None:
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.startswith("paca-bench: ")
    assert result.err.count("\n") == 1
    assert result.err.endswith("\n")
    assert says in result.err
    assert "Traceback" not in result.err


# ---- help and version

COMMANDS = ("sweep", "report", "list", "explain", "doctor", "clusters")


@pytest.mark.parametrize("command", [(), *((c,) for c in COMMANDS)])
def test_help(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert (result.code, result.err) == (0, "")
    assert "Usage: paca-bench" in result.out
    if not command:
        assert all(name in result.out for name in COMMANDS)


def test_every_setting_is_an_option_with_help(run: Run) -> None:
    from paca_bench.spec import _KEYS

    text = run("sweep", "--help").out
    for key in _KEYS:
        assert f"--{key.replace('_', '-')} " in text
    for option in ("--suite", "--out", "--resume", "--dry-run"):
        assert f"{option} " in text


def test_no_command_shows_the_help(run: Run) -> None:
    result = run()
    assert "Usage: paca-bench" in result.out + result.err


def test_version(run: Run) -> None:
    from paca_bench import __version__

    assert run("--version").out == f"paca-bench {__version__}\n"


# ---- sweep


def test_a_sweep_prints_its_summary_and_where_the_report_is(run: Run, pool: FakePool) -> None:
    result = run("sweep", "--res", "64,96", *TINY, "--metrics", "latency,memory", "--out", "mine")
    assert (result.code, result.err) == (0, "")
    assert "Run folder: mine" in result.out
    assert "Report:     mine/report.html" in result.out
    assert "vit" in result.out
    assert len(load_results("mine")) == 4
    assert "<html" in Path("mine/report.html").read_text(encoding="utf-8")


def test_progress_is_plain_lines_where_the_output_is_no_terminal(run: Run, pool: FakePool) -> None:
    crash = Outcome(status=Status.CRASH, reason="killed by SIGSEGV [/bold]")
    pool.machine.fails = {("vit", "latency"): lambda _: crash}
    out = run("sweep", "--res", "64", *TINY, "--metrics", "latency", "--out", "mine").out
    assert out.startswith("2 cases; all of them would take about ")
    assert "15 min are left of the budget" in out.splitlines()[0]
    failed = "layer-nano-s1/vit/64/forward/b1/float32/cpu: latency crash: killed by SIGSEGV [/bold]"
    assert failed in out.splitlines()
    assert "\x1b" not in out
    assert "\r" not in out


def test_an_interrupted_sweep_says_how_to_go_on(run: Run, pool: FakePool) -> None:
    arguments = ("sweep", "--res", "64", *TINY, "--metrics", "latency", "--out", "mine")
    pool.machine.error = KeyboardInterrupt
    pool.machine.kill_at = 2
    result = run(*arguments)
    assert result.code == 130
    command = "paca-bench sweep --resume --out mine"
    assert result.err == f"interrupted; what was measured is kept. Go on with: {command}\n"
    assert run(*command.split()[1:]).code == 0
    assert len(pool.machine.jobs) == 6


def test_a_sweep_interrupted_before_it_began(
    run: Run, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "execute", interrupt)
    result = run("sweep", "--res", "64", *TINY, "--out", "mine")
    assert (result.code, result.err) == (130, "interrupted before anything was measured\n")


def test_a_sweep_without_a_figure_exits_with_3(run: Run, pool: FakePool) -> None:
    crash = Outcome(status=Status.CRASH, reason="as foreseen")
    pool.machine.fails = {(m, "latency"): lambda _: crash for m in ("vit", "paca")}
    result = run("sweep", "--res", "64", *TINY, "--metrics", "latency", "--out", "mine")
    assert result.code == 3
    assert "no case of the sweep ended with a figure" in result.err


def test_a_torn_run_goes_on_and_says_so_in_one_line(run: Run, pool: FakePool) -> None:
    arguments = ("sweep", *TINY, "--metrics", "latency", "--out", "mine")
    assert run(*arguments, "--res", "64").code == 0
    with Path("mine/records.jsonl").open("ab") as file:
        file.write(b'{"schema":1,"ca')
    result = run(*arguments, "--resume", "--res", "64,96")
    assert result.code == 0
    (said,) = set(result.err.splitlines())
    assert said.startswith("paca-bench: warning: mine/records.jsonl: the last line is torn")
    assert len(RunFolder.open("mine").records()) == 4


# ---- bad input

BAD_SWEEPS = {
    "unknown mechanism": (["--res", "64", "--mechanism", "vti"], "unknown mechanism 'vti'"),
    "reversed range": (["--res", "1024..224"], "write 224..1024"),
    "not a range": (["--res", "0..x"], "--res '0..x' is not a resolution"),
    "33 pixels": (["--res", "33"], "the nearest is 32"),
    "empty": (["--res", ""], "is not a resolution"),
    "empty mechanism": (["--res", "64", "--mechanism", ""], "--mechanism is empty"),
    "huge": (["--res", "9" * 5000], "is not a resolution"),
    "no resolution": ([], "add for example --res 224..1024"),
    "no suite": (["--suite", "smok"], "no suite 'smok'"),
    "budget": (["--res", "64", "--budget", "soon"], "--budget 'soon' is not a duration"),
    "device": (["--res", "64", "--device", "tpu"], "choose auto, cpu, cuda"),
    "level": (["--res", "64", "--level", "hots"], "did you mean 'host'?"),
    "data": (["--res", "64", "--data", "cifar"], "unknown data set 'cifar'"),
    "no plugin": (["--res", "64", "--plugin", "no.py"], "--plugin no.py: there is no such file"),
    "syntax error": (
        ["--res", "64", "--plugin", "bad.py"],
        "--plugin bad.py, line 2: SyntaxError: ",
    ),
    "file": (["--res", "64", "--out", "bad.py"], "bad.py is a file"),
    "below a file": (["--res", "64", "--out", "bad.py/run"], "Not a directory"),
    "name too long": (["--res", "64", "--out", "x" * 5000], "File name too long"),
    "finished run": (["--res", "64", "--out", "run"], "add --resume to continue it"),
    "no run": (["--resume", "--out", "missing"], "is not a run folder"),
    "resume what": (["--resume"], "--resume needs --out"),
}


# A dry run has no folder.
DRY_TOO = [what for what, (given, _) in BAD_SWEEPS.items() if not {"--out", "--resume"} & {*given}]


@pytest.mark.parametrize(
    ("what", "dry"), [*((what, False) for what in BAD_SWEEPS), *((what, True) for what in DRY_TOO)]
)
def test_bad_input_is_one_line_and_harms_no_run(
    run: Run, pool: FakePool, tmp_path: Path, what: str, dry: bool
) -> None:
    arguments, says = BAD_SWEEPS[what]
    make_run(tmp_path / "run", [make_record("vit")])
    Path("bad.py").write_text("x = 1\ndef f(:\n")
    before = snapshot(tmp_path)
    is_one_line(run("sweep", *arguments, *(["--dry-run"] if dry else [])), says)
    assert snapshot(tmp_path) == before
    assert not pool.machine.jobs


DAMAGE = {
    "foreign": b"date,latency\n2026,1\n",
    "not a record": b"{}\n",
    "newer": b'{"schema": 99}\n',
    "binary": b"\x00\xff\n",
    "damaged in the middle": b'{"schema":1,"ca\n',
}


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize(
    "command", [("sweep", "--resume", "--out", "run"), ("report", "run", "-o", "new.html")]
)
def test_a_damaged_run_is_left_as_it_is(
    run: Run, pool: FakePool, tmp_path: Path, what: str, command: tuple[str, ...]
) -> None:
    assert run("sweep", "--res", "64", *TINY, "--metrics", "latency", "--out", "run").code == 0
    with Path("run/records.jsonl").open("ab") as file:
        file.write(DAMAGE[what])
    before = snapshot(tmp_path)
    is_one_line(run(*command), "run/records.jsonl, line 3")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [["sweep", "--bogus"], ["bogus"], ["report"], ["explain"], ["explain", "vit", "--dim", "x"]],
)
def test_what_the_parser_refuses_exits_with_2_as_well(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert "Error: " in result.err
    assert "Traceback" not in result.err


# ---- dry run


def test_a_dry_run_shows_every_case_and_leaves_nothing(
    run: Run, pool: FakePool, tmp_path: Path
) -> None:
    result = run("sweep", "--res", "64,96", *TINY, "--metrics", "latency,memory", "--dry-run")
    assert (result.code, result.err) == (0, "")
    for mechanism in ("vit", "paca-M4"):
        for side in (64, 96):
            assert f"layer-nano-s1/{mechanism}/{side}/forward/b1/float32/cpu" in result.out
    assert "4 cases, 0 not run" in result.out
    assert "Nothing was run." in result.out
    assert "iB" in result.out, "the predicted memory"
    assert list(tmp_path.iterdir()) == []
    assert (pool.probes, pool.machine.jobs) == (0, [])


def test_a_dry_run_shows_what_will_not_be_run(run: Run, pool: FakePool) -> None:
    result = run(
        "sweep", "--res", "64", *TINY, "--metrics", "latency", "--budget", "1s", "--dry-run"
    )
    assert result.code == 0
    assert "over_budget" in result.out
    assert "--budget" in result.out


# ---- report


def test_a_report_of_runs(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_run(tmp_path / name, [make_record("vit"), make_record("paca", 25)])
    before = snapshot(tmp_path)
    result = run("report", "a", "b", "-o", "both.html")
    assert (result.code, result.out, result.err) == (0, "Report: both.html\n", "")
    after = snapshot(tmp_path)
    assert "<html" in after.pop("both.html").decode()
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "-o", "missing/report.html"], "folder missing does not exist"),
        (["run", "-o", "."], "is a folder"),
        (["run", "-o", "bad/report.html"], "bad"),
        (["run", "-o", "x" * 300], "File name too long"),
        (["missing", "-o", "new.html"], "is not a run folder"),
        (["bad", "-o", "new.html"], "bad"),
        (["run", "run", "-o", "new.html"], "named twice"),
    ],
)
def test_a_report_that_cannot_be_made(
    run: Run, tmp_path: Path, arguments: list[str], says: str
) -> None:
    make_run(tmp_path / "run", [make_record("vit")])
    Path("bad").write_text("a file")
    before = snapshot(tmp_path)
    is_one_line(run("report", *arguments), says)
    assert snapshot(tmp_path) == before


def test_a_report_of_nothing_exits_with_3(run: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "run", [])
    result = run("report", "run", "-o", "new.html")
    assert result.code == 3
    assert not Path("new.html").exists()


# ---- list


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("mechanisms", ["vit", "swin", "pvt", "pvt_linear", "paca"]),
        ("levels", ["layer", "host"]),
        ("metrics", ["complexity", "latency", "memory", "accuracy"]),
        ("suites", ["smoke", "resolution", "clusters"]),
        ("data", ["mnist5k", "stripes[:OPTIONS]", "pathfinder[:OPTIONS]", "folder:DIR"]),
    ],
)
def test_list(run: Run, kind: str, names: list[str]) -> None:
    text = run("list", kind)
    assert text.code == 0
    content = json.loads(run("list", kind, "--json").out)
    assert list(content) == [kind]
    assert set(names) <= content[kind].keys()
    for name, description in content[kind].items():
        assert name in text.out
        assert description
        assert description.split()[0] in text.out


def test_list_of_all(run: Run) -> None:
    content = json.loads(run("list", "--json").out)
    assert {"mechanisms", "levels", "metrics", "suites", "data"} <= content.keys()


def test_list_with_a_plugin(run: Run) -> None:
    example = Path(__file__).parents[1] / "examples" / "my_attention.py"
    content = json.loads(run("list", "mechanisms", "--plugin", example, "--json").out)
    assert content["mechanisms"]["linear"].startswith("Linear attention")


def test_list_of_what_there_is_not(run: Run) -> None:
    is_one_line(run("list", "suite"), "did you mean 'suites'?")


# ---- explain

SHAPES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("vit", {"grid": (56, 56), "dim": 96, "num_heads": 2}, []),
    ("vit", {"grid": (7, 5), "dim": 8, "num_heads": 1}, []),
    ("swin", {"grid": (15, 9), "dim": 32, "num_heads": 4, "window_size": 4}, []),
    ("pvt", {"grid": (16, 24), "dim": 32, "num_heads": 2, "sr_ratio": 4}, []),
    ("pvt_linear", {"grid": (14, 14), "dim": 32, "num_heads": 2}, []),
    ("paca", {"grid": (8, 8), "dim": 32, "num_heads": 2, "num_clusters": 9}, []),
]


@pytest.mark.parametrize(("mechanism", "shape", "_"), SHAPES)
def test_explain_gives_the_numbers_of_attention_cost(
    run: Run, mechanism: str, shape: dict[str, Any], _: list[str]
) -> None:
    options = {k: v for k, v in shape.items() if k not in ("grid", "dim", "num_heads")}
    arguments = ["--grid", "{}x{}".format(*shape["grid"]), "--dim", shape["dim"]]
    arguments += ["--heads", shape["num_heads"]]
    for name, value in options.items():
        if name == "num_clusters":
            arguments += ["--clusters", value]
        else:
            arguments += ["--option", f"{name}={value}"]
    content = json.loads(run("explain", mechanism, *arguments, "--json").out)
    cost = attention_cost(mechanism, **shape)
    assert content["mechanism"] == mechanism
    assert content["macs"] == cost.macs == sum(content["terms"].values())
    assert content["flops"] == 2 * cost.macs
    assert content["params"] == cost.params == sum(content["param_terms"].values())
    assert content["terms"] == cost.terms
    assert content["formula"] == cost.formula
    assert isinstance(content["peak_memory_bytes"], int)
    height, width = shape["grid"]
    assert content["peak_memory_bytes"] >= 4 * height * width * shape["dim"], "at least the output"
    assert content["peak_memory_bytes_train"] >= content["peak_memory_bytes"]
    text = run("explain", mechanism, *arguments)
    assert text.code == 0
    assert f"{cost.macs:,}" in text.out
    assert cost.formula in text.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vti"], "unknown mechanism or model 'vti'; did you mean vit?"),
        (["vit", "--grid", "56y56"], "--grid '56y56' is not a grid"),
        (["vit", "--grid", "0x5"], "H must be an integer of at least 1"),
        (["vit", "--grid", "9" * 5000], "is not a grid"),
        (["vit", "--grid", "999999999x999999999"], "no memory can be predicted"),
        (["vit", "--dim", "100000000000"], "no memory can be predicted"),
        (["vit", "--dim", "0"], "dim must be"),
        (["vit", "--dim", "-8"], "dim must be"),
        (["vit", "--dim", "9", "--heads", "2"], "num_heads 2 does not divide dim 9"),
        (["vit", "--clusters", "4"], "vit has no option 'num_clusters'"),
        (["paca", "--clusters", "-1"], "num_clusters"),
        (["vit", "--option", "window"], "is not NAME=VALUE"),
        (["swin", "--option", "=7"], "is not NAME=VALUE"),
        (["swin", "--option", "windows=7"], "has no option 'windows'"),
        (["swin", "--option", "window_size=x"], "window_size must be"),
        (["swin", "--option", "window_size=nan"], "window_size must be"),
        (["swin", "--option", "window_size=" + "9" * 5000], "window_size must be"),
        (["vit", "--option", "dim=8"], "--option dim"),
        (["vit", "--option", "grid=8"], "--option grid"),
        (["paca", "--option", "num_clusters=4", "--clusters", "5"], "num_clusters"),
        (["pvt", "--grid", "4x4", "--option", "sr_ratio=8"], "needs a grid of at least 8x8"),
        (["vit", "--plugin", "missing.py"], "there is no such file"),
    ],
)
def test_explain_refuses_in_one_line(run: Run, arguments: list[str], says: str) -> None:
    is_one_line(run("explain", *arguments), says)


# ---- for real


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["sweep", "--res", "0..x"], 2, "paca-bench: --res '0..x' is not a resolution"),
        (["sweep", "--res", "64", "--plugin", "bad.py", "--out", "run"], 2, "bad.py, line 2"),
    ],
)
def test_as_a_process(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "bad.py").write_text("x = 1\ndef f(:\n")
    done = subprocess.run(
        [sys.executable, "-m", "paca_bench.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.py"]


# ---- doctor


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What the doctor was asked; it examines a patient of cardboard instead of this machine."""
    calls: list[tuple[Any, ...]] = []
    patient = Patient(tmp_path / "system", noise=0.01)

    def examine(*arguments: Any) -> Diagnosis:
        calls.append(arguments)
        return run_doctor(patient.execute, sources=patient.sources(), seconds=5.0)

    monkeypatch.setattr(diagnose, "diagnose", examine)
    return calls


def test_the_doctor_prints_its_verdict_or_one_json_object(
    run: Run, asked: list[tuple[Any, ...]]
) -> None:
    result = run("doctor")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("quiet: the smallest change")
    told = json.loads(run("doctor", "--json").out)
    assert told["verdict"] == "quiet"
    assert told["findings"]
    assert asked == [("auto", 0, diagnose.SECONDS)] * 2


def test_the_doctor_is_told_what_to_examine(run: Run, asked: list[tuple[Any, ...]]) -> None:
    run("doctor", "--device", "cpu", "--threads", "2", "--seconds", "1m")
    assert asked == [("cpu", 2, 60.0)]


@pytest.mark.parametrize(
    ("option", "value"), [("--device", "tpu"), ("--threads", "x"), ("--seconds", "soon")]
)
def test_the_doctor_names_a_wrong_option(
    run: Run, asked: list[tuple[Any, ...]], option: str, value: str
) -> None:
    is_one_line(run("doctor", option, value), says=f"{option} {value!r}")
    assert not asked
