"""Where a series of runs changed its level: steps of a latency over commits.

The unit is the run: its processes ran within minutes of each other and share the state that
the machine was in, which differs from run to run by more than processes do. On the scale of
the logarithm the runs of one level scatter around it, and a few stand far apart (a neighbour,
a throttled clock). Three parts:

1. *proposal*: levels, a jump between two of which costs ``PENALTY``, with the least total of
   squared deviations in units of the noise, each cut off at ``CUTOFF`` squared (Fearnhead and
   Rigaill, "Changepoint Detection in the Presence of Outliers", 2019), found exactly by
   dynamic programming. As a jump costs more than any one run, a single run is never a level
   of its own, and a level that is left again takes three;
2. *test*: each step by Student's t over the runs of both levels, the noise pooled over all
   levels, plus the chance that processes of two states look like that (``state_chance``),
   corrected for every place where a step might have been found (Bonferroni). The least
   certain is taken out until all pass;
3. *place*: the places that the runs do not rule out, from the likelihood ratio (Siegmund,
   "Confidence Sets in Change-point Problems", 1988; the limit is Yao's of 1987).

The noise is estimated from the series itself, first from differences of neighbours, and is
at least what the processes of the runs show. Runs of one level are taken for independent: a
machine that drifts over days makes steps of its own. ``python -m tests.history.rates`` prints how
often all of this is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from paca_bench.analyse.compare import POWER, STATE_GAP, state_chance
from paca_bench.analyse.statistics import Estimate, student
from paca_bench.errors import SpecError

CONFIDENCE = 0.95
# Of one series, after Bonferroni. Of simulated series of 30 runs without a step, also with one
# run in twenty far apart, less than one in a hundred then shows one; of 4 to 100 runs, two.
ALPHA = 0.005
CUTOFF = 3.0
# More than CUTOFF squared (one outlier), and less than twice that (two runs at the end).
PENALTY = 12.0
# No machine repeats itself better from run to run.
LEAST_NOISE = 1e-3
FEWEST_RUNS = 3
# Of the last run alone, which is not corrected for a search.
_ALPHA_LAST = 0.01
# Twice the log likelihood that a place may lack: P((1 - exp(-x / 2))^2) = 95%.
_PLACES = -2 * math.log1p(-math.sqrt(CONFIDENCE))
_CUTOFF_OF_PLACES = 5.0
_ROUNDS = 3
_LEVELS_PER_NOISE = 10
_MOST_NOISES = 10_000
# Of more processes a side as many evenly spaced ones of their order say the same.
_MOST_PROCESSES = 100
# The standard deviation of normal values over the median absolute difference of two.
_FROM_DIFFERENCES = 1.4826 / math.sqrt(2)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """A change of level between two runs.

    Attributes:
        index: the first run after it.
        first, last: the earliest and the latest run that may be the first after it.
        is_code: False where the code is the same on both sides of all these places.
        ratio: the level after over the level before.
        p: of no step, corrected for the search.
    """

    index: int
    first: int
    last: int
    is_code: bool
    ratio: Estimate
    p: float


@dataclass(frozen=True, slots=True)
class Level:
    """Runs from ``start`` up to ``stop``, not included, and the mean of their logarithms."""

    start: int
    stop: int
    log_value: float


@dataclass(frozen=True, slots=True)
class Course:
    """What a series did.

    Attributes:
        levels: in order; one more than there are steps.
        steps: in order.
        outliers: runs that stand apart from their level, and are in no estimate.
        noise: standard deviation of a run's logarithm around its level (0.02: 2%).
        last: the last run over the level before it, with the interval of such a ratio, where
            it stands apart: another run decides whether it is a step.
        detectable: the smallest slowdown (0.05: 5%) in the middle of the series that would
            have been found with a probability of 80%.
    """

    levels: tuple[Level, ...]
    steps: tuple[Step, ...]
    outliers: tuple[int, ...]
    noise: float
    last: Estimate | None
    detectable: float


def find_steps(
    runs: Sequence[Sequence[float]], code_changed: Sequence[bool] | None = None
) -> Course:
    """The steps of a series.

    Args:
        runs: for each run, in order, the median of each of its processes in seconds.
        code_changed: for each run whether its code may differ from that of the run before
            it; the first is not looked at. All, if None.

    Raises:
        SpecError: fewer than ``FEWEST_RUNS`` runs, a run without processes, or a median that
            is not a positive finite number.
    """
    medians = [value for run in runs for value in run]
    if len(runs) < FEWEST_RUNS or not all(len(run) for run in runs):
        raise SpecError(f"steps need {FEWEST_RUNS} or more runs with processes, given: {runs}")
    if not all(0 < value < math.inf for value in medians):
        raise SpecError(f"medians must be positive finite numbers of seconds, given: {runs}")
    changed = [True] * len(runs) if code_changed is None else list(code_changed)
    series = _Series.of(runs)
    tested = _tested(series, _proposed(series))
    return Course(
        levels=tuple(Level(p.start, p.stop, p.mean) for p in tested.parts),
        steps=tuple(_step(series, tested, i, changed) for i in range(1, len(tested.parts))),
        outliers=tuple(i for p in tested.parts for i in p.outliers),
        noise=tested.noise,
        last=_last(series, tested),
        detectable=math.expm1(_log_detectable(series, tested)),
    )


@dataclass(frozen=True, slots=True)
class _Series:
    """A logarithm per run, those of the processes behind it, and the least noise possible."""

    values: Floats
    processes: tuple[Floats, ...]
    least: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[float]]) -> _Series:
        processes = tuple(np.log(run) for run in runs)
        # A mean, not a median: of processes in two states it is close to normal.
        values = np.array([logs.mean() for logs in processes])
        errors = [logs.std(ddof=1) / math.sqrt(len(logs)) for logs in processes if len(logs) > 1]
        shown = float(np.median(errors)) if errors else 0.0
        return cls(values, processes, max(LEAST_NOISE, shown, np.ptp(values) / _MOST_NOISES))

    @property
    def without_last(self) -> _Series:
        return _Series(self.values[:-1], self.processes[:-1], self.least)


@dataclass(frozen=True, slots=True)
class _Part:
    """Runs of one level: those that count, and those that stand apart."""

    start: int
    stop: int
    mean: float
    inside: Floats
    outliers: tuple[int, ...]

    @property
    def squares(self) -> float:
        return float(((self.inside - self.mean) ** 2).sum())


@dataclass(frozen=True, slots=True)
class _Fit:
    """Parts with the noise that is pooled over them, and its degrees of freedom."""

    parts: tuple[_Part, ...]
    noise: float
    freedom: int

    def without(self, index: int) -> list[int]:
        """The starts of all parts but the first and one."""
        return [part.start for i, part in enumerate(self.parts) if i not in (0, index)]

    def error(self, index: int) -> float:
        """Standard error of the step before part ``index``."""
        before, after = self.parts[index - 1], self.parts[index]
        return self.noise * math.sqrt(1 / len(before.inside) + 1 / len(after.inside))


def _p(series: _Series, fit: _Fit, index: int) -> float:
    """Of no step before part ``index``, corrected for the number of places."""
    before, after = fit.parts[index - 1], fit.parts[index]
    if min(len(before.inside), len(after.inside)) < 2:  # a level of one run is no level
        return 1.0
    ratio = abs(after.mean - before.mean)
    chance = 2 * float(special.stdtr(fit.freedom, -ratio / fit.error(index)))
    if ratio <= math.log1p(STATE_GAP):
        chance += state_chance(*(_processes(series, part) for part in (before, after)))
    return min(chance * (len(series.values) - 1), 1.0)


def _processes(series: _Series, part: _Part) -> list[float]:
    """The processes of a part's runs, those that stand apart too; of many, as many quantiles."""
    logs = np.sort(np.concatenate(series.processes[part.start : part.stop]))
    if len(logs) > _MOST_PROCESSES:
        logs = logs[np.linspace(0, len(logs) - 1, _MOST_PROCESSES).round().astype(int)]
    return [float(value) for value in logs]


