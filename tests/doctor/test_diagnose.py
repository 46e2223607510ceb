"""The doctor's whole round on patients of cardboard: verdicts, load, JSON and text."""

from __future__ import annotations

import io
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from paca_bench.doctor.diagnose import (
    QUIET_CHANGE,
    UNFIT_CHANGE,
    change_text,
    diagnose,
    run_doctor,
)
from paca_bench.doctor.finding import Diagnosis, Finding, Severity, Verdict
from paca_bench.doctor.scene import ProcessTime, family, process_times
from paca_bench.doctor.text import print_diagnosis
from paca_bench.errors import PacaBenchError
from paca_bench.measure.nvml import GpuReading
from paca_bench.record import Status
from paca_bench.workers import Job, Outcome
from tests.doctor.fakes import PROCESS_S, Patient
from tests.fake_system import FakeGpu


def examine(patient: Patient, seconds: float = 10.0, system: bool = False) -> Diagnosis:
    return run_doctor(
        patient.execute,
        system_execute=patient.system_execute if system else None,
        sources=patient.sources(),
        seconds=seconds,
    )


def finding(diagnosis: Diagnosis, name: str) -> Finding:
    (found,) = (one for one in diagnosis.findings if one.name == name)
    return found


def text(diagnosis: Diagnosis) -> str:
    out = io.StringIO()
    print_diagnosis(diagnosis, Console(file=out, width=100))
    return out.getvalue()


@pytest.mark.parametrize(
    ("noise", "verdict", "low", "high"),
    [
        (0.01, Verdict.QUIET, 0.0, QUIET_CHANGE),
        (0.08, Verdict.NOISY, QUIET_CHANGE, UNFIT_CHANGE),
        (0.30, Verdict.UNFIT, UNFIT_CHANGE, 9.0),
    ],
)
def test_the_verdict_follows_the_noise(
    tmp_path: Path, noise: float, verdict: Verdict, low: float, high: float
) -> None:
    diagnosis = examine(Patient(tmp_path, noise=noise))
    assert diagnosis.verdict is verdict
    assert diagnosis.noise is not None
    change = diagnosis.noise.smallest_change(12)
    assert low < change <= high
    assert diagnosis.summary.startswith(f"{verdict.value}: ")
    assert change_text(change) in diagnosis.summary


def test_a_problem_makes_a_quiet_machine_noisy(tmp_path: Path) -> None:
    diagnosis = examine(Patient(tmp_path, threads=9))
    assert diagnosis.verdict is Verdict.NOISY
    assert diagnosis.summary.endswith("; mend first: threads")
    assert diagnosis.findings[0].name == "threads", "the worst comes first"


def test_a_failed_experiment_is_unfit_with_its_reason(tmp_path: Path) -> None:
    failure = Outcome(status=Status.TIMEOUT, reason="no result after 30 s")
    diagnosis = examine(Patient(tmp_path, fails=lambda number: failure))
    assert diagnosis.verdict is Verdict.UNFIT
    assert diagnosis.noise is None
    assert finding(diagnosis, "A/A experiment").found == "timeout: no result after 30 s"
    assert "timeout: no result after 30 s" in text(diagnosis)


def test_a_device_that_cannot_be_probed_is_an_error(tmp_path: Path) -> None:
    def execute(job: Job, timeout_s: float) -> Outcome:
        return Outcome(status=Status.ERROR, reason="SpecError: no such device")

    with pytest.raises(PacaBenchError, match="no such device"):
        run_doctor(execute, sources=Patient(tmp_path).sources())


def test_our_own_workers_are_no_other_load(tmp_path: Path) -> None:
    diagnosis = examine(Patient(tmp_path))
    assert diagnosis.facts["others_cores"] == pytest.approx(0.0, abs=0.01)
    assert finding(diagnosis, "other load").severity is Severity.OK
    assert diagnosis.facts["top"] == []


def test_a_neighbour_is_measured_and_named(tmp_path: Path) -> None:
    diagnosis = examine(Patient(tmp_path, neighbour=0.75, hidden=1.5))
    found = finding(diagnosis, "other load")
    assert found.severity is Severity.PROBLEM
    assert found.found == "2.25 of 4 usable CPUs: hog (70) 0.75"


def test_what_happens_during_the_experiment_counts(tmp_path: Path) -> None:
    patient = Patient(tmp_path, steal=1.0)
    patient.limited_group(throttled=5, seconds=1.0, cpu_max="400000")
    patient.write("proc/vmstat", "pswpin 10\npswpout 5")
    patient.write("proc/meminfo", "SwapTotal: 9 kB\nSwapFree: 9 kB")
    core = "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count"
    patient.write(core, 7)

    def during() -> None:
        patient.limited_group(throttled=8, seconds=1.5, cpu_max="400000")
        patient.write("proc/vmstat", "pswpin 10\npswpout 6")
        patient.write(core, 9)

    patient.during = during
    diagnosis = examine(patient)
    assert finding(diagnosis, "throttling").found.startswith("3 times")
    assert finding(diagnosis, "swap").severity is Severity.PROBLEM
    assert finding(diagnosis, "temperature").found.startswith("slowed down 2 times")
    assert finding(diagnosis, "virtualisation").found.startswith("the hypervisor gave 25.0%")


