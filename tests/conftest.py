"""What holds for all tests: the same examples in every run, and no experiment of half a minute."""

import pytest
from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True)
def no_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sweep examines the machine first, unless its test gives the doctor time."""
    monkeypatch.setattr("paca_bench.sweeper.DOCTOR_MOST_S", 0.0)
