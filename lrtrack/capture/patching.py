"""Replaces functions of torch and of other packages, and restores them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

#: Makes the replacement of a function.
Around = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Reentrant, because garbage collection may close a block at any point.
lock = threading.RLock()
_undo: list[Callable[[], None]] = []
#: Classes with the names of their replaced methods.
_methods: set[tuple[type, str]] = set()


def replace(owner: Any, name: str, around: Around) -> None:
    """Replace a function by what `around` returns for it, until `restore`."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    observed = functools.wraps(original)(around(original))

    def undo() -> None:
        # If other code has wrapped ours meanwhile, its wrapper stays and ours only passes calls on.
        if getattr(owner, name) is observed:
            setattr(owner, name, original)

    _undo.append(undo)  # before the function is replaced, because an interrupt may come in between
    setattr(owner, name, observed)


def replace_method(kind: type, name: str, around: Around) -> bool:
    """Replace a method that a class has or inherits, once until `restore`.

    Returns:
        Whether there is such a method.

    Raises:
        TypeError: the class cannot be changed.
    """
    owner = next((cls for cls in kind.__mro__ if name in vars(cls)), None)
    with lock:
        if owner is not None and (owner, name) not in _methods:
            replace(owner, name, around)
            _methods.add((owner, name))
    return owner is not None


def restore() -> None:
    """Restore everything that was replaced. Idempotent."""
    with lock:
        while _undo:
            _undo[-1]()
            _undo.pop()  # last, so that an interrupt in between leaves nothing behind
        _methods.clear()
