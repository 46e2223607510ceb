"""One GPU as NVML sees it: clocks, temperature, power, energy, throttling and settings.

Behind a small protocol, so that everything that asks can be tested without a GPU. Imports no
torch. What a card or driver does not offer is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

# Bit of nvmlClocksEventReasons -> words (NVML API reference, "NvmlClocksEventReasons").
_REASONS = {
    0x1: "idle",
    0x2: "clocks set by the user",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability limit",
}
IDLE = _REASONS[0x1]
LOCKED = _REASONS[0x2]
# Reasons for a low clock that are nobody's trouble: nothing to do, or asked for.
HARMLESS = frozenset({IDLE, LOCKED, _REASONS[0x100]})


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """The state of a GPU at one moment.

    ``reasons`` says in words what keeps the clocks below their maximum; None if unknown.
    """

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    reasons: tuple[str, ...] | None = None

    @property
    def throttled_by(self) -> tuple[str, ...]:
        """The reasons that make a measurement slower than it should be."""
        return tuple(reason for reason in self.reasons or () if reason not in HARMLESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSettings:
    """How a GPU is set up, and the processes (by id) that use it."""

    persistence: bool | None = None
    ecc: bool | None = None
    mig: bool | None = None
    max_sm_clock_hz: float | None = None
    processes: tuple[int, ...] | None = None


class Gpu(Protocol):
    """What is asked of a GPU beside running work on it."""

    @property
    def name(self) -> str:
        """Index and model: ``GPU 0 (NVIDIA H100)``."""
        ...

    @property
    def index(self) -> int:
        """The number that ``nvidia-smi -i`` takes."""
        ...

    def reading(self) -> GpuReading:
        """Clocks, temperature, power and throttle reasons now."""
        ...

    def settings(self) -> GpuSettings:
        """How the GPU is set up."""
        ...

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded; None where the card does not count."""
        ...


class NvmlGpu:
    """A ``Gpu`` through NVML.

    Args:
        nvml: the module ``pynvml``, initialised; another only in a test.
        handle: of the device.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._index: int = nvml.nvmlDeviceGetIndex(handle)

    @property
    def index(self) -> int:
        """See ``Gpu``."""
        return self._index

    @property
    def name(self) -> str:
        """See ``Gpu``."""
        return f"GPU {self._index} ({self._ask('nvmlDeviceGetName')})"

    def reading(self) -> GpuReading:
        """See ``Gpu``."""
        nvml = self._nvml
        # Its name changed with the documentation's wording; old drivers know the old one.
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return GpuReading(
            sm_clock_hz=_times(1e6, self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM)),
            memory_clock_hz=_times(1e6, self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM)),
            temperature_c=_times(
                1.0, self._ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU)
            ),
            power_w=_times(1e-3, self._ask("nvmlDeviceGetPowerUsage")),
            reasons=None if reasons is None else throttle_reasons(reasons),
        )

    def settings(self) -> GpuSettings:
        """See ``Gpu``."""
        ecc, mig = (self._ask(f"nvmlDeviceGet{what}Mode") for what in ("Ecc", "Mig"))
        persistence = self._ask("nvmlDeviceGetPersistenceMode")
        users = [
            self._ask(f"nvmlDeviceGet{kind}RunningProcesses") for kind in ("Compute", "Graphics")
        ]
        known = [process.pid for found in users if found is not None for process in found]
        return GpuSettings(
            persistence=None if persistence is None else bool(persistence),
            # Both answer (current, pending).
            ecc=None if ecc is None else bool(ecc[0]),
            mig=None if mig is None else bool(mig[0]),
            max_sm_clock_hz=_times(
                1e6, self._ask("nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_SM)
            ),
            processes=None if users == [None, None] else tuple(sorted(set(known))),
        )

    def energy_j(self) -> float | None:
        """See ``Gpu``."""
        return _times(1e-3, self._ask("nvmlDeviceGetTotalEnergyConsumption"))

    def _ask(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, function)(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """The words for each bit that is set; a bit without a word is shown as a number."""
    single = [1 << place for place in range(bits.bit_length()) if bits >> place & 1]
    return tuple(_REASONS.get(bit, f"reason {bit:#x}") for bit in single)


def open_gpus(nvml: Any = None) -> list[Gpu]:
    """All GPUs that NVML sees; none without a driver. ``nvml`` stands for ``pynvml`` in tests."""
    nvml = _started(nvml)
    if nvml is None:
        return []
    handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
    return [NvmlGpu(nvml, handle) for handle in handles]


def open_gpu(uuid: str, nvml: Any = None) -> Gpu | None:
    """The GPU with this UUID, ``GPU-...``; None where NVML does not know it.

    CUDA may number devices in another order than NVML (``CUDA_VISIBLE_DEVICES``), so an index
    would not do; ``torch.cuda.get_device_properties(device).uuid`` has the UUID, without
    ``GPU-``.
    """
    nvml = _started(nvml)
    if nvml is None:
        return None
    try:
        return NvmlGpu(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError:
        return None


def _started(nvml: Any) -> Any:
    """``pynvml``, initialised; None without a driver."""
    if nvml is None:
        import pynvml

        nvml = pynvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
