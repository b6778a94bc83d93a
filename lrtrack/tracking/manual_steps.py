"""Steps that no hook sees, recorded from what the user has measured: `TrackedRun.record()`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lrtrack.capture import torch_patches
from lrtrack.capture.device_scalars import Scalar, hold_number, together
from lrtrack.capture.group_names import group_names
from lrtrack.capture.norms import Group
from lrtrack.capture.optimizers import described_device
from lrtrack.capture.rounds import Rounds
from lrtrack.capture.thread_state import current_notes
from lrtrack.capture.unhooked import UnhookedCapture
from lrtrack.errors import warn
from lrtrack.tracking.captures import Capture, by_name
from lrtrack.tracking.number_arguments import scalar
from lrtrack.tracking.user_metrics import numbers


class ManualSteps:
    """Makes the records of one run's steps that its hooks do not see.

    Attributes:
        has_ended: whether the run is over, so that nothing is recorded any more.

    Args:
        capture: counts the steps, also those that hooks see.
        every: as in `track()`.
        capture_loss: as in `track()`.
        clock: as for the capture.
        before: called before each step.
    """

    def __init__(
        self,
        capture: Capture,
        every: int = 1,
        capture_loss: bool = True,
        clock: Callable[[], float] = time.time,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.has_ended = False
        self._capture = capture
        self._every = every
        self._capture_loss = capture_loss and not isinstance(capture, UnhookedCapture)
        self._clock = clock
        self._before = before
        self._members = capture.members if isinstance(capture, Rounds) else [capture]
        self._recorded = 0
        self._seen = self._steps_seen()
        self._rejected: set[str] = set()
        self._reported: set[str] = set()
        self._rates = self._current_rates()
        self._position = capture.stepping.position
        self._moves_first = False

    def record(self, given: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """Record the next step.

        Args:
            given: `lr`, `loss` and `grad_norm`, None where the user does not know them.
            metrics: further metrics; those that are no numbers are skipped with a warning.

        Raises:
            UsageError: one of `given` is no number.
            TrainingStopped: a diagnosis ends the training.
        """
        if self.has_ended:
            self._report("The run has ended, so run.record() records nothing. Fix: start a new run")
            return
        values = {name: scalar(name, v) for name, v in given.items() if v is not None}
        before, self._seen = self._seen, self._steps_seen()
        hidden = [member.hidden.taken() for member in self._members]
        if self._seen != before and not any(hidden):
            self._report(
                "lrtrack sees the steps of this run by itself, so run.record() would count them "
                "twice and records nothing. Fix: use run.log(…) for further metrics"
            )
            return
        self._before()
        self._note_device({**given, **metrics})
        self._begin()
        record = {**self._measured(values), **values, **numbers(metrics, "", self._rejected)}
        count = self._add_loss(record)
        if "loss" in record and (count != 1 or not self._capture.counts.idle):
            self._capture.counts.add(record, count)
        step = self._capture.step + 1
        self._capture.step = step
        self._capture.made += 1
        self._capture.by_hand += 1
        self._recorded += 1
        if step % self._every == 0:
            torch_patches.quietly("a step", self._capture.on_step, step, self._clock(), record)

    def _steps_seen(self) -> int:
        """The steps that lrtrack saw by itself; of several optimizers, those of each."""
        if isinstance(self._capture, Rounds):
            return sum(member.made for member in self._members)
        return self._capture.made - self._recorded

    def _begin(self) -> None:
        """Prepare for a step, as hooks do before they see one."""
        capture = self._capture
        if capture.loads.is_loaded:
            torch_patches.quietly("a loaded checkpoint", capture.loads.settle)
            self._rates = self._current_rates()
        if not capture.by_hand:
            first = capture.members[0] if isinstance(capture, Rounds) else capture
            first.unseen.stop(current_notes())

    def _measured(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The rates of a step of the optimizer, unless the user gives one."""
        rates = torch_patches.quietly("the learning rate", self._rates_used) or {}
        return {} if "lr" in values else rates

    def _rates_used(self) -> dict[str, Scalar]:
        """The rates that a step used, right after it.

        Whether the scheduler moves before or after `record()` shows at the first step. If before,
        a step has used the rates of the call before.
        """
        stepping, position = self._capture.stepping, self._capture.stepping.position
        if not self._capture.by_hand and position is not None:
            before = self._position or 0
            if self._capture.made:  # after steps that hooks saw, whose rates were not kept
                before, self._rates = (stepping.at or 0) + 1, self._current_rates()
            self._moves_first = position - before == 1
        earlier, self._rates = self._rates, self._current_rates()
        return earlier if self._moves_first else self._rates

    def _current_rates(self) -> dict[str, Scalar]:
        rates: dict[str, Scalar] = {}
        for name, capture in by_name(self._capture).items():
            rates |= _named_rates(name, capture.groups, first=not rates)
        return rates

    def _add_loss(self, record: dict[str, Any]) -> int:
        """Add the loss that `backward()` had, if the user gives none; returns its calls."""
        here = current_notes()
        loss, is_new, here.used = here.loss, not here.used, True
        if "loss" in record or loss is None or not is_new or not self._capture_loss:
            return 1
        record["loss"] = together(loss)
        return here.count

    def _note_device(self, values: Mapping[str, Any]) -> None:
        capture = self._capture
        if isinstance(capture, UnhookedCapture) and capture.device is None:
            tensors = (v for v in values.values() if isinstance(v, torch.Tensor))
            first = next(tensors, None)
            if first is not None:
                capture.device = torch_patches.quietly("the device", described_device, first.device)

    def _report(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            warn(f"{message}.")


def _named_rates(name: str, groups: Sequence[Group], *, first: bool) -> dict[str, Scalar]:
    """The rates of one optimizer, whose first group's is also that of the run if it is `first`."""
    known = [group.get("lr") for group in groups]
    if not known or known[0] is None:
        return {}
    own = f"lr/{name}" if name else "lr"
    rates = {own: hold_number(known[0])}
    if first:
        rates["lr"] = rates[own]
    if len(groups) > 1:
        for group, rate in zip(group_names(groups), known, strict=True):
            if rate is not None:
                rates[f"{own}/{group}"] = hold_number(rate)
    return rates