def _proposed(series: _Series) -> _Fit:
    """Levels whose noise and whose steps agree with each other."""
    values = series.values
    # The few differences of a short series may all be small by chance.
    caution = 1 + FEWEST_RUNS / len(values)
    noise = float(np.median(np.abs(np.diff(values)))) * _FROM_DIFFERENCES * caution
    fit = _fitted(series, [], max(noise, series.least))
    noise = max(noise, series.least)
    for _ in range(_ROUNDS):
        fit = _fitted(series, _partition(values, noise), noise)
        noise = fit.noise
    return fit


def _tested(series: _Series, fit: _Fit) -> _Fit:
    """Without the steps that may be chance."""
    while len(fit.parts) > 1:
        p, worst = max((_p(series, fit, i), i) for i in range(1, len(fit.parts)))
        if p <= ALPHA:
            break
        fit = _fitted(series, fit.without(worst), fit.noise)
    return fit


def _partition(values: Floats, noise: float) -> list[int]:
    """The starts of all levels but the first, with the least total cost.

    Viterbi's algorithm over a fine grid of levels.
    """
    grid = _grid(values, noise)
    best = _loss(values[0], grid, noise)
    jumps: list[tuple[NDArray[np.bool_], int]] = []
    for value in values[1:]:
        cheapest = int(best.argmin())
        jumped = best[cheapest] + PENALTY < best
        jumps.append((jumped, cheapest))
        best = np.where(jumped, best[cheapest] + PENALTY, best) + _loss(value, grid, noise)
    starts, at = [], int(best.argmin())
    for index, (jumped, cheapest) in reversed(list(enumerate(jumps, start=1))):
        if jumped[at]:
            starts.append(index)
            at = cheapest
    return starts[::-1]


