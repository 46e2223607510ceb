"""The run folder: nothing that was written is ever lost, doubled or damaged."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.errors import StoreError
from paca_bench.record import SCHEMA_VERSION, Record, Status
from paca_bench.store import (
    JOURNAL_FILE,
    LOCK_FILE,
    RECORDS_FILE,
    RUN_FILE,
    RunFolder,
    TornLineWarning,
    append_line,
    check_free,
    read_lines,
)
from tests.builders import censored, make_record, make_run

OUTCOME = {"status": "ok"}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "run", [make_record("vit"), make_record("swin")])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != LOCK_FILE
    }


def mechanisms(run: RunFolder) -> list[str]:
    return [record.case.mechanism for record in run.records()]


def test_records_come_back_as_they_were_appended(tmp_path: Path) -> None:
    records = [make_record("vit"), make_record("paca", 49, level="layer", stage=2)]
    run = make_run(tmp_path / "run", records)
    assert RunFolder.open(run.path).records() == records


def test_whole_numbers_of_any_size_stay_whole(tmp_path: Path) -> None:
    huge = 10**30 + 1
    run = make_run(tmp_path / "run", [replace(make_record("vit"), metrics={"macs": huge})])
    [record] = run.records()
    assert record.metrics["macs"] == huge


def test_a_record_is_one_line(run: RunFolder) -> None:
    text = (run.path / RECORDS_FILE).read_text()
    assert [json.loads(line)["case"]["mechanism"] for line in text.splitlines()] == ["vit", "swin"]
    assert text.endswith("\n")


def test_a_record_is_on_the_disk_before_the_next_case(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    run.append(make_record("pvt"))
    assert synced == [(run.path / RECORDS_FILE).stat().st_size]


def test_a_newer_record_of_a_case_supersedes_the_older_in_its_new_place(run: RunFolder) -> None:
    again = replace(make_record("vit"), wall_s=99.0)
    run.append(again)
    assert run.records() == [make_record("swin"), again]


@pytest.mark.parametrize("name", ["", RUN_FILE, RECORDS_FILE])
def test_a_run_is_named_by_its_folder_or_a_file_in_it(run: RunFolder, name: str) -> None:
    assert RunFolder.open(run.path / name).header == run.header


# ---- torn and damaged files


def test_a_torn_last_line_is_left_out_with_a_warning(run: RunFolder) -> None:
    file = run.path / RECORDS_FILE
    before = file.read_bytes()
    file.write_bytes(before + b'{"schema":1,"case')
    with pytest.warns(TornLineWarning, match=r"records\.jsonl: the last line is torn"):
        assert mechanisms(run) == ["vit", "swin"]


def test_the_next_append_cuts_the_torn_line_off(run: RunFolder) -> None:
    file = run.path / RECORDS_FILE
    before = file.read_bytes()
    file.write_bytes(before + b'{"schema":1,"case')
    run.append(make_record("pvt"))
    assert file.read_bytes().startswith(before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mechanisms(run) == ["vit", "swin", "pvt"]


@given(cut=st.integers(min_value=0), more=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int, more: bool
) -> None:
    file = tmp_path_factory.mktemp("cut") / "lines.jsonl"
    for number in range(4):
        append_line(file, {"number": number, "text": "x" * number})
    content = file.read_bytes()
    cut %= len(content) + 1
    file.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    expected = list(range(whole))
    if more:
        append_line(file, {"number": 9})
        expected.append(9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornLineWarning)
        assert [data["number"] for _, data in read_lines(file)] == expected


@given(st.lists(st.sampled_from([1, 100, 65535, 65536, 65537, 150_000]), max_size=4))
@settings(max_examples=40, deadline=None)
def test_long_lines_and_long_torn_lines(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    file = tmp_path_factory.mktemp("long") / "lines.jsonl"
    for length in lengths:
        append_line(file, {"n": length, "text": "x" * length})
        with file.open("ab") as torn:
            torn.write(b"y" * length)
    append_line(file, {"n": 0})
    assert [data["n"] for _, data in read_lines(file)] == [*lengths, 0]


DAMAGE = [
    b"\n",
    b"not json\n",
    b"[1]\n",
    b"5\n",
    b"\xff\xfe\n",
    b"\x00\x00\n",
    b"{}\n",
    b'{"schema":"1"}\n',
    b'{"schema":true}\n',
    b'{"schema":1}\n',
    b"9" * 5000 + b"\n",
    b"[" * 100_000 + b"\n",
]


@pytest.mark.parametrize("line", DAMAGE)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_damage_in_a_whole_line_is_an_error_that_names_it(
    run: RunFolder, line: bytes, place: int
) -> None:
    file = run.path / RECORDS_FILE
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:place], line, *lines[place:]]))
    before = snapshot(run.path)
    with pytest.raises(StoreError, match=rf"records\.jsonl, line {place + 1}\b"):
        run.records()
    assert snapshot(run.path) == before


def change(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {**data, first: change(data[first], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("case", None),
        ("case", {}),
        ("case.colour", "red"),
        ("case.height", "224"),
        ("case.options", []),
        ("statuses", []),
        ("statuses", {"latency": "fine"}),
        ("metrics", [1]),
        ("metrics", {"latency_s": "fast"}),
        ("samples", None),
        ("details", None),
        ("reasons", []),
        ("wall_s", "long"),
    ],
)
def test_a_record_of_foreign_content_is_refused_by_its_line(
    run: RunFolder, path: str, value: Any
) -> None:
    line = change(make_record("pvt").to_json(), path, value)
    append_line(run.path / RECORDS_FILE, line)
    with pytest.raises(StoreError, match=r"records\.jsonl, line 3: not a paca-bench"):
        run.records()


def test_a_newer_schema_asks_for_an_upgrade(run: RunFolder) -> None:
    append_line(
        run.path / RECORDS_FILE, {**make_record("pvt").to_json(), "schema": SCHEMA_VERSION + 1}
    )
    with pytest.raises(StoreError, match=r"line 3: record of schema 2.*upgrade paca-bench"):
        run.records()
    file = run.path / RUN_FILE
    file.write_text(json.dumps({**run.header, "schema": SCHEMA_VERSION + 1}))
    with pytest.raises(StoreError, match=r"run\.json has schema 2.*upgrade paca-bench"):
        RunFolder.open(run.path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"5", b"{", b"\xff", b'{"schema": "1"}', b"9" * 5000, b"[" * 100_000],
)
def test_a_foreign_run_file(run: RunFolder, content: bytes) -> None:
    (run.path / RUN_FILE).write_bytes(content)
    with pytest.raises(StoreError, match=r"run\.json"):
        RunFolder.open(run.path)


def test_what_is_not_a_run_folder_says_how_one_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a run folder.*paca-bench sweep --out"):
        RunFolder.open(tmp_path)
    with pytest.raises(StoreError, match="is not a run folder"):
        RunFolder.open(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot read"):
        RunFolder.open(tmp_path / "file")


def test_a_run_without_its_records_file(run: RunFolder) -> None:
    (run.path / RECORDS_FILE).unlink()
    with pytest.raises(StoreError, match=r"cannot read .*records\.jsonl: No such file"):
        run.records()


# ---- where a run may be made


def test_a_run_is_made_in_a_missing_or_an_empty_folder(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "a" / "b", {})
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty", {})
    assert RunFolder.open(tmp_path / "a" / "b").records() == []


def test_an_out_that_cannot_be_used_is_left_as_it_is(tmp_path: Path, run: RunFolder) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("precious")
    before = snapshot(tmp_path)
    for out, says in (
        (tmp_path / "file", "is a file; name a folder"),
        (tmp_path / "file" / "sub", "Not a directory"),
        (tmp_path / "folder", "is not empty; name a new folder"),
        (run.path, "is not empty; add --resume"),
        (tmp_path / ("x" * 5000), "File name too long"),
    ):
        with pytest.raises(StoreError, match=says):
            RunFolder.create(out, {})
    assert snapshot(tmp_path) == before


def test_a_place_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StoreError, match="Permission denied"):
        check_free(tmp_path)


# ---- disks that fail


def fail_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.append(make_record("pvt")),
        lambda run: run.note("abc", "latency", OUTCOME),
    ],
)
def test_a_full_disk_leaves_the_files_as_they_were(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, write: Callable[[RunFolder], None]
) -> None:
    run.note("abc", "memory", OUTCOME)
    before = snapshot(run.path)
    with monkeypatch.context() as patch:
        fail_fsync(patch)
        with pytest.raises(StoreError, match=r"No space left on device.*--resume"):
            write(run)
    assert snapshot(run.path) == before
    write(run)
    assert len(run.records()) + len(run.journal()) == 4


def test_a_file_that_may_not_grow_ends_with_whole_lines(run: RunFolder) -> None:
    """A real partial write: the kernel takes the first bytes of the line and no more."""
    file = run.path / RECORDS_FILE
    before = file.read_bytes()
    script = f"""
