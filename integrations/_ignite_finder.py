"""Ignite's search for a learning rate, whose steps are part of no run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lrtrack.capture import thread_state
from lrtrack.integrations._class_names import derives_from


def searches(engine: Any, started: Any) -> bool:
    """Whether a `FastaiLRFinder` runs an engine.

    Args:
        engine: the engine.
        started: Ignite's event of that name.
    """
    handlers = (entry[0] for entry in engine._event_handlers[started])
    owners = (getattr(handler, "__self__", None) for handler in handlers)
    return any(derives_from(owner, "FastaiLRFinder") for owner in owners)


def leave_out_searches(attach: Callable[..., Any]) -> Callable[..., Any]:
    """Have no open run record the steps of a search.

    A search in mid-training may use an engine that no `LRTrack` is attached to.

    Args:
        attach: the finder's method.
    """

    @contextmanager
    def attaching(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with thread_state.away(), attach(self, *args, **kwargs) as engine:
            yield engine

    return attaching
