"""A hundred hostile mechanisms in one real sweep: all recorded, and a good one beside them."""

from __future__ import annotations

import psutil
import pytest

from paca_bench.record import Record, Status
from paca_bench.store import RunFolder
from paca_bench.sweeper import sweep
from tests.fakes import own_registry

NUMBER = 100
# What ``forward`` does -> how its case must end. ``x`` is the input, and the answer as well.
BEHAVIOURS = {
    "raises": ("raise ValueError('out of ideas')", Status.ERROR),
    "raises_nonsense": ("raise ValueError('\\0\\n\\x1b[31m' * 1000)", Status.ERROR),
    "interrupts": ("raise KeyboardInterrupt", Status.CRASH),
    "leaves": ("sys.exit(0)", Status.CRASH),
    "exits": ("os._exit(7)", Status.CRASH),
    "exits_as_if_well": ("os._exit(0)", Status.CRASH),
    "segfaults": ("ctypes.string_at(0)", Status.CRASH),
    "aborts": ("os.abort()", Status.CRASH),
    "signals": ("os.kill(os.getpid(), signal.SIGBUS)", Status.CRASH),
    "is_killed": ("os.kill(os.getpid(), signal.SIGKILL)", Status.OUT_OF_MEMORY),
    "closes_everything": ("os.closerange(0, 256)", Status.CRASH),
    "huge": ("x = torch.empty(2**50)", Status.OUT_OF_MEMORY),
    "without_end": ("kept = []\nwhile True: kept.append(torch.empty(2**28))", Status.OUT_OF_MEMORY),
    "recurses": ("self(x, grid)", Status.ERROR),
    "shape": ("x = x[:, 1:]", Status.WRONG),
    "no_tensor": ("x = 'fast'", Status.WRONG),
    "nan": ("x = x * float('nan')", Status.WRONG),
    "infinite": ("x = x / 0", Status.WRONG),
    "lies": ("x = x * (1 + (x.dtype == torch.float32))", Status.WRONG),
    "prints": ("print('{\"status\": \"ok\"}'); os.write(1, b'\\xff\\0' * 9999)", Status.OK),
    "prints_errors": ("os.write(2, b'\\x1b[2J\\n' * 9999)", Status.OK),
    "takes_the_pipe": ("os.write(0, b'x') if False else os.dup2(os.open('/dev/null', 1), 1)",
                       Status.OK),
    "leaves_children": ("os.fork() or time.sleep(600)", Status.OK),
    "leaves_threads": ("threading.Thread(target=time.sleep, args=(600,)).start()", Status.OK),
    "vandal": ("torch.randn = torch.Tensor.sum = None; os.environ.clear(); os.chdir('/')",
               Status.OK),
}  # fmt: skip
# Each of them lasts until its timeout, so there are few.
HANGS = {
    "sleeps": "time.sleep(600)",
    "spins": "while True: pass",
    "ignores": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); time.sleep(600)",
}

PLUGIN = """
import ctypes, os, signal, sys, threading, time
import torch
from paca_bench import register_attention
from paca_bench.attention.base import Attention
from paca_bench.complexity.cost import Cost

def make(name, code):
    @register_attention(name, cost=lambda *, grid: Cost({{}}, {{}}, {{}}))
    class Hostile(Attention):
        def __init__(self, *, dim, num_heads, grid):
            super().__init__()

        def forward(self, x, grid, shared=None):
            scope = {{**globals(), "self": self, "x": x, "grid": grid}}
            exec(code, scope)
            return scope["x"]

for name, code in {codes!r}.items():
    make(name, code)
"""


def cases() -> dict[str, tuple[str, Status]]:
    """Name of a mechanism -> what it does, and how its case must end."""
    names = list(BEHAVIOURS)
    found = {name: (code, Status.TIMEOUT) for name, code in HANGS.items()}
    for number in range(NUMBER - len(HANGS)):
        name = names[number % len(names)]
        found[f"{name}_{number}"] = BEHAVIOURS[name]
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    folder = tmp_path_factory.mktemp("hostile")
    plugin = folder / "hostile.py"
    codes = {name: code for name, (code, _) in cases().items()}
    plugin.write_text(PLUGIN.format(codes=codes), encoding="utf-8")
    with own_registry():
        out = sweep(
            out=folder / "run", plugin=str(plugin), mechanism=["vit", *codes], res="32",
            level="layer", stage="4", mode="forward", metrics="latency", threads=1,
            processes=1, precision="50%", timeout="3s",
        )  # fmt: skip
    return {record.case.mechanism: record for record in RunFolder.open(out).records()}


def test_each_of_them_is_recorded_as_what_it_did(run: dict[str, Record]) -> None:
    wanted = {name: status for name, (_, status) in cases().items()}
    assert len(wanted) == NUMBER
    found = {name: record.status for name, record in run.items() if name != "vit"}
    assert found == wanted, {n: run[n].reason for n in wanted if found.get(n) != wanted[n]}


def test_each_has_a_reason_on_one_line_and_none_a_latency(run: dict[str, Record]) -> None:
    for record in run.values():
        if record.status is not Status.OK:
            assert record.reason
            assert len(record.reason.splitlines()) == 1
            assert "latency_s" not in record.metrics


def test_the_good_one_among_them_is_measured(run: dict[str, Record]) -> None:
    assert run["vit"].status is Status.OK
    assert run["vit"].details["checked"] == "float64"


def test_nothing_is_left_running(run: dict[str, Record]) -> None:
    assert not [p for p in psutil.Process().children(recursive=True) if "forkserver" in str(p)]
