"""The servers of a launch, with pools of cardboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from paca_bench.gate.arms import Arms
from paca_bench.gate.stages import ARMS, BASE, HEAD, NULL
from paca_bench.spec import make_spec
from tests.builders import make_record


class Pools:
    """Remembers which sides were started, in which order, and what each was asked for."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.asked: list[str] = []

    @contextmanager
    def make(self, side: SimpleNamespace, _spec: object) -> Iterator[SimpleNamespace]:
        self.begun.append(side.name)
        yield SimpleNamespace(execute=lambda _job, _timeout_s: self.asked.append(side.name))


def arms_and_pools() -> tuple[Arms, Pools]:
    pools = Pools()
    sides = [SimpleNamespace(name=name, folder=Path(name)) for name in ("BASE", "NEW")]
    specs = dict.fromkeys(("BASE", "NEW"), make_spec({"res": "64"}))
    return Arms(sides, specs, [make_record().case], pools.make), pools


def orders(starts: int) -> list[tuple[str, ...]]:
    """In which order the servers of each launch were started."""
    arms, pools = arms_and_pools()
    for _ in range(starts):
        with arms.start():
            pass
    return [tuple(pools.begun[i : i + len(ARMS)]) for i in range(0, len(pools.begun), len(ARMS))]


def test_every_launch_starts_base_twice_and_new_once_wherever_its_turn_is() -> None:
    found = orders(20)
    assert {tuple(sorted(order)) for order in found} == {("BASE", "BASE", "NEW")}
    assert {order.index("NEW") for order in found} == {0, 1, 2}
    assert orders(20) == found


def test_each_arm_runs_in_a_server_of_its_side() -> None:
    arms, pools = arms_and_pools()
    with arms.start() as measure:
        for arm in (BASE, HEAD, NULL):
            measure(arm, 0, slice_s=0.1, check=False, number=1)
    assert pools.asked == ["BASE", "NEW", "BASE"]
