"""What the user wants to happen after a diagnosis: `on_diagnosis` and `stop_on` of `track()`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from lrtrack.capture.agreed_stop import AgreedStop
from lrtrack.capture.optimizers import NoOptimizer
from lrtrack.errors import TrainingStopped, warn
from lrtrack.stats.diagnose import Diagnosis
from lrtrack.tracking.captures import Capture, parts

#: Of more optimizers than this, one for each parameter, only the first is observed.
_MANY = 32


class Reactions:
    """Calls the user and ends the training, on its own thread and between two steps.

    Both happen just before an optimizer step: weights, optimizer and scheduler are then those of
    the step before, so that a checkpoint saved now continues exactly there.

    Args:
        capture: counts the steps.
        stop_on: codes of the diagnoses that end the training.
        on_diagnosis: called with each diagnosis.
    """

    def __init__(
        self,
        capture: Capture,
        stop_on: frozenset[str],
        on_diagnosis: Callable[[Diagnosis], object] | None,
    ) -> None:
        self._capture = capture
        self._stop_on = stop_on
        self._on_diagnosis = on_diagnosis
        self._noted: deque[Diagnosis] = deque()
        self._stop = AgreedStop() if stop_on else None
        self._hooks: list[Any] = []

    def attach(self) -> None:
        """Begin to look for diagnoses before each step, if the user wants anything to happen."""
        if self._stop is None and self._on_diagnosis is None:
            return
        optimizers = [part.optimizer for part in parts(self._capture)]
        for optimizer in optimizers[: 1 if len(optimizers) > _MANY else None]:
            if not isinstance(optimizer, NoOptimizer):
                self._hooks.append(optimizer.register_step_pre_hook(self._before_step))

    def detach(self) -> None:
        """End `attach`. Idempotent."""
        while self._hooks:
            self._hooks.pop().remove()

    def note(self, diagnoses: Sequence[Diagnosis], step: int) -> None:
        """Note diagnoses for the training thread.

        Args:
            diagnoses: what was found.
            step: the last step so far.
        """
        if self._on_diagnosis is not None:
            self._noted.extend(diagnoses)
        if self._stop is not None:
            for diagnosis in diagnoses:
                if diagnosis["code"] in self._stop_on:
                    self._stop.announce(diagnosis, step)

    def at_end(self, diagnoses: Sequence[Diagnosis]) -> None:
        """Call the user with what is not known before the end; nothing is left to stop then."""
        if self._on_diagnosis is not None:
            self._noted.extend(diagnoses)
            self._call()

    def between_steps(self) -> None:
        """Do what the user wants; called on the training thread.

        Raises:
            TrainingStopped: a diagnosis ends the training.
        """
        if self._noted:
            self._call()
        if self._stop is not None:
            diagnosis = self._stop.reached(self._capture.step + 1)
            if diagnosis is not None:
                self.detach()
                raise TrainingStopped(diagnosis, self._capture.step)

    def _before_step(self, *_: Any) -> None:
        self.between_steps()

    def _call(self) -> None:
        while self._noted and self._on_diagnosis is not None:
            try:
                self._on_diagnosis(dict(self._noted.popleft()))
            except Exception as error:  # it is no part of the training
                warn(f"on_diagnosis raised {error!r}. Training continues.")