import resource, signal
from paca_bench.errors import StoreError
from paca_bench.store import RunFolder
from tests.builders import make_record
run = RunFolder.open({str(run.path)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 100}, resource.RLIM_INFINITY))
try:
    run.append(make_record("pvt"))
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "File too large" in done.stdout, done.stderr
    assert file.read_bytes() == before


def test_a_header_that_cannot_be_written_keeps_the_old_one(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(run.path)

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    run.header["finished_at"] = "now"
    with pytest.raises(StoreError, match="No space left on device"):
        run.write_header()
    assert snapshot(run.path) == before


def test_what_is_not_json_is_never_half_written(run: RunFolder) -> None:
    before = snapshot(run.path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append(replace(make_record("pvt"), metrics={"latency_s": float("nan")}))
    assert snapshot(run.path) == before


# ---- two writers

HOLDER = """
import sys, time
from paca_bench.store import RunFolder
with RunFolder.open(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_other_processes_out_and_dies_with_its_holder(run: RunFolder) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=r"another sweep is writing"), run.locked():
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with run.locked():
        run.append(make_record("pvt"))


def test_a_lock_is_released_after_an_error(run: RunFolder) -> None:
    with pytest.raises(ZeroDivisionError), run.locked():
        raise ZeroDivisionError
    with run.locked():
        pass


def test_a_folder_that_cannot_be_locked(run: RunFolder) -> None:
    (run.path / LOCK_FILE).mkdir()
    with pytest.raises(StoreError, match="cannot write"), run.locked():
        pass


# ---- the journal


def test_the_journal_keeps_every_outcome_in_order(run: RunFolder) -> None:
    assert run.journal() == []
    run.note("a", "latency", OUTCOME)
    run.note("b", "memory", {"status": "crash"})
    run.note("a", "latency", OUTCOME)
    assert RunFolder.open(run.path).journal() == [
        ("a", "latency", OUTCOME),
        ("b", "memory", {"status": "crash"}),
        ("a", "latency", OUTCOME),
    ]


@pytest.mark.parametrize("line", [{"case_hash": "a"}, {"case_hash": 1, "group": 2, "outcome": 3}])
def test_a_foreign_journal(run: RunFolder, line: dict[str, Any]) -> None:
    append_line(run.path / JOURNAL_FILE, line)
    with pytest.raises(StoreError, match=r"journal\.jsonl"):
        run.journal()


def test_the_journal_stays_as_long_as_a_case_may_be_tried_again(run: RunFolder) -> None:
    run.note("a", "latency", OUTCOME)
    run.append(censored(make_record("pvt"), status=Status.OVER_BUDGET))
    run.finish()
    assert "finished_at" in RunFolder.open(run.path).header
    assert len(run.journal()) == 1
    run.append(make_record("pvt"))
    run.finish()
    assert not (run.path / JOURNAL_FILE).exists()


STATUSES = st.dictionaries(
    st.sampled_from(["complexity", "latency", "memory"]), st.sampled_from(Status), min_size=1
)


@given(STATUSES)
@settings(max_examples=60, deadline=None)
def test_a_record_survives_json_whatever_its_statuses(statuses: dict[str, Status]) -> None:
    reasons = {group: "why" for group, status in statuses.items() if status is not Status.OK}
    record = replace(make_record("paca", 49), statuses=statuses, reasons=reasons)
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
