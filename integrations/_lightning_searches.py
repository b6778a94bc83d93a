"""Searches by which Lightning looks for a learning rate or a batch size during a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lrtrack.capture import thread_state
from lrtrack.capture.optimizers import unwrap
from lrtrack.integrations._lightning_package import callback_classes


class _Informer(*callback_classes()):  # type: ignore[misc]
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
