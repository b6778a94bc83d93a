"""The clock of a run: that of the machine at first, then its own."""

from __future__ import annotations

import time

import pytest

from lrtrack import clock as clock_module
from lrtrack.clock import Clock


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The readings of the machine's clocks, which a test may change."""
    readings = {"wall": 1000.0, "monotonic": 50.0, "suspended": 2.0}
    monkeypatch.setattr(time, "time", lambda: readings["wall"])
    monkeypatch.setattr(time, "monotonic", lambda: readings["monotonic"])
    monkeypatch.setattr(clock_module, "_suspended", lambda: readings["suspended"])
    return readings


@pytest.mark.parametrize("jump", [-3600.0, 86400.0])
def test_a_wall_clock_that_is_set(machine: dict[str, float], jump: float) -> None:
    """A clock begins with the date, and then only counts seconds."""
    clock = Clock()
    first = clock()
    machine["wall"] += jump
    machine["monotonic"] += 3.0
    clock.look()

    assert (first, clock()) == (1000.0, 1003.0)


def test_a_clock_that_was_set_back_between_two_processes(machine: dict[str, float]) -> None:
    """The clock of a resumed run begins where the run's last record was made, at the earliest."""
    assert (Clock(1500.0)(), Clock(900.0)()) == (1500.0, 1000.0)


def test_a_suspended_machine(machine: dict[str, float]) -> None:
    """Time for which the machine was suspended counts once it is noticed, and counts once."""
    clock = Clock()
    machine["suspended"] += 7200.0
    clock.look()
    clock.look()
    machine["suspended"] += 0.01  # noise
    clock.look()

    assert clock() == 8200.0


def test_a_bare_reading(machine: dict[str, float]) -> None:
    """A reading of the machine's own clock becomes a time by the offset."""
    clock = Clock()
    machine["suspended"] += 10.0
    clock.look()

    assert clock.read() + clock.offset == clock() == 1010.0


def test_the_real_machine() -> None:
    """A new clock shows the time of the machine."""
    before = time.time()
    shown = Clock()()

    assert before - 1e-3 <= shown <= time.time() + 1e-3
