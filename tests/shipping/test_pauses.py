"""When a delivery is tried, how long it pauses, and how many runs of one server are open."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from lrtrack.shipping.circuit_breaker import CircuitBreaker
from lrtrack.shipping.scheduled_delivery import ScheduledDelivery


def test_pauses_of_a_server_double_up_to_half_a_minute() -> None:
    """The pauses of a dead server are 0.5, 1, 2, … seconds, and never over 30."""
    breaker, now, pauses = CircuitBreaker(), 100.0, []
    for _ in range(8):
        breaker.failed(now, None)
        pauses.append(breaker.not_before - now)
        now = breaker.not_before

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert (breaker.unanswered, breaker.pause) == (8, 30.0)
    breaker.answered()
    assert (breaker.unanswered, breaker.pause, breaker.not_before) == (0, 0.0, 0.0)


def test_a_failure_within_a_pause_is_only_counted() -> None:
    """An attempt that began before the pause does not make it longer."""
    breaker = CircuitBreaker()
    breaker.failed(100.0, None)
    breaker.failed(100.4, None)

    assert (breaker.unanswered, breaker.pause, breaker.not_before) == (2, 0.5, 100.5)
    breaker.failed(100.5, None)
    assert (breaker.unanswered, breaker.pause, breaker.not_before) == (3, 1.0, 101.5)


@pytest.mark.parametrize(("asked", "pause"), [(0.1, 0.1), (299.0, 299.0), (301.0, 300.0), (0, 0.5)])
def test_what_a_server_asks_for(asked: float, pause: float) -> None:
    """A server may ask for any pause of up to 300 seconds."""
    breaker = CircuitBreaker()
    breaker.failed(0.0, asked)

    assert breaker.not_before == pause


def test_who_is_admitted_after_a_failure() -> None:
    """One attempt at a time is admitted from the end of the pause on."""
    breaker = CircuitBreaker(pause=1.0, not_before=5.0)

    assert [breaker.admits(now) for now in (4.9, 5.0)] == [False, True]
    breaker.probe = Future()
    assert not breaker.admits(5.0)
    breaker.probe.set_result(None)
    assert [breaker.admits(now) for now in (4.9, 5.0)] == [False, True]


def test_room_for_32_finished_runs() -> None:
    """At most 32 finished runs are open for one server; the others keep their order."""
    breaker = CircuitBreaker(over=30, waiting=dict.fromkeys("abcd"))
    taken = []
    for run_id in breaker.next():
        taken.append(run_id)
        breaker.over += 1

    assert taken == ["a", "b"]
    assert (list(breaker.waiting), breaker.room) == (["c", "d"], False)


class Delivered(SimpleNamespace):
    """A delivery whose journal has an extent, or is away."""

    def extent(self) -> tuple[int, bool]:
        if self.size is None:
            raise FileNotFoundError("journal")
        return self.size, self.writes

    def kept_back(self) -> bool:
        return bool(self.closed_gate)


def scheduled(alive: bool = False, **attributes: Any) -> ScheduledDelivery:
    """A delivery of 10 bytes of a run that is over, looked at once."""
    delivery = Delivered(
        **{"size": 10, "writes": alive, "closed_gate": False, **attributes},
        cursor=SimpleNamespace(closed=True, offset=10),
    )
    job = ScheduledDelivery(delivery, CircuitBreaker(), SimpleNamespace(), alive)  # type: ignore[arg-type]
    job.look()
    return job


def test_what_is_delivered_again() -> None:
    """A delivery is due unless nothing is new, it pauses, is held back, or works already."""
    job = scheduled()

    assert job.due(0.0)
    job.seen = (10, False)
    assert not job.due(0.0)
    job.seen = (9, False)
    assert job.due(0.0)
    job.not_before = 5.0
    assert [job.due(now) for now in (4.9, 5.0)] == [False, True]
    job.given_up = True
    assert not job.due(5.0)
    job.given_up, job.future = False, Future()
    assert not job.due(5.0)
    assert not scheduled(closed_gate=True).due(0.0)


def test_a_running_run_is_delivered_at_its_beat() -> None:
    """A run that goes on waits for its beat, and one that is over does not."""
    running, over = scheduled(alive=True), scheduled()
    running.beat = over.beat = 5.0

    assert [running.due(now) for now in (4.9, 5.0)] == [False, True]
    assert over.due(0.0)


def test_a_delivery_is_complete_with_its_last_byte() -> None:
    """A closed delivery is complete once its cursor is at the end of the journal."""
    job = scheduled()

    assert job.complete
    job.delivery.cursor.offset = 9
    assert not job.complete
    job.delivery.cursor.offset, job.future = 11, Future()
    assert not job.complete
    job.future.set_result(None)
    job.look()
    assert job.complete
    job.delivery.cursor.closed = False
    assert not job.complete


def test_a_run_that_goes_on_again() -> None:
    """A run that was over and is written again counts as resumed, until the next look."""
    job = scheduled()
    job.delivery.writes = True
    job.look()

    assert (job.alive, job.resumed) == (True, True)
    job.look()
    assert (job.alive, job.resumed) == (True, False)


def test_a_journal_that_is_away() -> None:
    """A delivery without its journal is not due, and remembers since when."""
    job = scheduled()
    job.delivery.size = None
    job.look()
    since = job.lost_at

    assert since is not None
    assert not job.due(0.0)
    job.look()
    assert job.lost_at == since
    job.delivery.size = 10
    job.look()
    assert job.lost_at is None


def test_pauses_are_forgotten() -> None:
    """A delivery that is asked for again is due at once, with the shortest pause after that."""
    job = scheduled()
    job.not_before, job.beat, job.given_up, job.pause, job.failed = 9.0, 9.0, True, 8.0, 3
    job.forget_pauses()

    assert job.due(0.0)
    assert (job.not_before, job.beat, job.given_up, job.pause, job.failed) == (0, 0, False, 0.5, 0)
