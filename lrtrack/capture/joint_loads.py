"""To which round a training of several optimizers returns when the user loads a checkpoint.

Each optimizer's own `Loads` finds its position, counted in its own steps: a critic makes several
while the generator makes one. The training returns if all of its optimizers were loaded and none
of those that tell is further than before. A checkpoint is taken between two rounds, so the next
round follows the last step of the optimizer that has stepped last. One optimizer that is put back
alone, as a critic that is trained anew, does not take the training back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lrtrack.capture.loads import Loads, OnReturn
from lrtrack.capture.pace import Pace, segments_from

#: A round that precedes no step, so that the next step's round is noted.
_NONE = -2


class Turns:
    """In which rounds one optimizer has stepped.

    Args:
        pace: the optimizer's own count of its steps, from 0, at each round.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self._latest = _NONE

    def add(self, turn: int, step: int) -> None:
        """Note that the optimizer's step `step` was in the round `turn`."""
        if turn != self._latest + 1:
            self.pace.rest(self._latest)
            self.pace.move(turn, step)
        self._latest = turn

    def after(self, position: int) -> int | None:
        """The round after the optimizer's step before `position`; None if it is unknown."""
        self.pace.rest(self._latest)
        turn = -1 if position < 1 else self.pace.step_of(position - 1)
        return None if turn is None else turn + 1

    def steps_before(self, turn: int) -> int:
        """The number of the optimizer's steps before a round."""
        self.pace.rest(self._latest)
        return int(self.pace.counts(np.array([turn - 1]))[0]) + 1

    def return_to(self, turn: int) -> None:
        """Forget the rounds from `turn` on."""
        self.pace.rest(self._latest)
        self.pace.cut(turn)
        self._latest = _NONE

    def stored(self) -> list[list[int]]:
        """The latest rounds, for a journal."""
        self.pace.rest(self._latest)
        return self.pace.stored()


class Loading(Protocol):
    """What is needed of a member."""

    step: int
    loads: Loads
    turns: Turns


class Counting(Protocol):
    """What is needed of the rounds: the last one. Setting it ends the round that is under way."""

    step: int


class JointLoads:
    """Observes the loads of several optimizers and their schedulers; used like `Loads`.

    Attributes:
        is_loaded: whether something was loaded since the last step.
        on_return: see `OnReturn`; its steps are rounds.

    Args:
        rounds: counts the rounds.
        members: the optimizers.
    """

    def __init__(self, rounds: Counting, members: Sequence[Loading]) -> None:
        self.is_loaded = False
        self.on_return: OnReturn = lambda step, last, named: None
        self._rounds = rounds
        self._members = members
        self._named = False
        self._last = -1  # the last round before the loads
        reconsider: Callable[[], None] = self._reconsider
        for member in members:
            member.loads.on_load = reconsider

    def restore(self, stored: Mapping[str, Any], last: int, *, same: bool) -> None:
        """Take over what an earlier process has stored of the same run, as `Loads.restore`.

        Without it, each optimizer counts as having stepped in each round.
        """
        entries = stored.get("members")
        entries = entries if isinstance(entries, list) else []
        for at, member in enumerate(self._members):
            entry = entries[at] if at < len(entries) else None
            entry = entry if isinstance(entry, Mapping) else {}
            every_round = [[0, 0, min(last, 1), last]] if last >= 0 else []
            member.turns = Turns(Pace(segments_from(entry.get("turns")) or every_round))
            member.turns.pace.extend(last)
            member.step = member.turns.steps_before(last + 1) - 1
            member.loads.restore(entry, member.step, same=same)

    def stored(self) -> dict[str, Any]:
        """What a later process needs in order to continue, for the journal."""
        return {"members": [{**m.loads.stored(), "turns": m.turns.stored()} for m in self._members]}

    def enter(self, last: int) -> None:
        """Look at what was loaded before a resumed run's block.

        Args:
            last: the last recorded round of the run; -1 if its records are elsewhere.
        """
        positions = [member.loads.found() for member in self._members]
        known = [(m, p) for m, p in zip(self._members, positions, strict=True) if p is not None]
        if not known:
            return
        if last < 0:
            last = max(position for _, position in known)
            target: int | None = last
        else:
            target = _target(known, last)
        if target is None:
            return
        self._last, self.is_loaded = last, True
        for member, position in known:
            member.loads.accept(position, member.step)
        self._rounds.step = target - 1

    def go_to(self, step: int) -> None:
        """Continue after the round `step`, which the user names."""
        self._begin()
        self._named = True
        self._rounds.step = step

    def settle(self) -> None:
        """Begin the step after a load."""
        turn, last, named = self._rounds.step + 1, self._last, self._named
        self.is_loaded = self._named = False
        for member in self._members:
            if turn <= last:
                member.step = member.turns.steps_before(turn) - 1
                member.turns.return_to(turn)
            elif member.loads.is_loaded:  # put back alone
                member.step = member.loads.last
            if member.loads.is_loaded:
                member.loads.settle()
        self.on_return(turn, last, named)

    def _begin(self) -> None:
        if not self.is_loaded:
            self._last = self._rounds.step
            self.is_loaded = True

    def _reconsider(self) -> None:
        self._begin()
        if self._named:
            return
        target = None
        if all(member.loads.is_loaded for member in self._members):
            positions = [(member, member.loads.position) for member in self._members]
            known = [(member, position) for member, position in positions if position is not None]
            target = _target(known, self._last)
        step = self._last if target is None else target - 1
        if step != self._rounds.step:
            self._rounds.step = step


def _target(known: Sequence[tuple[Loading, int]], last: int) -> int | None:
    """The round with which loaded states continue; None if they are not of an earlier one.

    Args:
        known: optimizers, each with its own step that follows its state.
        last: the last round.
    """
    turns: list[int] = []
    for member, position in known:
        before = member.loads.last if member.loads.is_loaded else member.step
        turn = member.turns.after(position) if position <= before + 1 else None
        if turn is None:
            return None
        turns.append(turn)
    target = max(turns, default=last + 1)
    return target if target <= last else None
