"""What a shipper does in each of its rounds, and how long it stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lrtrack.errors import DiskTrouble, PartUnavailable, TrackerError, TrackerUnavailable
from lrtrack.shipping.circuit_breaker import LONGEST_PAUSE, PATIENT, PAUSE, CircuitBreaker
from lrtrack.shipping.process import ATTEMPTS, BEAT, OVER, TURN
from lrtrack.shipping.scheduled_delivery import ScheduledDelivery

#: Makes a shipper: see `conftest.py`.
Shipping = Callable[..., Any]


def scripted(job: ScheduledDelivery) -> Any:
    """The delivery of a job."""
    return job.delivery


def test_a_delivery_to_its_end(shipping: Shipping, clock: Any) -> None:
    """A finished run is advanced until nothing is left, and is not tried again."""
    world = shipping()
    job = world.job(True, True, False)

    assert world.round() == (True, True, False)
    assert (scripted(job).attempts, job.tried, job.seen) == (3, 1000.0, (10, False))
    assert (job.beat, job.more, world.place.busy) == (1000.0 + BEAT, False, 1)
    assert world.round() == (False, False, False)
    assert (scripted(job).attempts, world.place.busy, world.said) == (3, 0, [])


def test_an_attempt_that_takes_long(shipping: Shipping, clock: Any) -> None:
    """An attempt that is under way is not begun again, and the shipper waits for it."""
    world = shipping()
    job = world.job(False, alive=True)

    assert world.round(waits=True) == (True, True, True)
    clock.now += 5.0
    assert world.round(waits=True) == (True, True, True)
    assert (job.tried, world.place.busy, scripted(job).attempts) == (1000.0, 0, 0)


def test_a_finished_run_lets_others_have_their_turn(shipping: Shipping, clock: Any) -> None:
    """After a second a finished run stops with more to do; a running one does not."""
    world = shipping()
    over, running = (
        world.job(True, True, True, False),
        world.job(True, True, True, False, alive=True),
    )
    scripted(over).takes = scripted(running).takes = TURN / 2

    assert world.round() == (True, True, True)
    assert (scripted(running).attempts, running.more) == (4, False)
    assert (scripted(over).attempts, over.more, over.seen) == (3, True, None)
    world.round()
    assert (scripted(over).attempts, over.more) == (4, False)


def test_running_runs_first_then_those_that_waited_longest(shipping: Shipping, clock: Any) -> None:
    """Of the finished runs, the one whose last attempt is longest ago comes first."""
    world = shipping()
    order: list[str] = []
    for name, tried, alive in (("late", 9.0, False), ("early", 0.5, False), ("runs", 9.5, True)):
        job = world.job(False, alive=alive, place=CircuitBreaker())
        job.tried = tried
        scripted(job).advance = lambda name=name: order.append(name)
    scripted(world.job(place=CircuitBreaker())).advance = lambda: order.append("new")
    world.round()

    assert order == ["runs", "new", "early", "late"]


@pytest.mark.parametrize(
    ("error", "pause", "next_pause", "blames"),
    [
        (TrackerUnavailable("away"), 0.4, 1.0, True),
        (TrackerUnavailable("away", 7.0), 7.0, 1.0, True),
        (TrackerUnavailable("away", 9e9), PATIENT, 1.0, True),
        (DiskTrouble("full"), 0.4, 1.0, False),
        (PartUnavailable("no file yet"), 0.4, 1.0, False),
    ],
)
def test_pauses_after_a_failure(
    shipping: Shipping,
    clock: Any,
    error: TrackerUnavailable,
    pause: float,
    next_pause: float,
    blames: bool,
) -> None:
    """A failed delivery pauses, for as long as the server asked; its server only if it failed."""
    world = shipping()
    job = world.job(error, False)

    world.round()
    assert (job.not_before, job.pause, job.failed) == (1000.0 + pause, next_pause, 1)
    assert (job.given_up, world.place.unanswered) == (False, int(blames))
    assert scripted(job).notes == [(str(error), False)]
    asked = error.retry_after or 0.4
    assert world.said == [f"run: {error}; next attempt in {asked:.1f} s"]
    clock.now = max(job.not_before, world.place.not_before) - 0.01
    assert world.round() == (True, False, False)
    assert scripted(job).attempts == 1
    clock.now += 0.01
    world.round()
    assert (scripted(job).attempts, job.failed, job.pause) == (2, 0, PAUSE)
    assert world.round() == (False, False, False)


def test_pauses_grow_up_to_half_a_minute(shipping: Shipping, clock: Any) -> None:
    """Each failure doubles the pause of its delivery, to 30 seconds at most."""
    world = shipping()
    job = world.job(*[DiskTrouble("full")] * 8)
    pauses = []
    for _ in range(8):
        world.round()
        pauses.append(job.pause)
        clock.now = job.not_before
        world.round(waits=True)
        job.future = None

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_process_that_does_not_stay(shipping: Shipping, clock: Any) -> None:
    """A sync makes three attempts, whatever the pauses of the server, then gives up."""
    world = shipping(once=True)
    job = world.job(*[TrackerUnavailable("away")] * 4)
    outcomes = []
    for _ in range(ATTEMPTS):
        world.round()
        outcomes.append((job.failed, job.given_up))
        clock.now = job.not_before

    assert outcomes == [(1, False), (2, False), (3, True)]
    assert world.round() == (False, False, False)
    assert scripted(job).attempts == 3


@pytest.mark.parametrize(
    ("error", "text"),
    [(TrackerError("refused"), "refused"), (KeyError("bug"), "KeyError('bug')")],
)
def test_a_delivery_that_is_refused(shipping: Shipping, error: Exception, text: str) -> None:
    """A refusal, or a tracker's own bug, ends the attempts at this run alone."""
    world = shipping()
    job, other = world.job(error), world.job(False, alive=True)

    assert world.round() == (True, True, True)
    assert world.round() == (False, False, True)
    assert (job.given_up, scripted(job).notes) == (True, [(text, True)])
    assert world.said == [f"run: given up: {text}"]
    assert scripted(other).attempts == 1


