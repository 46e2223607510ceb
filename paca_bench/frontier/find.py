"""The largest resolution of each mechanism, host or model that fits a limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from paca_bench.analyse.statistics import Estimate, latency_estimate
from paca_bench.attention.registry import mechanisms
from paca_bench.axes import MAX_RESOLUTION, RESOLUTION_STEP
from paca_bench.complexity.cost import Totals
from paca_bench.complexity.roofline import Ceilings, lower_bound_s
from paca_bench.environment import available_memory
from paca_bench.errors import PacaBenchError, SpecError
from paca_bench.frontier.limits import Limit
from paca_bench.frontier.search import bracket, largest_side, next_side, smallest_side
from paca_bench.grid import make_curves
from paca_bench.models.subject import case_cost
from paca_bench.plugins import load_plugins
from paca_bench.predicted_time import CALLS_OF_MEMORY, EFFICIENCY, unit_seconds
from paca_bench.record import Case, Status
from paca_bench.spec import SweepSpec, make_spec
from paca_bench.units import format_bytes, format_seconds
from paca_bench.workers import Execute, Outcome, WorkerPool

PROBE_TIMEOUT_S = 120.0
# Seconds that one latency process samples for.
SLICE_S = 0.4
DEFAULT_BUDGET_S = 300.0
LEAST_TIMEOUT_S = 20.0
# Where the search for a latency begins: small enough to be quick.
FIRST_SIDE = 224

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One curve and one limit.

    Attributes:
        case: the curve, at ``resolution`` where there is one, else at its smallest.
        limit: what it must fit.
        resolution: the largest side in pixels that fits: measured to, if ``confirmed``, else
            predicted to. None where not even the smallest does, or nothing could be found.
        predicted: the predicted quantity there; NaN where there is no prediction.
        measured: the same, measured; None where it was not.
        low: lower end of its interval.
        high: upper end.
        next_measured: the quantity measured one step of 32 pixels further.
        confirmed: it was measured to fit there, and not to fit one step further.
        note: why it is not confirmed, or what there is to know; empty otherwise.
    """

    case: Case
    limit: Limit
    resolution: int | None = None
    predicted: float = math.nan
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    next_measured: float | None = None
    confirmed: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values; NaN, which JSON has not, as null."""
        known = self.predicted if self.predicted == self.predicted else None
        rest = {k: v for k, v in asdict(self).items() if k not in ("case", "limit", "predicted")}
        limit = {"kind": self.limit.kind, "value": self.limit.value}
        return {**self.case.to_json(), "label": self.case.label, "limit": limit,
                "predicted": known, **rest}  # fmt: skip


@dataclass
class Finder:
    """Finds entries for the curves of one spec on one device.

    Attributes:
        spec: its axes but the resolutions, which are searched.
        device: of the cases.
        execute: runs a job; None to predict only.
        ceilings: of the device; None where nothing is run.
        end: the clock's time at which no further measurement begins.
        clock: seconds.
    """

    spec: SweepSpec
    device: str
    execute: Execute | None = None
    ceilings: Ceilings | None = None
    end: float = math.inf
    clock: Clock = time.monotonic
    _share_end: float = math.inf
    _predictions: dict[Case, float] = field(default_factory=dict)

    def entries(self, limits: Sequence[Limit]) -> Iterator[Entry]:
        """Every curve of the spec with every limit; each may take its share of the time left."""
        wanted = [(c, limit) for limit in limits for c in make_curves(self.spec, self.device)]
        for number, (curve, limit) in enumerate(wanted):
            now = self.clock()
            self._share_end = now + (self.end - now) / (len(wanted) - number)
            yield self._entry(curve, limit)

    def _entry(self, curve: Case, limit: Limit) -> Entry:
        finders = {"memory": self._memory, "latency": self._latency, "macs": self._macs}
        try:
            smallest = smallest_side(lambda side: case_cost(_at(curve, side)))
            if smallest is None:
                return Entry(case=curve, limit=limit, note="it works at no size up to the largest")
            return finders[limit.kind](_at(curve, smallest), limit, smallest)
        except PacaBenchError as error:
            return Entry(case=curve, limit=limit, note=" ".join(str(error).split()))
        except Exception as error:  # a user's closed form, which may fail in any way
            note = f"its closed form failed: {type(error).__name__}: {error}"
            return Entry(case=curve, limit=limit, note=note)

    def _macs(self, curve: Case, limit: Limit, smallest: int) -> Entry:
        """Exact, so that there is nothing to confirm."""

        def macs(side: int) -> float:
            return _known_cost(_at(curve, side)).macs

        side = largest_side(lambda side: macs(side) <= limit.value, smallest)
        found = _predicted(curve, limit, side, macs)
        return replace(found, confirmed=side is not None) if side else found

    def _memory(self, curve: Case, limit: Limit, smallest: int) -> Entry:
        """Weights, input and peak together must fit."""

        def predicted(side: int) -> float:
            return self._predicted_memory(_at(curve, side))

        side = largest_side(lambda side: predicted(side) <= limit.value, smallest)
        found = _predicted(curve, limit, side, predicted)
        if side in (None, MAX_RESOLUTION) or self.execute is None:
            return found
        assert side is not None
        measured = {}
        for one in (side, side + RESOLUTION_STEP):
            free = available_memory() if self.device == "cpu" else math.inf
            if predicted(one) > free:
                needs, has = format_bytes(predicted(one)), format_bytes(free)
                return replace(found, note=f"not measured: it needs {needs}, and {has} are free")
            seconds = CALLS_OF_MEMORY * self._bound_s(_at(curve, one)) / EFFICIENCY
            if self.clock() + seconds > self._share_end:
                needs = format_seconds(seconds)
                return replace(found, note=f"not measured: it takes about {needs}; raise --budget")
            outcome = self._run(_at(curve, one), "memory")
            if outcome.status is not Status.OK:
                return replace(found, note=f"not measured: {outcome.status}: {outcome.reason}")
            total = outcome.metrics["peak_memory_bytes"] + outcome.metrics["base_memory_bytes"]
            measured[one] = total
        here, beyond = measured[side], measured[side + RESOLUTION_STEP]
        confirmed = here <= limit.value < beyond
        note = "" if confirmed else "the prediction is off by more than a step of 32 pixels"
        return replace(found, measured=here, next_measured=beyond, confirmed=confirmed, note=note)

    def _predicted_memory(self, case: Case) -> float:
        from paca_bench.complexity.memory import predict_case_memory

        if case not in self._predictions:
            one = predict_case_memory(case)
            self._predictions[case] = one.peak_bytes + one.weights_bytes + one.input_bytes
        return self._predictions[case]

    def _latency(self, curve: Case, limit: Limit, smallest: int) -> Entry:
        """By measuring, where predictions, scaled by what was measured, say that it pays."""

        def bound(side: int) -> float:
            return self._bound_s(_at(curve, side))

        if self.execute is None:
            raise SpecError(
                "a latency is not predicted without measuring; leave out --predict-only"
            )
        measured: dict[int, Estimate] = {}
        side: int | None = max(FIRST_SIDE, smallest)
        note = ""
        while side is not None:
            if self.clock() + self._expected_s(curve, side, measured) > self._share_end:
                note = f"no time is left to measure {side} px; raise --budget"
                break
            outcome = self._measure(_at(curve, side))
            if isinstance(outcome, Outcome):
                note = f"at {side} px: {outcome.status}: {outcome.reason}"
                break
            measured[side] = outcome
            side = next_side(limit.value, dict(measured), bound, smallest)
        return self._from_latencies(curve, limit, measured, bound, note)

    def _expected_s(self, curve: Case, side: int, measured: Mapping[int, Estimate]) -> float:
        """Seconds that measuring ``side`` takes, by the nearest side that was measured."""
        call_s = self._bound_s(_at(curve, side)) / EFFICIENCY
        if measured:
            nearest = min(measured, key=lambda known: abs(known - side))
            scale = measured[nearest].value / self._bound_s(_at(curve, nearest))
            call_s = self._bound_s(_at(curve, side)) * scale
        return self.spec.processes * unit_seconds(call_s, SLICE_S)

    def _from_latencies(
        self,
        curve: Case,
        limit: Limit,
        measured: Mapping[int, Estimate],
        bound: Callable[[int], float],
        note: str,
    ) -> Entry:
        found = bracket(limit.value, dict(measured))
        if found.fits is None:
            why = note or "not even the smallest that was measured fits"
            return Entry(case=curve, limit=limit, note=why)
        here, beyond = measured[found.fits], measured.get(found.fits + RESOLUTION_STEP)
        if found.unclear and not note:
            sides = ", ".join(f"{side} px" for side in found.unclear)
            note = f"at {sides} the interval holds the limit"
        return Entry(
            case=_at(curve, found.fits),
            limit=limit,
            resolution=found.fits,
            predicted=bound(found.fits),
            measured=here.value,
            low=here.low,
            high=here.high,
            next_measured=None if beyond is None else beyond.value,
            confirmed=found.exceeds == found.fits + RESOLUTION_STEP,
            note=note,
        )

    def _bound_s(self, case: Case) -> float:
        assert self.ceilings is not None
        axes: dict[str, Any] = {"batch": case.batch, "dtype": case.dtype}
        train = case.mode != "forward"
        bound = lower_bound_s(_known_cost(case), self.ceilings, train=train, **axes)
        assert bound is not None, "the probe measures every dtype of the spec"
        return bound

    def _measure(self, case: Case) -> Estimate | Outcome:
        """The latency over the spec's processes; the outcome of the first that failed."""
        samples = []
        for number in range(self.spec.processes):
            job = {"slice_s": SLICE_S, "precision": self.spec.precision, "check": number == 0}
            outcome = self._run(case, "latency", **job)
            if outcome.status is not Status.OK:
                return outcome
            samples.append(outcome.samples["latency_s"])
        return latency_estimate(samples)

    def _run(self, case: Case, kind: str, **extra: Any) -> Outcome:
        assert self.execute is not None
        job = {
            "kind": kind,
            "case": case.to_json(),
            "plugins": list(self.spec.plugins),
            "threads": self.spec.threads,
            "seed": self.spec.seed,
            **extra,
        }
        left = max(self.end - self.clock(), LEAST_TIMEOUT_S)
        return self.execute(job, min(self.spec.timeout_s, left))