def test_a_slow_allocator_is_noted(tmp_path: Path) -> None:
    slow = examine(Patient(tmp_path / "slow", system=2.5), system=True)
    assert finding(slow, "allocator").severity is Severity.NOTE
    assert "2.5" in finding(slow, "allocator").found
    even = examine(Patient(tmp_path / "even"), system=True)
    assert finding(even, "allocator").severity is Severity.OK
    assert not [f for f in examine(Patient(tmp_path / "none")).findings if f.name == "allocator"]


def test_a_difference_between_a_and_a_is_a_warning(tmp_path: Path) -> None:
    """A machine that is faster in every B: no machine does it, a broken experiment would."""
    patient = Patient(tmp_path, noise=0.001)
    names = iter(["check", *_order_of_arms(rounds=3)])

    def execute(job: Job, timeout_s: float) -> Outcome:
        outcome = patient.execute(job, timeout_s)
        if job["kind"] == "probe" or next(names) != "B":
            return outcome
        return replace(outcome, samples={"latency_s": [1e-3, 1e-3]})

    diagnosis = run_doctor(execute, sources=patient.sources(), seconds=0.0)
    found = finding(diagnosis, "A/A bias")
    assert found.severity is Severity.WARNING
    assert "A/B is 2.0" in found.found


def _order_of_arms(rounds: int) -> list[str]:
    rng = random.Random(0)
    return [name for _ in range(rounds) for name in rng.sample(["A", "B"], 2)]


def test_each_gpu_is_read_after_each_worker(tmp_path: Path) -> None:
    gpu = FakeGpu([GpuReading(sm_clock_hz=1e9, reasons=("power cap",))])
    diagnosis = examine(Patient(tmp_path, graphics=[gpu]), seconds=0.0)
    assert len(diagnosis.facts["gpus"][gpu.name]) == 6
    assert finding(diagnosis, f"{gpu.name} throttling").found == "power cap"


def test_the_same_patient_gets_the_same_diagnosis(tmp_path: Path) -> None:
    once, again = (
        examine(Patient(tmp_path / name), system=True).to_json() for name in ("once", "again")
    )
    for diagnosis in (once, again):
        # The doctor's own faults and switches are those of this very process.
        diagnosis["facts"]["conditions"] = None
    assert once == again


def test_it_keeps_its_time(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    examine(patient, seconds=12.0, system=True)
    assert 12.0 - 3 * PROCESS_S < patient.now - patient.started <= 12.0


def test_json_is_whole_and_plain(tmp_path: Path) -> None:
    gpu = FakeGpu([GpuReading(power_w=1.0)])
    diagnosis = examine(Patient(tmp_path, graphics=[gpu]), system=True)
    values = json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))
    assert values["verdict"] == "quiet"
    assert values["noise"]["ratio"]["method"]
    assert {one["severity"] for one in values["findings"]} <= {*Severity}
    assert values["facts"]["clock"] == {"overhead_s": 1e-7, "resolution_s": 5e-8}
    assert values["facts"]["cpus_usable"] == [0, 1, 2, 3]


def test_text_has_the_verdict_first_and_each_command_on_a_line(tmp_path: Path) -> None:
    diagnosis = examine(Patient(tmp_path, neighbour=2.5, threads=4), system=True)
    lines = text(diagnosis).splitlines()
    assert lines[0].startswith("noisy: ")
    for one in diagnosis.findings:
        if one.severity not in (Severity.OK, Severity.UNKNOWN):
            assert f"  mend: {one.fix}" in lines
    assert any(line.startswith("Fine: ") for line in lines)
    assert any(line.startswith("Not known: ") for line in lines)
    assert sum("smallest change seen" in line for line in lines) == 2


def test_words_for_changes() -> None:
    assert change_text(0.034) == "3.4%"
    assert change_text(2.3) == "a factor of 3.3"


def test_the_real_process_table_has_this_process() -> None:
    table = process_times()
    own = table[os.getpid()]
    assert own.name
    assert 0 < own.cpu_s <= own.with_children_s
    assert own.parent == os.getppid()


def test_real_workers_on_this_machine() -> None:
    """The jobs are what a worker understands, and every check copes with real files."""
    diagnosis = diagnose(device="cpu", threads=1, seconds=0.0)
    assert diagnosis.noise is not None
    assert diagnosis.noise.system_ratio is not None
    assert min(min(process) for process in diagnosis.noise.first) > 0
    assert diagnosis.facts["threads"] == 1
    json.dumps(diagnosis.to_json(), allow_nan=False)
    assert diagnosis.summary in " ".join(text(diagnosis).split())


def test_a_family_is_all_descendants() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 1, 9: 0}
    table = {pid: ProcessTime("", parent, 0.0, 0.0) for pid, parent in parents.items()}
    assert family(table, 2) == {2, 3}
    assert family(table, 8) == set()
