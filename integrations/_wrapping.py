"""Wraps methods of frameworks that tell their callbacks too little."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from lrtrack.tracking.closing import run_all

#: What a wrapped method has, so that it is wrapped once.
_MARK = "wrapped_by_lrtrack"


def wrap_once(owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Any]) -> None:
    """Replace a method, in this process and for good; a second call changes nothing.

    Args:
        owner: the class with the method.
        name: the method's name.
        wrap: makes the new method of the old one.
    """
    method: Callable[..., Any] = getattr(owner, name)
    if not getattr(method, _MARK, False):
        wrapped = functools.wraps(method)(wrap(method))
        setattr(wrapped, _MARK, True)
        setattr(owner, name, wrapped)


def end_when_left(
    owner: Any, name: str, ends_of: Callable[[Any], Iterable[Callable[[], object]]]
) -> None:
    """Have a method that trains end runs if an exception leaves it, Ctrl-C included. Idempotent.

    Args:
        owner: the framework's class.
        name: the method's name.
        ends_of: what ends the runs of lrtrack's callbacks of an object of that class, as FAILED.
    """

    def wrap(train: Callable[..., Any]) -> Callable[..., Any]:
        def ending(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return train(self, *args, **kwargs)
            except BaseException:
                run_all(ends_of(self))  # the exception stays the one that is raised
                raise

        return ending

    wrap_once(owner, name, wrap)