def frontier(limits: Sequence[Limit], *, measure: bool = True, **settings: Any) -> Iterator[Entry]:
    """The largest square resolution of every curve that fits each of ``limits``.

    Args:
        limits: see ``make_limits``.
        measure: confirm by measuring; else only predict, which a latency cannot be.
        **settings: as the options of ``paca-bench frontier``: ``mechanism``, ``level``, ...

    Yields:
        Entries, as they are found.

    Raises:
        SpecError: a setting is unknown or not allowed.
        PluginError: a plugin cannot be loaded.
    """
    spec = make_frontier_spec(settings)
    mechanisms()
    load_plugins(spec.plugins)
    # A number of MACs is exact, so that no device is asked for.
    if not measure or all(limit.kind == "macs" for limit in limits):
        yield from Finder(spec, "cpu").entries(limits)
        return
    started = time.monotonic()
    with ExitStack() as stack:
        pool = stack.enter_context(WorkerPool(spec.threads, spec.allocator))
        job = {"kind": "probe", "device": spec.device, "dtypes": list(spec.dtypes)}
        probe = pool.execute(job, PROBE_TIMEOUT_S)
        if probe.status is not Status.OK:
            raise PacaBenchError(f"the device could not be probed: {probe.reason}")
        finder = Finder(
            spec,
            probe.details["device"],
            pool.execute,
            Ceilings.from_json(probe.details["ceilings"]),
            started + spec.budget_s,
        )
        yield from finder.entries(limits)


def make_frontier_spec(settings: Mapping[str, Any]) -> SweepSpec:
    """A spec whose resolution stands for all."""
    defaults = {"level": "host", "mode": "forward", "budget": DEFAULT_BUDGET_S}
    if "model" in settings:
        del defaults["level"]
    return make_spec({**defaults, **settings, "res": "32", "metrics": "latency"})


def _at(case: Case, side: int) -> Case:
    return replace(case, height=side, width=side)


def _known_cost(case: Case) -> Totals:
    cost = case_cost(case)
    if cost is None:
        raise SpecError(f"{case.mechanism} has no closed form to search with")
    return cost


def _predicted(
    curve: Case, limit: Limit, side: int | None, predicted: Callable[[int], float]
) -> Entry:
    if side is None:
        return Entry(case=curve, limit=limit, note="not even the smallest size fits")
    note = "it fits at the largest size that is searched" if side == MAX_RESOLUTION else ""
    return Entry(
        case=_at(curve, side), limit=limit, resolution=side, predicted=predicted(side), note=note
    )