def _grid(values: Floats, noise: float) -> Floats:
    count = math.ceil(float(np.ptp(values)) / noise * _LEVELS_PER_NOISE) + 1
    return np.linspace(values.min(), values.max(), count)


def _loss(value: float, levels: Floats, noise: float, cutoff: float = CUTOFF) -> Floats:
    return np.minimum(((value - levels) / noise) ** 2, cutoff**2)


def _fitted(series: _Series, starts: Sequence[int], noise: float) -> _Fit:
    """The parts between ``starts``, and the noise around them; ``noise`` says what is apart."""
    values = series.values
    edges = [0, *starts, len(values)]
    parts = tuple(_part(values, start, stop, noise) for start, stop in pairwise(edges))
    freedom = sum(len(part.inside) - 1 for part in parts)
    squares = sum(part.squares for part in parts)
    found = math.sqrt(squares / freedom) if freedom else noise
    return _Fit(parts, max(found, series.least), freedom)


def _part(values: Floats, start: int, stop: int, noise: float) -> _Part:
    own = values[start:stop]
    grid = _grid(own, noise)
    level = grid[np.add.reduce([_loss(value, grid, noise) for value in own]).argmin()]
    is_apart = np.abs(own - level) > CUTOFF * noise
    inside = own[~is_apart]
    apart = tuple(int(i) + start for i in np.flatnonzero(is_apart))
    return _Part(start, stop, float(inside.mean()), inside, apart)


def _step(series: _Series, fit: _Fit, index: int, changed: Sequence[bool]) -> Step:
    """The step before part ``index``, put where the code changed if that is not ruled out."""
    before, after = fit.parts[index - 1], fit.parts[index]
    lacking = _lacking(series.values, fit.noise, before, after)
    places = {place: lack for place, lack in lacking.items() if lack <= _PLACES}
    of_code = {place: lack for place, lack in places.items() if changed[place]}
    candidates = of_code or places
    counts = len(before.inside), len(after.inside)
    return Step(
        index=min(candidates, key=lambda place: (candidates[place], place)),
        first=min(candidates),
        last=max(candidates),
        is_code=bool(of_code),
        ratio=_ratio(
            after.mean - before.mean,
            student(CONFIDENCE, fit.freedom) * fit.error(index),
            f"{CONFIDENCE:.0%} t over {counts[0]} and {counts[1]} runs, noise of the whole series",
            sum(counts),
        ),
        p=_p(series, fit, index),
    )


