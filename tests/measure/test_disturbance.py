"""Looks between samples, on a fake watch and a clock that only samples advance."""

from __future__ import annotations

from dataclasses import dataclass, field

from paca_bench.measure.conditions import Snapshot
from paca_bench.measure.disturbance import MAX_SPANS, Disturbances
from paca_bench.measure.latency import sample_latency


@dataclass
class FakeWatch:
    """Counters that ``happens`` adds to; each snapshot costs ``cost_s``."""

    now: float = 0.0
    cost_s: float = 0.0
    missing: dict[str, str] = field(default_factory=lambda: {"gpu": "no GPU is watched"})
    faults: int = 0
    waited_s: float = 0.0
    looks: list[float] = field(default_factory=list)
    closed: bool = False

    def snapshot(self) -> Snapshot:
        assert not self.closed
        self.looks.append(self.now)
        return Snapshot(
            at_s=self.now,
            user_s=self.now,
            system_s=0.0,
            minor_faults=self.faults,
            major_faults=0,
            voluntary_switches=0,
            involuntary_switches=0,
            waiting_s={1: self.waited_s},
        )

    def close(self) -> None:
        self.closed = True


def observe(watch: FakeWatch, durations: list[float], seconds: float) -> Disturbances:
    """Samples of these durations; a negative one waits for a core for all of its time."""
    with Disturbances(lambda: watch, seconds, lambda: watch.now) as found:
        for duration in durations:
            found.before()
            watch.now += abs(duration)
            if duration < 0:
                watch.waited_s += -duration
            found.after()
    return found


def test_each_long_sample_has_a_span_of_its_own_and_the_disturbed_one_is_marked() -> None:
    watch = FakeWatch()
    report = observe(watch, [1.0, -1.0, 1.0], seconds=3.0).report()
    (conditions,) = report["conditions"]
    assert [span["samples"] for span in conditions] == [1, 1, 1]
    assert conditions[1]["waited_s"] == 1.0
    assert "waited_s" not in conditions[0], "zero is not written"
    assert report["disturbed"] == [{"1": ["waited 1.00 s for a core"]}]
    assert report["conditions_missing"] == {"gpu": "no GPU is watched"}
    assert watch.closed


def test_short_samples_share_a_look_and_its_reasons() -> None:
    watch = FakeWatch()
    durations = [0.01] * 1000
    durations[7] = -0.01
    report = observe(watch, durations, seconds=10.0).report()
    (conditions,) = report["conditions"]
    assert sum(span["samples"] for span in conditions) == 1000
    assert len(conditions) <= MAX_SPANS
    (marks,) = report["disturbed"]
    assert "7" in marks
    assert len(marks) == conditions[0]["samples"]


def test_looking_takes_a_twentieth_of_the_time_at_most() -> None:
    watch = FakeWatch(cost_s=0.1)
    found = observe(watch, [0.5] * 40, seconds=1e-9)
    assert all(conditions.wall_s >= 2.0 for _, conditions in found.spans)


def test_the_last_samples_are_looked_at_even_when_their_span_is_short() -> None:
    found = observe(FakeWatch(), [1.0, 0.01], seconds=20.0)
    assert [samples for samples, _ in found.spans] == [1, 1]


def test_looks_lie_outside_of_the_warm_up_and_of_every_timed_call() -> None:
    watch = FakeWatch()
    timed: list[tuple[float, float]] = []

    class Timer:
        def time(self, call: object) -> float:
            start = watch.now
            watch.now += 1.0
            timed.append((start, watch.now))
            return 1.0

    watching = Disturbances(lambda: watch, 10.0, lambda: watch.now)
    taken = sample_latency(
        Timer(),
        lambda: None,
        lambda: None,
        slice_s=10.0,
        precision=1e-9,
        around=watching,
        clock=lambda: watch.now,
    )
    warm = len(taken.warmup_s)
    assert all(look >= timed[warm - 1][1] for look in watch.looks)
    assert not any(start < look < end for start, end in timed for look in watch.looks)
    assert sum(samples for samples, _ in watching.spans) == len(taken.samples_s)
