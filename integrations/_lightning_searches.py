"""Searches by which Lightning looks for a learning rate or a batch size during a training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from lrtrack._optional import load
from lrtrack.capture import thread_state
from lrtrack.capture.optimizers import unwrap
from lrtrack.errors import MissingPackage

_AT_LEAST = "2.5"
_PACKAGES = {"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch-lightning"}


def callback_bases() -> list[Any]:
    """The base class of the package in use; both base classes if either may be used.

    A Trainer rejects a callback with a state that is not derived from its own package's class.
    """
    bases, missing = [], None
    loaded = [module for module in _PACKAGES if module in sys.modules]
    installed = [module for module in _PACKAGES if find_spec(module.partition(".")[0]) is not None]
    for module in loaded or installed or _PACKAGES:
        package = _PACKAGES[module]
        try:
            bases.append(load(module, "lightning", package, at_least=_AT_LEAST).Callback)
        except MissingPackage as error:
            missing = missing or error
    if not bases and missing is not None:
        raise missing
    return bases


class _Informer(*callback_bases()):  # type: ignore[misc]
    """Tells a callback of an exception while Lightning has taken it from the Trainer.

    Args:
        callback: the callback.
    """

    def __init__(self, callback: Any) -> None:
        super().__init__()
        self._callback = callback

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Tell it."""
        self._callback.on_exception(trainer, pl_module, exception)


class Probes:
    """Keeps steps out of a run by which Lightning looks for a learning rate or a batch size.

    Such a search may run in mid-training, on the same optimizer. Lightning takes all callbacks from
    the Trainer meanwhile, and tells none of them, not even of an exception that leaves the search.
    So one that tells ours of it joins those of the search.

    Args:
        callback: the callback that records.
        trainer: its Trainer.
        optimizers: those that are recorded. The hooks here must come before the capture's.
    """

    def __init__(self, callback: Any, trainer: Any, optimizers: Sequence[Any]) -> None:
        self._callback = callback
        self._trainer = trainer
        self._probing = False
        self._informer = _Informer(callback)
        self._hooks: list[Any] = []
        for optimizer in map(unwrap, optimizers):
            self._hooks.append(optimizer.register_step_pre_hook(self._before))

    def detach(self) -> None:
        """Remove the hooks. Idempotent."""
        self.over()
        while self._hooks:
            self._hooks.pop().remove()

    def over(self) -> None:
        """Note that the training goes on; the losses of the search count in no step."""
        if self._probing:
            self._probing = False
            notes = thread_state.current_notes()
            notes.away = False
            notes.clear()

    def _before(self, *_: Any) -> None:
        callbacks = self._trainer.callbacks
        if any(other is self._callback for other in callbacks):
            return
        self._probing = thread_state.current_notes().away = True
        if not any(other is self._informer for other in callbacks):
            callbacks.append(self._informer)  # Lightning reads its own, the first
