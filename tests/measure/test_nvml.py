"""NVML's numbers to ours, with a library of cardboard whose names the real one must have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from paca_bench.measure.nvml import (
    GpuReading,
    GpuSettings,
    open_gpu,
    open_gpus,
    throttle_reasons,
)


class NotSupported(Exception):
    pass


class FakeNvml:
    """As ``pynvml``, for one device; what ``answers`` lacks is not supported."""

    NVMLError = NotSupported
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, driver: bool = True, **answers: Any) -> None:
        self.driver = driver
        self.answers = {"Index": 3, "Name": "Made-up", **answers}

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NotSupported

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return "device"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-1":
            raise NotSupported
        return "device"

    def __getattr__(self, name: str) -> Any:
        assert hasattr(pynvml, name), f"NVML has no {name}"

        def ask(handle: str, *arguments: int) -> Any:
            assert handle == "device"
            key = name.removeprefix("nvmlDeviceGet")
            if key not in self.answers:
                raise NotSupported
            answer = self.answers[key]
            return answer[arguments[0]] if arguments else answer

        return ask


FULL = {
    "ClockInfo": {pynvml.NVML_CLOCK_SM: 1200, pynvml.NVML_CLOCK_MEM: 2600},
    "MaxClockInfo": {pynvml.NVML_CLOCK_SM: 1980},
    "Temperature": {pynvml.NVML_TEMPERATURE_GPU: 61},
    "PowerUsage": 350_500,
    "TotalEnergyConsumption": 7_250,
    "CurrentClocksEventReasons": 0x4 | 0x2,
    "PersistenceMode": 1,
    "EccMode": [1, 0],
    "MigMode": [0, 0],
    "ComputeRunningProcesses": [SimpleNamespace(pid=9), SimpleNamespace(pid=8)],
    "GraphicsRunningProcesses": [SimpleNamespace(pid=9)],
}


def test_values_in_our_units() -> None:
    (gpu,) = open_gpus(FakeNvml(**FULL))
    assert (gpu.name, gpu.index) == ("GPU 3 (Made-up)", 3)
    assert gpu.reading() == GpuReading(
        sm_clock_hz=1.2e9,
        memory_clock_hz=2.6e9,
        temperature_c=61,
        power_w=pytest.approx(350.5),
        reasons=("clocks set by the user", "power cap"),
    )
    assert gpu.reading().throttled_by == ("power cap",), "what the user asked for is no trouble"
    assert gpu.energy_j() == pytest.approx(7.25)
    assert gpu.settings() == GpuSettings(
        persistence=True, ecc=True, mig=False, max_sm_clock_hz=1.98e9, processes=(8, 9)
    )


def test_what_a_card_lacks_is_none_and_not_zero() -> None:
    (gpu,) = open_gpus(FakeNvml())
    assert gpu.reading() == GpuReading()
    assert gpu.reading().throttled_by == ()
    assert gpu.energy_j() is None
    assert gpu.settings() == GpuSettings()


def test_an_older_driver_calls_them_throttle_reasons() -> None:
    (gpu,) = open_gpus(FakeNvml(CurrentClocksThrottleReasons=0x40))
    assert gpu.reading().reasons == ("hardware thermal slowdown",)


def test_no_process_is_known_as_none_running() -> None:
    (gpu,) = open_gpus(FakeNvml(ComputeRunningProcesses=[]))
    assert gpu.settings().processes == ()


def test_a_device_is_found_by_its_uuid() -> None:
    found = open_gpu("GPU-1", FakeNvml())
    assert found is not None
    assert found.index == 3
    assert open_gpu("GPU-2", FakeNvml()) is None


def test_without_a_driver_there_is_no_gpu() -> None:
    assert open_gpus(FakeNvml(driver=False)) == []
    assert open_gpu("GPU-1", FakeNvml(driver=False)) is None


def test_every_reason_of_nvml_has_a_word() -> None:
    known = {
        value
        for name, value in vars(pynvml).items()
        if name.startswith(("nvmlClocksThrottleReason", "nvmlClocksEventReason"))
        and isinstance(value, int)
        and not name.endswith(("All", "None"))
    }
    assert len(known) >= 9
    for bit in known:
        assert not throttle_reasons(bit)[0].startswith("reason")
    assert throttle_reasons(0) == ()
    assert throttle_reasons(1 << 20 | 1) == ("idle", "reason 0x100000")
