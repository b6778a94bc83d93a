"""Reports the diagnoses of a run: each one once, when it is first certain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from lrtrack.errors import clean, warn
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import State
from lrtrack.stats.diagnose import Diagnosis
from lrtrack.tracking.live_diagnoses import LiveDiagnoses
from lrtrack.tracking.live_schedule import LiveSchedule
from lrtrack.tracking.reactions import Reactions

#: Seconds between two examinations of a training that goes on.
PERIOD = 0.25
#: They share the processor with the training, so they take at most this part of the time, unless
#: that would keep a diagnosis back for longer than `_LONGEST` seconds; and never more than `_MOST`.
_SHARE, _LONGEST, _MOST = 0.005, 3.0, 0.02

#: Which diagnosis it is, whatever its figures: its code, and the optimizer that it is about.
_Key = tuple[str, str]


class LiveReports:
    """Reports the diagnoses of one run while it goes on, and the rest at its end.

    Args:
        diagnoses: makes the diagnoses.
        schedule: knows which rates the schedulers have not set.
        reactions: what the user wants to happen after a diagnosis.
        clock: returns seconds.
    """

    def __init__(
        self,
        diagnoses: LiveDiagnoses,
        schedule: LiveSchedule,
        reactions: Reactions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = diagnoses.run
        self._capture = diagnoses.capture
        self._diagnoses = diagnoses
        self._schedule = schedule
        self._reactions = reactions
        self._clock = clock
        self._known: dict[_Key, Diagnosis] = {}
        self._due = clock() + PERIOD
        self._has_failed = self._has_ended = False
        self._lock = threading.Lock()

    @property
    def known(self) -> tuple[Diagnosis, ...]:
        """The diagnoses so far."""
        return tuple(dict(diagnosis) for diagnosis in self._known.copy().values())

    def tick(self, journal: JournalWriter) -> None:
        """Report what has become certain; called by the journal's thread."""
        began = self._clock()
        if began < self._due or self._has_failed:
            return
        try:
            with self._lock:
                if not self._has_ended:
                    self._examine(journal)
        except Exception as error:  # the rules are applied again at the end
            self._has_failed = True
            warn(f"lrtrack cannot diagnose the run while it goes on: {error!r}.")
        ended = self._clock()
        took = ended - began
        self._due = ended + max(PERIOD, min(took / _SHARE, _LONGEST), took / _MOST)

    def at_end(self, state: State) -> tuple[Diagnosis, ...]:
        """All diagnoses, after those that have not been reported yet were.

        Args:
            state: how the run ends.
        """
        with self._lock:
            self._has_ended = True
            mismatches = self._schedule.mismatches(self._capture)
            final = self._diagnoses.at_end(state, mismatches)
            new = [one for one in final if self._key(one) not in self._known]
            self._known = {self._key(diagnosis): diagnosis for diagnosis in final}
        print_diagnoses(self._run.name, new)
        self._reactions.at_end(new)
        return final

    def _examine(self, journal: JournalWriter) -> None:
        certain = self._diagnoses.while_running(self._schedule.mismatches_so_far(self._capture))
        new = [one for one in certain if self._key(one) not in self._known]
        if not new:
            return
        known = self._known | {self._key(diagnosis): diagnosis for diagnosis in new}
        journal.event("diagnoses", diagnoses=_sorted(known.values()))
        self._known = known
        print_diagnoses(self._run.name, new)
        self._reactions.note(new, self._capture.step)

    def _key(self, diagnosis: Diagnosis) -> _Key:
        message, names = diagnosis["message"], self._diagnoses.part_names
        return diagnosis["code"], next((n for n in names if message.startswith(f"{n}: ")), "")


def _sorted(diagnoses: Iterable[Diagnosis]) -> list[Diagnosis]:
    return sorted(diagnoses, key=lambda diagnosis: diagnosis["code"])


def print_diagnoses(name: str, diagnoses: Sequence[Diagnosis]) -> None:
    """Warn once per diagnosis, so that Python's warning filters can switch them off.

    Args:
        name: the run's.
        diagnoses: what to report.
    """
    for diagnosis in diagnoses:
        prefix = f" ({diagnosis['prefix']})" if "prefix" in diagnosis else ""
        message, hint = diagnosis["message"], diagnosis["hint"]
        warn(f"{diagnosis['code']} in run {clean(name)}{prefix}: {message} Fix: {hint}.")
