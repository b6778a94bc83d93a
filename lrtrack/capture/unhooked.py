"""The capture of a training without an optimizer object: there is nothing to put hooks on."""

from __future__ import annotations

from lrtrack.capture.step_capture import StepCapture


class UnhookedCapture(StepCapture):
    """Counts the steps that the user records; used like a `StepCapture`."""

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
        self.unseen.stop()
        self.loads.detach()
