"""Wraps methods of frameworks that tell their callbacks too little."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

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
