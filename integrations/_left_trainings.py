"""Trainings that an exception leaves, of which their framework tells no callback."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from lrtrack.errors import warn
from lrtrack.integrations._callback_runs import CallbackRuns


def end_when_left(
    owner: type, method: str, runs_of: Callable[[Any], Iterable[CallbackRuns]]
) -> None:
    """Have a method end runs as FAILED if an exception leaves it, Ctrl-C included. Idempotent.

    Args:
        owner: the framework's class.
        method: the name of its method that trains, which is wrapped.
        runs_of: the open runs of lrtrack's callbacks of an object of that class.
    """
    train: Callable[..., Any] = getattr(owner, method)
    if getattr(train, "ends_runs_of_lrtrack", False):
        return

    @functools.wraps(train)
    def ending(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return train(self, *args, **kwargs)
        except BaseException:
            for runs in runs_of(self):
                leave(runs)
            raise

    ending.ends_runs_of_lrtrack = True  # type: ignore[attr-defined]
    setattr(owner, method, ending)


def leave(runs: CallbackRuns) -> None:
    """End runs as FAILED while an exception leaves their training, which stays the one raised."""
    try:
        runs.leave(failed=True)
    except Exception as error:
        warn(f"lrtrack could not end the run properly: {error!r}.")
