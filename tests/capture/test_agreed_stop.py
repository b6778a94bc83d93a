"""A training ends before the same step in all of its processes."""

from __future__ import annotations

from typing import Any

import pytest

from lrtrack.capture.agreed_stop import AgreedStop

WHY = {"code": "LR006", "message": "nan"}


class Store(dict[str, Any]):
    """The store of a process group; its methods have torch's names."""

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key]


def stops(store: Store) -> tuple[AgreedStop, AgreedStop]:
    """Those of two processes that share a store."""
    both = AgreedStop(), AgreedStop()
    for stop in both:
        stop._store, stop._key = store, "stop"
    return both


@pytest.mark.parametrize(("step", "end"), [(0, 32), (15, 32), (16, 48), (31, 48)])
def test_the_step_before_which_all_end(step: int, end: int) -> None:
    """All processes end at a multiple of 16, at least 17 steps after the announcement."""
    one, other = stops(Store())
    one.announce(WHY, step)

    assert [at for at in range(64) if other.reached(at)] == [end, 48][: 1 + (end == 32)]
    assert one.reached(end) == other.reached(end) == WHY
    assert one.reached(end - 16) is None


def test_a_process_alone_ends_at_once() -> None:
    """A single process ends before its next step, for the reason that came first."""
    stop = AgreedStop()

    assert stop.reached(7) is None
    stop.announce(WHY, 7)
    stop.announce({"code": "LR009"}, 7)
    assert stop.reached(8) == WHY


def test_only_the_first_announcement_counts() -> None:
    """A process announces an end once, whatever it finds later."""
    store = Store()
    one, other = stops(store)
    one.announce(WHY, 0)
    one.announce({"code": "LR009"}, 100)

    assert other.reached(32) == WHY


def test_a_store_whose_process_has_gone() -> None:
    """A store that no longer answers ends nothing, and raises nothing into the training."""
    one, _ = stops(Store())

    def gone(keys: list[str]) -> bool:
        raise RuntimeError("connection closed")

    one._store.check = gone
    assert one.reached(16) is None


def test_each_block_has_a_key_of_its_own() -> None:
    """Blocks that are open one after the other do not end each other."""
    assert AgreedStop()._key != AgreedStop()._key
