"""Several optimizers that train together: each is captured alone, and a round is one record.

A round ends when an optimizer that has stepped in it begins to step again, when a container of the
optimizers begins its next step, and at the end of the block. Until then its record stays here, so
that trackers get each step once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from sys import _getframe
from typing import Any

import torch
from torch._C import _current_graph_task_id as _pass
from torch.compiler import is_compiling

from lrtrack.capture import torch_patches
from lrtrack.capture.accumulation import LossCount
from lrtrack.capture.device_scalars import add, hold_number, joint
from lrtrack.capture.ensemble import Ensemble, Part
from lrtrack.capture.sharded import is_shared
from lrtrack.capture.step_capture import OnStep, StepCapture, remove_hook
from lrtrack.capture.thread_state import Notes, current_notes

#: The `every` of a round that is not recorded: no optimizer makes so many steps.
_NEVER = 2**62


class _Count(LossCount):
    """Passes the number of backward calls on to the round, which adds up losses itself."""

    idle = False

    def add(self, metrics: dict[str, Any], count: int) -> None:
        """Write the count, also of a single call."""
        metrics["loss_count"] = float(count)


class Member(StepCapture):
    """One optimizer of several.

    Attributes:
        name: as in `Part`.
    """

    def __init__(self, rounds: Rounds, part: Part, **options: Any) -> None:
        super().__init__(part.optimizer, part.scheduler, on_step=self._keep, **options)
        self.name = part.name
        self.counts = _Count()
        self._rounds = rounds
        self._kept: tuple[float, dict[str, Any]] | None = None
        self._loss_before: Any = None

    @property
    def key(self) -> int:
        """The id by which a thread's notes name the optimizer."""
        return self._key

    def _keep(self, step: int, when: float, metrics: dict[str, Any]) -> None:
        self._kept = when, metrics

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        here = current_notes()
        if here.away or is_compiling():
            return None
        frame: Any = _getframe()
        if self._under_way is None or not self._is_on_stack(frame):
            self._kept = None
            every = torch_patches.quietly("a round", self._rounds.begin, self, here)
            self._every = 1 if every is None else every
            self._loss_before = here.loss
        result = super()._before(optimizer, args, kwargs)
        if self._under_way is frame:  # this frame ends now, but the step's own frame stays
            self._under_way = frame.f_back
        frame = None
        return result

    def _after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        made = self.made
        super()._after(optimizer, args, kwargs)
        if self.made != made:
            own = self._here.loss is not None and self._here.loss is not self._loss_before
            torch_patches.quietly("a round", self._rounds.add, self, self._here, self._kept, own)

    def _is_on_stack(self, frame: Any) -> bool:
        while frame is not None and frame is not self._under_way:
            frame = frame.f_back
        return frame is not None


@dataclass
class _Clip:
    """Optimizers that stepped with the same notes: gradients that one call may have clipped."""

    noted: Any
    preclip: Any = None
    norms: list[Any] = field(default_factory=list)


@dataclass
class _Round:
    """What the steps of one round have shown so far.

    Attributes:
        stepped: the members that have stepped, with their metrics; None where not recorded.
        losses: each loss with its number of backward calls, by the member that stepped first.
        shared: whether a member stepped without a loss of its own.
        written: whether the record has been passed on; then only changes follow.
        later: what the user has logged at this step.
    """

    stepped: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    losses: dict[int, tuple[Any, int]] = field(default_factory=dict)
    clips: list[_Clip] = field(default_factory=list)
    shared: bool = False
    when: float = 0.0
    changed: bool = False
    written: dict[str, Any] | None = None
    later: dict[str, Any] = field(default_factory=dict)


