"""How long a shipper stays, and what calls it back to work."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from lrtrack.shipping import process
from lrtrack.shipping.lock import Lock
from lrtrack.shipping.run_queue import BUSY_ENOUGH, RunQueue

#: Makes a shipper: see `conftest.py`.
Shipping = Callable[..., Any]
NOTHING, WAITS, UNDER_WAY, LIVES = (
    (False, False, False), (True, False, False), (False, True, False), (False, False, True),
)  # fmt: skip


def rounds(world: Any, *outcomes: tuple[bool, bool, bool], then: Any = NOTHING) -> int:
    """Runs the loop, whose rounds have these outcomes and then another one; returns their number.

    One round is made each second.
    """
    following, made = iter(outcomes), []

    def one(pool: Any) -> tuple[bool, bool, bool]:
        made.append(next(following, then))
        assert len(made) < 100
        return made[-1]

    world.shipper._round = one
    world.shipper._work(None)
    return len(made)


@pytest.fixture(autouse=True)
def a_round_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause between two rounds is a second."""
    monkeypatch.setattr(process, "PERIOD", 1.0)


def test_it_leaves_when_it_has_been_idle(shipping: Shipping) -> None:
    """A shipper stays for as long as it may be idle, counted from the last thing to do."""
    assert rounds(shipping(idle=3.0)) == 5
    assert rounds(shipping(idle=3.0), WAITS, WAITS, NOTHING, LIVES) == 4 + 4
    assert rounds(shipping(idle=3.0), UNDER_WAY) == 5


def test_it_leaves_when_no_tracker_takes_anything(shipping: Shipping) -> None:
    """Waiting for trackers ends with the patience, which a running run restores."""
    assert rounds(shipping(idle=1.0, patience=3.0), then=WAITS) == 5
    assert rounds(shipping(idle=1.0, patience=3.0), WAITS, WAITS, LIVES, then=WAITS) == 3 + 4


def test_a_success_restores_the_patience(shipping: Shipping) -> None:
    """The patience counts from the last attempt that succeeded."""
    world = shipping(idle=99.0, patience=3.0)
    job, made = world.job(False), []

    def one(pool: Any) -> tuple[bool, bool, bool]:
        made.append(process.time.monotonic())
        if len(made) == 3:
            world.shipper._went_well(job)
        return WAITS

    world.shipper._round = one
    world.shipper._work(None)

    assert made == [1000.0 + second for second in range(3 + 4)]


@pytest.mark.parametrize("outcome", [WAITS, UNDER_WAY])
def test_a_sync_ends_with_its_work(shipping: Shipping, outcome: tuple[bool, bool, bool]) -> None:
    """A process that does not stay leaves as soon as nothing waits and no attempt is made."""
    assert rounds(shipping(once=True)) == 1
    assert rounds(shipping(once=True), outcome, outcome) == 3
    assert rounds(shipping(once=True), LIVES) == 1


def test_a_sync_waits_for_the_rest_of_the_queue(
    shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays while runs are to be opened, or another process delivers one."""
    answers = iter([True, True, False, False])
    monkeypatch.setattr(RunQueue, "waiting", property(lambda self: next(answers)))
    monkeypatch.setattr("lrtrack.shipping.run_queue.time", process.time)
    world = shipping(once=True)
    world.queue._busy["run", "memory"] = process.time.monotonic() - BUSY_ENOUGH + 2.5

    assert rounds(world) == 4


def test_a_shipper_that_stays_does_not_wait_for_another_one(
    shipping: Shipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process delivers keeps a sync, and not a shipper."""
    monkeypatch.setattr("lrtrack.shipping.run_queue.time", process.time)
    world = shipping(idle=2.0)
    world.queue._busy["run", "memory"] = process.time.monotonic()

    assert rounds(world) == 4


def test_runs_that_wait_for_room(shipping: Shipping) -> None:
    """A shipper stays while a run waits for a server that has room."""
    world = shipping(idle=1.0, patience=5.0)
    world.place.waiting["run"] = None
    world.queue.take_up = lambda: None

    assert rounds(world) == 7
    world.place.over = 32
    assert rounds(world) == 3


@pytest.mark.parametrize("options", [{"once": True}, {"only": "a" * 32}, {}])
def test_while_a_sync_works(shipping: Shipping, options: dict[str, Any]) -> None:
    """A shipper leaves finished runs to a sync and waits for it; others do not yield."""
    world = shipping(idle=1.0, patience=4.0, **options)
    world.queue.over = False
    world.queue.take_up = lambda: None
    lock = Lock(world.shipper._layout.sync_lock)
    assert lock.acquire()
    made = rounds(world)
    lock.remove()

    assert world.queue.yielding is (not options)
    assert made == {"once": 1, "only": 3}.get(next(iter(options), ""), 6)


@pytest.mark.parametrize("why", ["stopped", "over", "moved away"])
def test_when_it_does_not_begin(shipping: Shipping, why: str) -> None:
    """Asked to stop, without its only run, or without its directory, it makes no round."""
    world = shipping(stays=lambda: why != "moved away")
    assert world.shipper._stopped is False
    if why == "stopped":
        world.shipper.stop()
    world.queue.over = why == "over"

    assert rounds(world) == 0


def test_it_wakes_up_once_for_each_touch(shipping: Shipping) -> None:
    """All pauses end when another process touches the file, however old the file is."""
    world = shipping()
    wake, calls = world.shipper._layout.wake, []
    world.queue.try_again = lambda: calls.append(wake.stat().st_mtime)
    world.shipper._wake_up()
    wake.touch()
    for when in (1.0, 1.0, 2.0):
        os.utime(wake, (when, when))
        world.shipper._wake_up()

    assert calls == [1.0, 2.0]


def test_what_is_forgotten(shipping: Shipping) -> None:
    """Deliveries that paused or were refused are due again, and so are runs that were left."""
    world = shipping()
    job = world.job(False)
    job.given_up, job.not_before, job.failed = True, 9e9, 2
    world.place.failed(1000.0, None)
    world.queue._left = {"a" * 32}
    world.queue.try_again()

    assert (job.given_up, job.not_before, job.failed) == (False, 0.0, 0)
    assert (world.place.pause, world.place.unanswered) == (0.0, 0)
    assert list(world.queue.queued.take()) == ["a" * 32]
    assert world.queue._left == set()
