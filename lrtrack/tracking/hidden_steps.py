"""Finds out, while a training runs, that its steps run without hooks."""

from __future__ import annotations

from collections.abc import Sequence

from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import StepCapture
from lrtrack.stats.diagnose import Diagnosis, Unobserved
from lrtrack.stats.diagnose.nothing_seen import hidden_now
from lrtrack.tracking.captures import Capture

#: So many steps without hooks in a row, and none that the user records, are no first one.
_SEVERAL = 2


class HiddenSteps:
    """Watches the captures of one run.

    Compiled code leaves a mark at each step, which `look` takes away. So a mark that is there again
    is another step.

    Args:
        prefix: the run's.
        capture: the run's.
    """

    def __init__(self, prefix: str, capture: Capture) -> None:
        self._prefix = prefix
        self._capture = capture
        self._made: dict[int, int] = {}
        self._marks: dict[int, int] = {}

    def look(self) -> tuple[Diagnosis, ...]:
        """Look for marks; what they show, if there are steps that nobody records."""
        found = []
        several = isinstance(self._capture, Rounds)
        members = self._capture.members if isinstance(self._capture, Rounds) else [self._capture]
        for member in members:
            key = id(member)
            if self._made.get(key) != member.made:  # ordinary steps are seen, too
                self._made[key], self._marks[key] = member.made, 0
            self._marks[key] += member.hidden.look()
            if self._count(member) >= _SEVERAL and not self._capture.by_hand:
                diagnosis = dict(hidden_now(self.evidence([member]), member.made))
                name = getattr(member, "name", "") if several else ""
                if name:
                    diagnosis["message"] = f"{name}: {diagnosis['message']}"
                if self._prefix:
                    diagnosis["prefix"] = self._prefix
                found.append(diagnosis)
        return tuple(found)

    def evidence(self, captures: Sequence[StepCapture]) -> Unobserved:
        """What is known of hidden steps of some of the optimizers."""
        names = dict.fromkeys(name for capture in captures for name in capture.unseen.names)
        return Unobserved(
            optimizer=" and ".join(names),
            compiled=any(capture.hidden.was_compiled for capture in captures),
            captured=any(capture.hidden.captured for capture in captures),
            hidden=max(map(self._count, captures)),
        )

    def _count(self, capture: StepCapture) -> int:
        """Hidden steps since the last one that was seen, as far as they were noticed."""
        marks = self._marks.get(id(capture), 0)
        return marks + capture.hidden.replays_after(capture.made)
