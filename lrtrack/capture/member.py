"""The capture of one optimizer of several, which reports its steps to their rounds."""

from __future__ import annotations

from sys import _getframe
from types import FrameType
from typing import Any, Protocol

from torch.compiler import is_dynamo_compiling

from lrtrack.capture import torch_patches
from lrtrack.capture.accumulation import LossCount
from lrtrack.capture.ensemble import Part
from lrtrack.capture.joint_loads import Turns
from lrtrack.capture.step_capture import StepCapture
from lrtrack.capture.thread_state import Notes, current_notes
from lrtrack.capture.unseen import Unseen

#: A step's time and metrics.
Kept = tuple[float, dict[str, Any]]


class Listener(Protocol):
    """What members report to; see `Rounds`."""

    def begin(self, member: Member, here: Notes) -> int:
        """Prepare for a step; returns the `every` with which it is captured."""

    def add(self, member: Member, here: Notes, kept: Kept | None, own: bool) -> None:
        """Add a step that was made."""


class _Count(LossCount):
    """Passes the number of backward calls on to the round, which adds up losses itself."""

    def _refresh(self) -> None:
        self.idle = False

    def add(self, metrics: dict[str, Any], count: int) -> None:
        """Write the count, also of a single call."""
        metrics["loss_count"] = float(count)


class Member(StepCapture):
    """One optimizer of several.

    Attributes:
        name: as in `Part`.
        at: its place among all members.
        turns: the rounds in which it has stepped; `step` counts its own steps.
        round: the number of the round to which the step under way belongs.
        made_before: its steps when it was last looked whether it still makes any.
        replaced: steps of optimizers that are not tracked, while it makes none.
    """

    _weighs = False  # the round has, when it began

    def __init__(self, rounds: Listener, part: Part, **options: Any) -> None:
        super().__init__(part.optimizer, part.scheduler, on_step=self._keep, **options)
        self.name = part.name
        self.at = 0
        self.round = 0
        self.turns = Turns()
        self.made_before = 0
        self.replaced = Unseen([part.optimizer])
        self.counts = _Count()
        self._rounds, self._block = rounds, id(rounds)
        self._kept: Kept | None = None
        self._loss_before: Any = None
        self._agreed = True  # rounds agree for all members

    @property
    def coming(self) -> int:
        """The number of the round of the step under way."""
        return self.round

    @property
    def key(self) -> int:
        """The id by which a thread's notes name the optimizer."""
        return self._key

    def look_for_others(self) -> None:
        """Note the steps of other optimizers if this one has made none since the last call."""
        if self.made == self.made_before:
            self.replaced.start()
        else:
            self.replaced.seen(self._here)
        self.made_before = self.made

    def detach(self, failed: bool = False) -> None:
        """Remove all hooks, as `StepCapture.detach`. Idempotent."""
        if self.made != self.made_before:  # it has made steps since others were noted
            self.replaced.seen(self._here)
        self.replaced.stop(self._here)
        super().detach(failed)

    def _keep(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        self._kept = when, metrics

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        if is_dynamo_compiling():
            self.hidden.compiled = self.hidden.latest = True
            return None
        here = current_notes()
        if here.away:
            self.captured_in(here)
            return None
        frame: FrameType | None = _getframe()
        if self._under_way is None or not self._is_on_stack(frame):
            self._kept = None
            every = torch_patches.quietly("a round", self._rounds.begin, self, here)
            self._every = 1 if every is None else every
            self._loss_before = here.loss
        result = super()._before(optimizer, args, kwargs)
        if frame is not None and self._under_way is frame:  # it ends, the step's own frame stays
            self._under_way = frame.f_back
        frame = None
        return result

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        made = self.made
        super()._after(optimizer, args, kwargs)
        if self.made != made:
            own = self._here.loss is not None and self._here.loss is not self._loss_before
            torch_patches.quietly("a round", self._rounds.add, self, self._here, self._kept, own)

    def _is_on_stack(self, frame: FrameType | None) -> bool:
        while frame is not None and frame is not self._under_way:
            frame = frame.f_back
        return frame is not None