def test_a_server_that_is_away_gets_one_attempt(shipping: Shipping, clock: Any) -> None:
    """While one attempt is under way at a server that failed, no other is made there."""
    world = shipping()
    world.place.failed(clock.now, None)
    jobs = [world.job(False, alive=True) for _ in range(3)]
    assert world.round(waits=True) == (True, False, True)
    clock.now = world.place.not_before
    world.round(waits=True)

    assert [job.future is not None for job in jobs] == [True, False, False]


def test_an_attempt_that_others_have_made_pointless(shipping: Shipping, clock: Any) -> None:
    """An attempt that gets its worker after the server has failed is not made, but by a sync."""
    made = []
    for once in (False, True):
        world = shipping(once=once)
        job = world.job(False)
        world.place.not_before = clock.now + 1.0
        world.shipper._serve(job)
        made.append(scripted(job).attempts)

    assert made == [0, 1]


def test_workers_for_finished_runs(shipping: Shipping) -> None:
    """Finished runs take at most 12 workers; beside a running run of their server, one."""
    world = shipping()
    quiet = [world.job(False, place=CircuitBreaker()) for _ in range(OVER + 2)]
    for number, job in enumerate(quiet):
        world.queue.breakers["memory", str(number)] = job.place
    shared = CircuitBreaker()
    world.round(waits=True)
    begun = sum(job.future is not None for job in quiet)
    world = shipping()
    world.queue.breakers["memory", "shared"] = shared
    running = world.job(False, alive=True, place=shared)
    over = [world.job(False, place=shared) for _ in range(3)]
    world.round(waits=True)

    assert begun == OVER
    assert running.future is not None
    assert sum(job.future is not None for job in over) == 1


def test_workers_of_a_sync(shipping: Shipping) -> None:
    """A process that does not stay begins all of its deliveries."""
    world = shipping(once=True)
    jobs = [world.job(False) for _ in range(OVER + 2)]
    world.round(waits=True)

    assert all(job.future is not None for job in jobs)


def test_a_failed_run_makes_way_for_those_that_wait(
    shipping: Shipping,
) -> None:
    """A finished run whose server has others waiting is released, and goes to their end."""
    outcomes = []
    for alive, once, waiting in (
        (False, False, True), (False, False, False), (True, False, True), (False, True, True),
    ):  # fmt: skip
        world = shipping(once=once)
        job = world.job(TrackerUnavailable("away"), alive=alive)
        world.place.waiting = {"other": None} if waiting else {}
        world.shipper._serve(job)
        outcomes.append((job.last, scripted(job).released))

    assert outcomes == [(True, 1), (False, 0), (False, 0), (False, 0)]


def test_what_is_reported_once(shipping: Shipping, clock: Any) -> None:
    """Damage and a note are reported when they are new, and a missing part at the end."""
    world = shipping()
    job = world.job(*[False] * 4)
    delivery = scripted(job)
    delivery.damage, delivery.cursor.note, delivery.cursor.missing = (
        "damaged",
        "many rows",
        "a file",
    )
    for size in (10, 11):
        delivery.size = size
        world.round()
    delivery.size, delivery.damage, delivery.cursor.note = 12, "damaged twice", "too many rows"
    world.round()
    delivery.size, delivery.damage, delivery.cursor.note = 13, None, None
    delivery.cursor.closed = True
    world.shipper._serve(job)

    assert world.said == [
        "run: its journal is damaged; the rest is delivered",
        "run: many rows",
        "run: its journal is damaged twice; the rest is delivered",
        "run: too many rows",
        "run: ended without a file",
    ]


def test_a_lock_that_another_process_has_taken(shipping: Shipping) -> None:
    """A delivery whose lock is lost is left alone from then on."""
    world = shipping()
    job = world.job(True, True)
    kept = iter([True, False])
    job.lock.kept = lambda patience=0.0: next(kept)  # type: ignore[method-assign]
    world.shipper._serve(job)

    assert (scripted(job).attempts, job.displaced, job.seen) == (1, True, None)
    world.shipper._serve(job)
    assert scripted(job).attempts == 1
