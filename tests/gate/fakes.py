"""Arms of cardboard: latencies from a law of noise, and a clock that only processes advance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from paca_bench.gate.stages import HEAD, Measure
from paca_bench.record import Status
from paca_bench.workers import Outcome

START_S = 5.0


@dataclass(frozen=True)
class Noise:
    """How processes differ, in logs.

    ``spread`` of all; ``server``, of what those of one server have in common; ``gap``, by which
    a share ``slow`` of them is slower; ``drift`` of the machine over a minute; ``burst``, by
    which the spread is multiplied in one block of five.
    """

    spread: float
    server: float = 0.0
    gap: float = 0.0
    slow: float = 0.0
    drift: float = 0.0
    burst: float = 1.0

    def __str__(self) -> str:
        parts = [f"CV {self.spread:.1%}"]
        if self.server:
            parts.append(f"servers {self.server:.1%}")
        if self.gap:
            parts.append(f"{self.slow:.0%} of processes {math.expm1(self.gap):.0%} slower")
        if self.drift:
            parts.append(f"drift {self.drift:.0%} a minute")
        if self.burst > 1:
            parts.append(f"{self.burst:g} times that for seconds at a time")
        return ", ".join(parts)


@dataclass
class FakeArms:
    """``start`` and ``clock`` for ``TwoStages``.

    ``slower`` maps the index of a case to what HEAD's latency is multiplied by, ``null`` the
    same for the second BASE; ``fails`` maps (arm, index) to an outcome.
    """

    noise: Noise = Noise(0.01)
    slower: Mapping[int, float] = field(default_factory=dict)
    null: Mapping[int, float] = field(default_factory=dict)
    fails: Mapping[tuple[str, int], Outcome] = field(default_factory=dict)
    seed: int = 0
    process_s: float = 0.1
    call_s: Callable[[int], float] = lambda index: 0.002 * (1 + index)
    now: float = 0.0
    starts: int = 0
    log: list[tuple[str, int]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._servers: dict[tuple[str, int], float] = {}

    def clock(self) -> float:
        return self.now

    @contextmanager
    def start(self) -> Iterator[Measure]:
        self.starts += 1
        self.begins.append(len(self.log))
        self._servers.clear()
        self.now += START_S
        yield self._measure

    def _measure(self, arm: str, case: int, *, slice_s: float, check: bool, number: int) -> Outcome:
        self.now += self.process_s
        self.log.append((arm, case))
        if (arm, case) in self.fails:
            return self.fails[arm, case]
        if (arm, case) not in self._servers:
            self._servers[arm, case] = float(self._rng.normal(0, self.noise.server))
        value = self.call_s(case) * math.exp(self._noise() + self._servers[arm, case])
        value *= {HEAD: self.slower, "null": self.null}.get(arm, {}).get(case, 1.0)
        return Outcome(status=Status.OK, samples={"latency_s": [value]}, seconds=self.process_s)

    def _noise(self) -> float:
        noise = self.noise
        # Bursts last for three seconds, a fifth of the time.
        spread = noise.spread * (noise.burst if int(self.now / 3) % 5 == 0 else 1)
        slow = noise.gap * (self._rng.random() < noise.slow)
        return float(self._rng.normal(0, spread) + slow + noise.drift * self.now / 60)
