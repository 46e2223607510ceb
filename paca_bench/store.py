"""A run on disk: ``run.json``, and ``records.jsonl`` that only ever grows.

Every line is fsynced before the next case starts, so a run that is killed loses at most the
case in hand. A torn last line (the machine died while writing it) is tolerated and said;
any other damage is an error that names the line, and nothing is ever rewritten.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from paca_bench.errors import StoreError
from paca_bench.record import SCHEMA_VERSION, Record

RUN_FILE = "run.json"
RECORDS_FILE = "records.jsonl"
JOURNAL_FILE = "journal.jsonl"
REPORT_FILE = "report.html"
LOCK_FILE = "run.lock"
CHECKPOINTS_FOLDER = "checkpoints"

# What reading JSON raises: not JSON, not text, a number too long; nested too deeply.
_NOT_JSON = (ValueError, RecursionError)
# Twice as fast as json, and whole numbers of any size stay whole.
_decode = msgspec.json.Decoder().decode


class TornLineWarning(UserWarning):
    """The last line of a file was cut off while it was written; it is left out."""


def now() -> str:
    """The present moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class RunFolder:
    """One run's files. Make it with ``create`` or ``open``.

    Attributes:
        path: the folder.
        header: the content of ``run.json``: ``schema``, ``paca_bench`` (version),
            ``spec``, ``environment``, ``started_at`` and, once done, ``finished_at``.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.header = dict(header)

    @classmethod
    def create(cls, path: Path, header: Mapping[str, Any]) -> RunFolder:
        """Start a run in ``path``, which must be missing or an empty folder.

        Raises:
            StoreError: the path is a file, holds something already, or cannot be written.
        """
        check_free(path)
        run = cls(path, {"schema": SCHEMA_VERSION, "started_at": now(), **header})
        with _disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            run.write_header()
            (path / RECORDS_FILE).touch()
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """An existing run, to read or to continue.

        Raises:
            StoreError: there is no run, or ``run.json`` is not one of ours.
        """
        folder = Path(path)
        if folder.name in (RECORDS_FILE, RUN_FILE):
            folder = folder.parent
        file = folder / RUN_FILE
        try:
            header = json.loads(file.read_bytes())
        except FileNotFoundError:
            raise StoreError(
                f"{folder} is not a run folder: it has no {RUN_FILE}; a run is made by "
                f"'paca-bench sweep --out {folder}'"
            ) from None
        except (OSError, *_NOT_JSON) as error:
            raise StoreError(f"cannot read {file}: {error}") from error
        if not isinstance(header, dict) or type(header.get("schema")) is not int:
            raise StoreError(f"{file} was not written by paca-bench (no schema version)")
        if header["schema"] > SCHEMA_VERSION:
            raise StoreError(
                f"{file} has schema {header['schema']}, but this paca-bench reads up to "
                f"{SCHEMA_VERSION}: upgrade paca-bench"
            )
        return cls(folder, header)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run for writing; see ``locked``."""
        return locked(self.path)

    def write_header(self) -> None:
        """Put ``header`` into ``run.json``, whole or not at all."""
        text = json.dumps(self.header, indent=2, sort_keys=True) + "\n"
        part = self.path / (RUN_FILE + ".part")
        with _disk_errors(self.path):
            try:
                part.write_text(text, encoding="utf-8")
                part.replace(self.path / RUN_FILE)
            except OSError:
                part.unlink(missing_ok=True)
                raise

    def append(self, record: Record) -> None:
        """Add one record; it is on the disk when this returns.

        Raises:
            StoreError: the disk is full or not writable; the file is left as it was.
        """
        append_line(self.path / RECORDS_FILE, record.to_json())

    def extend(self, records: Iterable[Record]) -> None:
        """Add many records at once; raises as ``append``."""
        append_lines(self.path / RECORDS_FILE, (record.to_json() for record in records))

    def note(self, case_hash: str, group: str, outcome: Mapping[str, Any]) -> None:
        """Add one process's outcome to the journal; raises as ``append``."""
        line = {"case_hash": case_hash, "group": group, "outcome": outcome}
        append_line(self.path / JOURNAL_FILE, line)

    def journal(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(case hash, group, outcome) of every process so far; empty once all is recorded."""
        path = self.path / JOURNAL_FILE
        if not path.exists():
            return []
        entries = []
        for number, data in read_lines(path):
            match data:
                case {"case_hash": str(case_hash), "group": str(group), "outcome": dict(outcome)}:
                    entries.append((case_hash, group, outcome))
                case _:
                    raise StoreError(f"{path}, line {number}: not a paca-bench journal entry")
        return entries

    def checkpoint(self, case_hash: str, seed: int) -> Path:
        """Where the training of a case and seed keeps its state while it is unfinished."""
        return self.path / CHECKPOINTS_FOLDER / f"{case_hash}-{seed}.pt"

    def drop_checkpoint(self, case_hash: str, seed: int) -> None:
        """Delete a training's state, and one that was being written."""
        path = self.checkpoint(case_hash, seed)
        for file in path.parent.glob(f"{path.name}*"):
            with suppress(OSError):  # it is in nobody's way
                file.unlink()

    def finish(self) -> None:
        """Say in ``run.json`` that the sweep came to its end.

        The journal and any states of trainings go once every case has a final record; until
        then ``--resume`` may still build on them.
        """
        self.header["finished_at"] = now()
        self.write_header()
        journal = self.path / JOURNAL_FILE
        if journal.exists() and all(record.is_final for record in self.records()):
            journal.unlink()
            shutil.rmtree(self.path / CHECKPOINTS_FOLDER, ignore_errors=True)

    def records(self) -> list[Record]:
        """All records, the last one where a case was tried again; raises as ``each_record``."""
        latest: dict[str, Record] = {}
        for record in self.each_record():
            # A case tried again moves to its newer place.
            case_hash = record.case.hash
            latest.pop(case_hash, None)
            latest[case_hash] = record
        return list(latest.values())

    def each_record(self) -> Iterator[Record]:
        """Every record ever appended, one at a time, superseded ones too.

        Raises:
            StoreError: a line other than a torn last one is not a record.
        """
        path = self.path / RECORDS_FILE
        for number, data in read_lines(path):
            try:
                yield Record.from_json(data)
            except StoreError as error:
                raise StoreError(f"{path}, line {number}: {error}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made if it is missing, for writing; the lock dies with its holder.

    Raises:
        StoreError: another process is writing there, or the folder cannot be made.
    """
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # an OSError to Python, but nothing is wrong with the disk
            raise StoreError(
                f"another sweep is writing {folder}; wait for it or choose another --out"
            ) from None
    try:
        yield
    finally:
        lock.release()


def check_free(path: Path, *, resumable: bool = True) -> None:
    """Raise ``StoreError`` unless ``path`` is missing or a folder with no more than a lock.

    ``resumable`` says whether the command that asks could go on with a run that is there.
    """
    with _disk_errors(path):
        if path.exists() and not path.is_dir():
            raise StoreError(f"--out {path} is a file; name a folder that does not exist yet")
        if path.is_dir() and any(entry.name != LOCK_FILE for entry in path.iterdir()):
            is_run = resumable and (path / RUN_FILE).exists()
            hint = "add --resume to continue it" if is_run else "name a new folder"
            raise StoreError(f"--out {path} is not empty; {hint}")


def append_line(path: Path, data: Mapping[str, Any]) -> None:
    """Append ``data`` as one JSON line and fsync it; see ``append_lines``."""
    append_lines(path, (data,))


def append_lines(path: Path, items: Iterable[Mapping[str, Any]]) -> None:
    """Append each item as one JSON line, and fsync them together.

    A torn last line is cut off first, or the new line would be glued to it; what a failed
    write left behind is cut off too, so the file always ends with whole lines.

    Raises:
        StoreError: the disk is full or not writable.
    """
    line = b"".join(
        json.dumps(data, separators=(",", ":"), allow_nan=False).encode() + b"\n" for data in items
    )
    # Without a buffer: one would write once more, on closing, what has failed and was cut off.
    with _disk_errors(path), path.open("a+b", buffering=0) as file:
        end = _end_of_whole_lines(file)
        file.truncate(end)
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a JSON-lines file, each with its line number from 1.

    Read as they are asked for: a run may be larger than the memory.

    Warns:
        TornLineWarning: the last line does not end in a newline and was left out.

    Raises:
        StoreError: the file is missing, or a whole line is not a JSON object.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    with file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, _parse(path, number, line[:-1])
            else:
                warnings.warn(
                    f"{path}: the last line is torn (the run was killed while writing it); "
                    "left out",
                    TornLineWarning,
                    stacklevel=2,
                )


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        data = _decode(line)
    except _NOT_JSON as error:
        raise StoreError(
            f"{path}, line {number} is not JSON ({error}); the file was damaged or is not a "
            f"paca-bench run"
        ) from error
    if not isinstance(data, dict):
        raise StoreError(f"{path}, line {number} is not a JSON object")
    return data


def _end_of_whole_lines(file: Any) -> int:
    """Byte offset just after the last newline."""
    size = file.seek(0, os.SEEK_END)
    block = 1 << 16
    for start in range(max(size - block, 0), -1, -block) if size else ():
        file.seek(start)
        found = file.read(min(block, size - start)).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
    if size > block:
        file.seek(0)
        return int(file.read(block).rfind(b"\n") + 1)
    return 0


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; what was written before is "
            f"intact, free space or fix the permissions and continue with --resume"
        ) from error
