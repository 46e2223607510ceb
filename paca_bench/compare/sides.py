"""One side of a comparison, wherever it comes from: its cases, and the conditions they ran in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paca_bench.compare.rules import STATIC_METRICS
from paca_bench.errors import NothingMeasuredError, StoreError
from paca_bench.record import Status

# What a latency depends on besides the code; a difference in one of them refuses it.
CONDITIONS = (
    *("device", "dtype", "kernel path", "torch", "threads", "allocator", "cpu", "gpu"),
    *("cores", "vector unit"),
)
UNKNOWN = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCase:
    """One case of one side.

    Attributes:
        id: readable.
        key: the same on both sides.
        loose_key: the same on both sides also where device or dtype differ.
        processes: latency samples in seconds, a list per process; empty where not measured.
        statics: name as in ``STATIC_METRICS`` -> exact value.
        conditions: name as in ``CONDITIONS`` -> the values found, more than one where runs of
            the side differ.
        failures: metric group -> how it ended and why, where that is not ``ok``.
    """

    id: str
    key: str
    loose_key: str
    processes: Sequence[Sequence[float]] = ()
    statics: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    failures: Mapping[str, tuple[Status, str]] = field(default_factory=dict)

    def condition(self, name: str) -> frozenset[str]:
        """The values of one condition; ``UNKNOWN`` where none was recorded."""
        return self.conditions.get(name) or frozenset({UNKNOWN})

    def merged(self, other: SideCase) -> SideCase:
        """This case with the processes of another run of it.

        Raises:
            StoreError: an exact value differs, so that the two are not the same code.
        """
        for name in self.statics.keys() & other.statics.keys():
            if self.statics[name] != other.statics[name]:
                raise StoreError(
                    f"two runs of one side disagree in {name} of {self.id}: "
                    f"{self.statics[name]} and {other.statics[name]}; they are of different "
                    f"code, so give runs of one revision"
                )
        return SideCase(
            id=self.id,
            key=self.key,
            loose_key=self.loose_key,
            processes=[*self.processes, *other.processes],
            statics={**self.statics, **other.statics},
            conditions={
                name: self.condition(name) | other.condition(name)
                for name in self.conditions.keys() | other.conditions.keys()
            },
            failures={**self.failures, **other.failures},
        )


@dataclass(frozen=True, slots=True)
class Side:
    """BASE or NEW.

    Attributes:
        path: as given.
        cases: key -> case.
        runs: how many runs or files it was read from.
        notes: what a reader must know about the source, in sentences.
    """

    path: Path
    cases: Mapping[str, SideCase]
    runs: int
    notes: tuple[str, ...] = ()

    @property
    def machine(self) -> str:
        """The conditions that all cases share, in one line."""
        shared = []
        for name in CONDITIONS:
            values = {value for case in self.cases.values() for value in case.condition(name)}
            if len(values) == 1 and values != {UNKNOWN}:
                shared.append(f"{name} {values.pop()}")
        return ", ".join(shared)


def load_side(path: Path, name: str) -> Side:
    """A run folder, a pytest-benchmark JSON file, or a folder of either.

    Args:
        path: of the run, the file or the folder.
        name: ``BASE`` or ``NEW``, for messages.

    Raises:
        NothingMeasuredError: nothing is there, or nothing that was measured.
        StoreError: it is there but cannot be read, or its runs are not of one revision.
    """
    from paca_bench.compare.pytest_benchmark import read_benchmarks
    from paca_bench.compare.runs import is_run, read_run

    places = list(sources(path))
    if not places:
        what = "is an empty folder" if path.is_dir() else "does not exist"
        raise NothingMeasuredError(
            f"{name} {path} {what}, so nothing was compared; give a run folder, a "
            f"pytest-benchmark JSON file, or a folder of them"
        )
    cases: dict[str, SideCase] = {}
    notes: list[str] = []
    for source in places:
        found, said = read_run(source) if is_run(source) else read_benchmarks(source)
        notes += said
        for case in found:
            known = cases.get(case.key)
            cases[case.key] = known.merged(case) if known else case
    if not cases:
        raise NothingMeasuredError(
            f"{name} {path} holds no case, so nothing was compared; measure it first"
        )
    return Side(path, cases, len(places), tuple(dict.fromkeys(notes)))


def sources(path: Path) -> Iterator[Path]:
    """The runs and files that ``path`` stands for, in order of their names."""
    from paca_bench.compare.runs import is_run

    if is_run(path) or path.is_file():
        yield path
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if is_run(entry) or (entry.is_file() and entry.suffix == ".json"):
                yield entry


def static_values(metrics: Mapping[str, object]) -> dict[str, float]:
    """Name -> value of every deterministic metric that is there, exact."""
    found = {name: metrics.get(metric) for name, metric in STATIC_METRICS.items()}
    return {name: v for name, v in found.items() if _is_count(v)}  # type: ignore[misc]


def _is_count(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")  # type: ignore[operator]


def condition_values(values: Iterable[tuple[str, object]]) -> dict[str, frozenset[str]]:
    """Conditions of one run, as texts; what was not recorded is left out."""
    return {
        name: frozenset({str(value)}) for name, value in values if value not in (None, "", "None")
    }
