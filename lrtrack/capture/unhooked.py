"""The capture of a training without an optimizer object: there is nothing to put hooks on."""

from __future__ import annotations

from typing import Any

from lrtrack.capture.optimizers import NoOptimizer
from lrtrack.capture.step_capture import StepCapture
from lrtrack.capture.thread_state import current_notes
from lrtrack.capture.unseen import Unseen


class UnhookedCapture(StepCapture):
    """Counts the steps that the user records; used like a `StepCapture`."""

    def __init__(self, optimizer: NoOptimizer, scheduler: Any = None, **options: Any) -> None:
        super().__init__(optimizer, scheduler, **options)
        self.unseen = Unseen([])

    def attach(self) -> None:
        """Begin to note steps of optimizers that the block was not given, and loads."""
        try:
            self.unseen.start()
            self.loads.attach()
        except BaseException:
            self.detach(failed=True)
            raise

    def detach(self, failed: bool = False) -> None:
        """End `attach`. Idempotent."""
        self.unseen.stop(current_notes())
        self.loads.detach()