class Rounds:
    """Observes several optimizers between `attach` and `detach`; used like a `StepCapture`.

    Attributes:
        made: rounds in which an optimizer has stepped since `attach`.
        members: the capture of each optimizer.
        counts: handles the number of backward calls behind a round's loss.
        on_step, on_change: called with each record, and with what changes in one that was passed
            on before its round had ended.
        on_user: called with what the user has logged at a step, after its record.

    Args:
        ensemble: the optimizers, at least two.
        on_plateau: called with the name of an optimizer and each value given to its
            `ReduceLROnPlateau`; the name is empty if only one has such a scheduler.
        others: as for `StepCapture`; `every` counts rounds.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        *,
        on_plateau: Callable[[str, float], None] = lambda name, value: None,
        norms: str = "global",
        model: torch.nn.Module | None = None,
        every: int = 1,
        capture_loss: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.made = 0
        self.counts = LossCount()
        self.on_step: OnStep = lambda step, time, metrics: None
        self.on_change: OnStep = lambda step, time, metrics: None
        self.on_user: OnStep = lambda step, time, metrics: None
        self.members = [
            Member(self, part, on_plateau=partial(self._plateau, part.name), norms=norms,
                   model=model, capture_loss=capture_loss, clock=clock)
            for part in ensemble.parts
        ]  # fmt: skip
        self._keys = own = frozenset(member.key for member in self.members)
        for member in self.members:
            member.unseen.own = own
        self._ensemble = ensemble
        self._on_plateau = on_plateau
        self._layers = norms == "layer"
        self._every = every
        self._agreed = every == 1
        self._step = -1
        self._open: _Round | None = None
        self._seen: tuple[Any, Any] = (None, None)
        self._shares = False
        self._home = current_notes()
        self._lock = threading.RLock()  # optimizers may step in different threads

    @property
    def step(self) -> int:
        """The last round in which an optimizer has stepped, from 0; -1 before the first."""
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        self.end()
        self._step = step

    @property
    def accumulates(self) -> bool:
        """As in `StepCapture`, for all optimizers."""
        return self.members[0].accumulates

    @accumulates.setter
    def accumulates(self, accumulates: bool) -> None:
        for member in self.members:
            member.accumulates = accumulates

    def attach(self) -> None:
        """Install the hooks."""
        self._home = current_notes()
        try:
            for container in self._ensemble.containers:
                container.register_step_pre_hook(self._container_begins)
            for member in self.members:
                member.attach()
        except BaseException:
            self.detach(failed=True)
            raise

    def detach(self, failed: bool = False) -> None:
        """Remove all hooks and end the round; `failed` as in `StepCapture`. Idempotent."""
        for member in self.members:
            member.detach(failed)
        for container in self._ensemble.containers:
            remove_hook(container._optimizer_step_pre_hooks, self._container_begins)
        self.end()

    def begin(self, member: Member, here: Notes) -> int:
        """Prepare for a step of `member`; returns the `every` with which it is captured."""
        with self._lock:
            if self._open is not None and id(member) in self._open.stepped:
                self.end()
            if here is not self._home and _pass() != -1:
                self._adopt(here)
            if here.used and self._are_own(here):
                here.stepping = member.key  # keeps the notes, which an earlier step has used
            if not self._agreed:
                self._agreed = True
                self._agree()
            at = self._step + (self._open is None)
            return 1 if at % self._every == 0 else _NEVER

    def add(
        self, member: Member, here: Notes, kept: tuple[float, dict[str, Any]] | None, own: bool
    ) -> None:
        """Add a step that `member` has made.

        Args:
            here: the notes that the step used.
            kept: its time and metrics; None if the round is not recorded.
            own: whether its loss has changed since the step began, as by a closure.
        """
        with self._lock:
            if self._open is None:
                self._open = _Round()
                self._step += 1
                self.made += 1
            current = self._open
            own = own or here.loss is not self._seen[0]
            self._seen = here.loss, here.preclip
            current.stepped[id(member)] = None
            if kept is None or self._step % self._every:
                return
            current.when, metrics = kept
            current.stepped[id(member)], current.changed = metrics, True
            loss, count = metrics.pop("loss", None), metrics.pop("loss_count", 1.0)
            if loss is not None and own:
                current.losses[id(member)] = loss, int(count)
            else:
                current.shared = True
            if own or not current.clips or current.clips[-1].noted is not here.preclip:
                current.clips.append(_Clip(here.preclip))
            clip = current.clips[-1]
            clip.preclip = metrics.pop("grad_norm_preclip", None)
            clip.norms += [metrics["grad_norm"]] if "grad_norm" in metrics else []

    def end(self) -> None:
        """End the round and pass its record on."""
        with self._lock:
            self.publish()
            self._open = None

    def publish(self) -> None:
        """Pass on what is known of the round so far."""
        with self._lock:
            current = self._open
            if current is None:
                return
            if current.changed:
                current.changed = False
                metrics = self._metrics(current)
                earlier, current.written = current.written, metrics
                if earlier is None:
                    self.on_step(self._step, current.when, dict(metrics))
                else:
                    changes = {k: v for k, v in metrics.items() if earlier.get(k) is not v}
                    self.on_change(self._step, current.when, changes)
            if current.later:
                later, current.later = current.later, {}
                self.on_user(self._step, current.when, later)

    def amend(self, when: float, metrics: Mapping[str, Any]) -> None:
        """Add what the user logs at the step just done, or at step 0 before the first."""
        with self._lock:
            if self._open is not None and self._open.written is None and self._open.changed:
                self._open.later |= metrics
            else:
                self.on_user(max(self._step, 0), when, dict(metrics))

    def _metrics(self, current: _Round) -> dict[str, Any]:
        first = current.stepped.get(id(self.members[0])) or {}
        rate = first.get("lr")
        if rate is None:  # it has not stepped in this round
            rate = hold_number(self._ensemble.first.param_groups[0]["lr"])
        metrics: dict[str, Any] = {"lr": rate}
        if "momentum" in first:
            metrics["momentum"] = first["momentum"]
        norms = [norm for clip in current.clips for norm in clip.norms]
        if norms:
            metrics["grad_norm"] = joint(norms)
        if any(clip.preclip is not None for clip in current.clips):
            before = [[c.preclip] if c.preclip is not None else c.norms for c in current.clips]
            metrics["grad_norm_preclip"] = joint([norm for part in before for norm in part])
        for member in self.members:
            own = current.stepped.get(id(member))
            if own:
                metrics |= self._of_member(member, own)
        if current.losses:
            self._add_losses(current, metrics)
        return metrics

    def _of_member(self, member: Member, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The metrics of one optimizer under its name; a layer's name needs no other."""
        named = {}
        for metric, value in metrics.items():
            head, slash, rest = metric.partition("/")
            if self._layers and head == "grad_norm" and slash:
                named[metric] = value
            elif member.name:
                named[f"{head}/{member.name}{slash}{rest}"] = value
        return named

    def _add_losses(self, current: _Round, metrics: dict[str, Any]) -> None:
        self._shares = self._shares or current.shared
        total, calls = None, 0
        for member in self.members:
            if id(member) in current.losses:
                loss, count = current.losses[id(member)]
                total, calls = add(total, loss), calls + count
                if member.name and not self._shares:
                    metrics[f"loss/{member.name}"] = loss
        metrics["loss"] = total
        if calls != 1 or not self.counts.idle:
            self.counts.add(metrics, calls)

    def _are_own(self, here: Notes) -> bool:
        """Whether used notes are of this round, or of a step that a scaler has skipped."""
        if self._open is not None and self._seen[0] is here.loss:
            return self._seen[1] is here.preclip
        skipped = here.attempted
        return skipped is not None and skipped[1] is here.loss and skipped[0] in self._keys

    def _adopt(self, here: Notes) -> None:
        """Take over the loss that another thread noted: a device's thread runs backward hooks."""
        home = self._home
        if home.loss is not None and not home.used and home.loss is not here.loss:
            here.clear()
            here.loss, here.count, home.used = home.loss, home.count, True

    def _agree(self) -> None:
        """Have all processes record the same rounds, as their norms need all of them."""
        member = next((m for m in self.members if any(map(is_shared, m.parameters()))), None)
        if member is not None:
            member.step = self._step
            member.agree()
            self._step = member.step

    def _container_begins(self, *_: Any) -> None:
        if not current_notes().away and not is_compiling():
            torch_patches.quietly("a round", self.end)

    def _plateau(self, name: str, value: float) -> None:
        several = sum(member.has_plateau for member in self.members) > 1
        self._on_plateau(name if several else "", value)
