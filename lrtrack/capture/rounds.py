"""Several optimizers that train together: each is captured alone, and a round is one record.

A round ends when an optimizer that has stepped in it begins to step again, when a container of the
optimizers begins its next step, and at the end of the block. Of optimizers of single parameters,
each `backward()` that is followed by a step begins one. Until a round ends, its record stays here,
so that trackers get each step once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch._C import _current_graph_task_id as _pass
from torch.compiler import is_dynamo_compiling

from lrtrack.capture import torch_patches
from lrtrack.capture.accumulation import LossCount
from lrtrack.capture.ensemble import Ensemble
from lrtrack.capture.joint_loads import JointLoads
from lrtrack.capture.member import Kept, Member
from lrtrack.capture.observations import Stepping
from lrtrack.capture.round_record import Round, named
from lrtrack.capture.sharded import is_shared
from lrtrack.capture.step_capture import OnStep, remove_hook
from lrtrack.capture.thread_state import Notes, current_notes
from lrtrack.capture.unseen import Unseen

#: The `every` of a round that is not recorded: no optimizer makes so many steps.
_NEVER = 2**62
#: After so many rounds without a step of an optimizer, those of others are noted.
_MISSED = 8


class Rounds:
    """Observes several optimizers between `attach` and `detach`; used like a `StepCapture`.

    Attributes:
        made: rounds in which an optimizer has stepped since `attach`.
        members: the capture of each optimizer.
        loads: to which round a loaded checkpoint returns.
        counts: handles the number of backward calls behind a round's loss.
        by_hand: rounds that the user recorded, because no hook sees their steps.
        on_step, on_change: called with each record, and with what changes in one that was passed
            on before its round had ended.
        on_user: called with what the user has logged at a step, after its record.

    Args:
        ensemble: the optimizers, at least two.
        on_plateau: called with the name of an optimizer and each value given to its
            `ReduceLROnPlateau`; the name is empty if only one has such a scheduler.
        others: as for `StepCapture`; `every`, `updates` and `norms_every` count rounds.
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
        updates: int | None = None,
        norms_every: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.made = self.by_hand = 0
        self.counts = LossCount()
        self.on_step: OnStep = lambda step, time, metrics: None
        self.on_change: OnStep = lambda step, time, metrics: None
        self.on_user: OnStep = lambda step, time, metrics: None
        self.members = [
            Member(self, part, on_plateau=partial(self._plateau, part.name), norms=norms,
                   model=model, capture_loss=capture_loss, updates=updates,
                   norms_every=norms_every, clock=clock)
            for part in ensemble.parts
        ]  # fmt: skip
        self._places = {member.key: at for at, member in enumerate(self.members)}
        unseen = Unseen((part.optimizer for part in ensemble.parts), ensemble.containers)
        for member in self.members:
            member.unseen = unseen
            member.replaced.own = unseen.own
            member.at = self._places[member.key]
        self.loads = JointLoads(self, self.members)
        self._ensemble = ensemble
        self._on_plateau = on_plateau
        self._layers = norms == "layer"
        self._every, self._norms_every = every, norms_every
        self._updates = updates
        self._weights: list[dict[str, Any]] = []
        self._agreed = (every, norms_every, updates) == (1, 1, None)
        self._step = -1
        self._open: Round | None = None
        self._turns: set[int] = set()
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
    def open_round(self) -> int | None:
        """The number of the round that has begun, of those made; None between two rounds."""
        with self._lock:
            return None if self._open is None else self.made

    @property
    def stepping(self) -> Stepping:
        """How the first optimizer's scheduler is stepped."""
        return self.members[0].stepping

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
            self._home = current_notes()  # a task's own from now on
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

    def forget(self) -> None:
        """Drop all references to the optimizers, as `StepCapture.forget`."""
        for member in self.members:
            member.forget()
        self._ensemble = Ensemble(())

    def begin(self, member: Member, here: Notes) -> int:
        """Prepare for a step of `member`; returns the `every` with which it is captured."""
        with self._lock:
            if self.loads.is_loaded:  # whichever optimizer steps first
                torch_patches.quietly("a loaded checkpoint", self.loads.settle)
            if here is not self._home and _pass() != -1:
                self._adopt(here)
            skipped = self._skipped_in(here)
            repeats = self._open is not None and {member.at, skipped} & self._open.stepped.keys()
            if repeats or self._is_first_of_pass(here):
                self.end()
            if self._open is None:
                self._turns = set() if skipped is None else {skipped}
            if here.used and (skipped is not None or self._are_own(here)):
                here.stepping = member.key  # keeps the notes, which an earlier step has used
            if not self._agreed:
                self._agreed = True
                self._agree()
            at = member.round = self._step + (self._open is None)
            if self._updates is not None and self._open is None:
                measures = at % self._updates == 0 == at % self._every
                # all weights, also those of optimizers that will not step in this round
                self._weights = [each.weigh() for each in self.members] if measures else []
            return 1 if at % self._every == 0 else _NEVER

    def add(self, member: Member, here: Notes, kept: Kept | None, own: bool) -> None:
        """Add a step that `member` has made.

        Args:
            here: the notes that the step used.
            kept: its time and metrics; None if the round is not recorded.
            own: whether its loss has changed since the step began, as by a closure.
        """
        with self._lock:
            if self._open is None:
                self._open = Round(stepped=dict.fromkeys(self._turns))
                self._step += 1
                self.made += 1
                if self.made % _MISSED == 0 and self._ensemble.named:
                    for each in self.members:
                        each.look_for_others()
            member.turns.add(self._step, member.step)
            own = own or here.loss is not self._seen[0]
            self._seen = here.loss, here.preclip
            if kept is None or self._step % self._every:
                self._open.stepped[member.at] = None
            else:
                self._open.when = kept[0]
                self._open.add(member.at, kept[1], here.preclip, own)

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

    def _metrics(self, current: Round) -> dict[str, Any]:
        metrics = current.of_first(self._ensemble.first)
        norms = current.norms(measured=self._step % self._norms_every == 0)
        metrics |= norms | current.updates(self._weights)
        self._shares = self._shares or current.shared
        for at, own in current.stepped.items():
            name = self.members[at].name
            metrics |= named(name, own or {}, layers=self._layers)
            if name and at in current.losses and not self._shares:
                metrics[f"loss/{name}"] = current.losses[at][0]
        total, calls = current.loss()
        if calls:
            metrics["loss"] = total
            if calls != 1 or not self.counts.idle:
                self.counts.add(metrics, calls)
        return metrics

    def _are_own(self, here: Notes) -> bool:
        """Whether notes that a step has used are those of this round."""
        is_seen = self._seen[0] is here.loss and self._seen[1] is here.preclip
        return self._open is not None and is_seen

    def _is_first_of_pass(self, here: Notes) -> bool:
        """Whether a step of an optimizer of one parameter is the first after `backward()` began."""
        ensemble = self._ensemble
        return ensemble.by_backward and not here.used and (not ensemble.named or _pass() != -1)

    def _skipped_in(self, here: Notes) -> int | None:
        """The place of an optimizer whose step a scaler has skipped: it has had its turn."""
        key, loss = here.attempted or (0, None)
        skipped = here.used and loss is not None and loss is here.loss and loss is not self._seen[0]
        return self._places.get(key) if skipped else None

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
            own, member.step = member.step, self._step
            member.agree()
            self._step, member.step = member.step, own

    def _container_begins(self, *_: Any) -> None:
        if not is_dynamo_compiling() and not current_notes().away:
            torch_patches.quietly("a round", self.end)

    def _plateau(self, name: str, value: float) -> None:
        several = sum(member.has_plateau for member in self.members) > 1
        self._on_plateau(name if several else "", value)