def _ratio(log_value: float, half: float, method: str, runs: int) -> Estimate:
    low, value, high = (math.exp(log_value + side) for side in (-half, 0.0, half))
    return Estimate(value, low, high, method, runs, runs)


def _lacking(values: Floats, noise: float, before: _Part, after: _Part) -> dict[int, float]:
    """For each run that may be the first after a step: by how much it is not the likeliest.

    Twice the logarithm of the likelihood ratio. An outlier is far from both levels, so that
    it must decide nothing, but a run that is at one of them is no outlier of the other.
    """
    levels = np.array([before.mean, after.mean])
    runs = values[before.start : after.stop]
    losses = np.array([_loss(value, levels, noise, _CUTOFF_OF_PLACES) for value in runs])
    costs = {
        before.start + size: float(losses[:size, 0].sum() + losses[size:, 1].sum())
        for size in range(1, len(losses))
    }
    best = min(costs.values())
    return {place: cost - best for place, cost in costs.items()}


def _last(series: _Series, fit: _Fit) -> Estimate | None:
    """The last run over the level of those before it, if another such run would be unlikely."""
    tail = fit.parts[-1]
    if tail.stop - tail.start < FEWEST_RUNS:
        return None
    earlier = _fitted(series.without_last, [p.start for p in fit.parts[1:]], fit.noise)
    level = earlier.parts[-1]
    error = earlier.noise * math.sqrt(1 + 1 / len(level.inside))
    ratio = float(series.values[-1]) - level.mean
    if not earlier.freedom or abs(ratio) <= student(1 - _ALPHA_LAST, earlier.freedom) * error:
        return None
    count = len(level.inside)
    return _ratio(
        ratio,
        student(CONFIDENCE, earlier.freedom) * error,
        f"{CONFIDENCE:.0%} t of one run after {count} runs, noise of the whole series",
        count + 1,
    )


def _log_detectable(series: _Series, fit: _Fit) -> float:
    """The logarithm of ``Course.detectable``.

    Half of the level is left to each part of ``_p``; the noise that the t test will meet is
    as uncertain as its degrees of freedom say.
    """
    if fit.freedom < 2:
        return math.inf
    level = ALPHA / (len(series.values) - 1)
    halves = fit.freedom // 2, fit.freedom - fit.freedom // 2
    error = fit.noise * math.sqrt(sum(1 / size for size in halves))
    limit = student(1 - level / 2, fit.freedom)
    margin = float(special.ndtri(POWER)) * math.sqrt(1 + limit**2 / (2 * fit.freedom)) * error
    no_states = max(limit * error, math.log1p(STATE_GAP))
    return min(max(limit * error, _log_separated(series, fit.noise, level)), no_states) + margin


def _log_separated(series: _Series, noise: float, level: float) -> float:
    """The step from which on two states rarely look like it: shares of slow processes differ.

    By the normal approximation of the difference of two shares. Normal distributions are
    D = 2 Phi(shift / 2 sd) - 1 apart.
    """
    middle = len(series.values) // 2
    sides = series.processes[:middle], series.processes[middle:]
    scatter = math.sqrt(sum(1 / sum(map(len, side)) for side in sides)) / 2
    share = float(special.ndtri(1 - level / 4)) * scatter
    if share >= 1:
        return math.inf
    within = float(np.mean([logs.var() for logs in series.processes]))
    return 2 * math.hypot(noise, math.sqrt(within)) * float(special.ndtri((1 + share) / 2))
