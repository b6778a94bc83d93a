"""Ignite's search for a learning rate, whose steps are part of no run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lrtrack.capture import thread_state


def searches(engine: Any, started: Any) -> bool:
    """Whether a `FastaiLRFinder` runs an engine.

    Args:
        engine: the engine.
        started: Ignite's event of that name.
    """
    handlers = (entry[0] for entry in engine._event_handlers[started])
    owners = (getattr(handler, "__self__", None) for handler in handlers)
    return any(cls.__name__ == "FastaiLRFinder" for own in owners for cls in type(own).__mro__)


def leave_out_searches(finder_class: Any) -> None:
    """Have no open run record the steps of a search, in this process and for good.

    A search in mid-training may use an engine that no `LRTrack` is attached to.

    Args:
        finder_class: the class whose method `attach` is replaced; a second call changes nothing.
    """
    attach: Callable[..., Any] = finder_class.attach
    if getattr(attach, "leaves_lrtrack_out", False):
        return

    @contextmanager
    @functools.wraps(attach)
    def attaching(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with thread_state.away(), attach(self, *args, **kwargs) as engine:
            yield engine

    attaching.leaves_lrtrack_out = True  # type: ignore[attr-defined]
    finder_class.attach = attaching
