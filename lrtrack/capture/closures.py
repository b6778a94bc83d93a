"""Closures passed to `step`: gradients do not exist before their first evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def with_closure(closure: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return the arguments of `step` with its closure replaced."""
    if "closure" in kwargs:
        return args, {**kwargs, "closure": closure}
    return (args[0], closure, *args[2:]), kwargs


class FirstEvaluation:
    """A closure that reports the result of its first evaluation, when the gradients exist."""

    def __init__(self, closure: Callable[[], Any], look: Callable[[Any], None]) -> None:
        self._closure = closure
        self._look: Callable[[Any], None] | None = look

    def __call__(self) -> Any:
        """Evaluate the closure and report the first result."""
        loss = self._closure()
        if self._look is not None:
            look, self._look = self._look, None
            look(loss)
        return loss
