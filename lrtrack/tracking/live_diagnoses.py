"""Diagnoses of a run: statistics and observations, and what they show now or at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack.capture.given_rates import given_rate
from lrtrack.capture.member import Member
from lrtrack.capture.observations import Stepping
from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import StepCapture
from lrtrack.capture.unseen import Unseen
from lrtrack.errors import JournalError
from lrtrack.journal import history_table
from lrtrack.journal.arrow_arrays import numbers_of
from lrtrack.journal.course import Course, before, merge
from lrtrack.journal.rate_column import column_of
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, State
from lrtrack.schedules import CONSTANT, Schedule, parts_of
from lrtrack.stats.diagnose import (
    Diagnosis,
    Observations,
    RunningStatistics,
    Unobserved,
    columns_of_part,
    diagnose,
)
from lrtrack.stats.diagnose.rate_jumps import RateJump, rate_jumps
from lrtrack.stats.diagnose.rate_source import RateMismatch
from lrtrack.tracking.captures import Capture, by_name, scheduler_counts
from lrtrack.tracking.hidden_steps import HiddenSteps
from lrtrack.tracking.resume import ResumedRun

#: Steps after a continuation before which a jump of the rate there may be as large as others.
_AFTER = 100


class LiveDiagnoses:
    """Collects the statistics that one run's diagnoses need, and makes the diagnoses.

    Attributes:
        run: the run.
        capture: counts its steps.
        journal: the run's journal, once it is open.
        is_rewound: whether records that were counted are abandoned by now.

    Args:
        run, capture: see above.
        loss_wanted: whether losses are captured.
        resumed: the run as its block found it.
    """

    def __init__(self, run: Run, capture: Capture, loss_wanted: bool, resumed: ResumedRun) -> None:
        self.journal: Path | None = None
        self.is_rewound = False
        self.run = run
        self.capture = capture
        self._loss_wanted = loss_wanted
        self._resumed = resumed
        self._hidden = HiddenSteps(run.prefix, capture)
        self._figures = RunningStatistics(run.schedule, run.prefix)
        self._parts: dict[str, tuple[Schedule, RunningStatistics]] = {}
        self._is_stale = False
        self._jumps_so_far: dict[str, tuple[RateJump, ...]] = {}
        self._jumps_due = None if resumed.course is None else resumed.last_step + _AFTER
        self._given_rates = {
            id(member): given_rate(member.optimizer) for member in by_name(capture).values()
        }
        own = None if resumed.course is None or resumed.is_branch else resumed.course.table
        self._start(own)

    def _start(self, table: pa.Table | None) -> None:
        """Begin with the records of a table."""
        self._figures = RunningStatistics(self.run.schedule, self.run.prefix)
        self._parts = {}
        if isinstance(self.capture, Rounds):
            schedules = parts_of(self.run.schedule)
            for member in self.capture.members:
                if member.name:
                    schedule = schedules.get(member.name, Schedule(CONSTANT))
                    self._parts[member.name] = schedule, RunningStatistics(schedule)
        if table is not None and table.num_rows:
            arrays = history_table.arrays(table)
            metrics, present = arrays["metrics"], arrays["present"]
            columns = {name: (metrics[name], present[name]) for name in metrics}
            self.add(arrays["steps"], columns, arrays["times"])

    @property
    def is_complete(self) -> bool:
        """Whether this block's own records are all that the run has."""
        return not self.is_rewound and self._resumed.course is None

    @property
    def part_names(self) -> tuple[str, ...]:
        """The names of several optimizers, with which messages about one of them begin."""
        return tuple(self._parts)

    def note_return(self, step: int) -> None:
        """Note that the training goes on at an earlier step, with the number `step`."""
        self.is_rewound = self._is_stale = True
        self._jumps_due = step + _AFTER

    def replace_schedule(self, schedule: Schedule) -> None:
        """Take over the description of a run whose scheduler was replaced."""
        self.run = replace(self.run, schedule=schedule)

    def add(self, steps: Any, metrics: Any, times: Any) -> None:
        """Add rows that are about to be written to the journal."""
        self._figures.add(steps, metrics, times)
        for name, (_, figures) in self._parts.items():
            figures.add(steps, columns_of_part(metrics, self.run.prefix, name), times)

    def at_end(
        self, state: State, mismatches: Mapping[str, RateMismatch] | None = None
    ) -> tuple[Diagnosis, ...]:
        """Diagnose the run, after the hooks were removed and all rows were added.

        Args:
            state: how the run ended.
            mismatches: learning rates that a scheduler has not set, by optimizer.
        """
        self._hidden.look()
        return self._diagnose(state, self._jumps_at_continuations(), mismatches or {})

    def while_running(self, mismatches: Mapping[str, RateMismatch]) -> tuple[Diagnosis, ...]:
        """What is certain by now; called by the journal's thread, with all rows in the file.

        Args:
            mismatches: learning rates that a scheduler has not set, by optimizer.
        """
        if self._is_stale:
            self._is_stale = False
            self._jumps_so_far = {}
            self._start(self._course().table)
        if self._jumps_due is not None and self.capture.step >= self._jumps_due:
            self._jumps_due = None
            self._jumps_so_far = self._jumps(self._course())
        shown = self._diagnose(State.RUNNING, self._jumps_so_far, mismatches)
        return (*shown, *self._hidden.look())

    def _diagnose(
        self,
        state: State,
        jumps: Mapping[str, tuple[RateJump, ...]],
        mismatches: Mapping[str, RateMismatch],
    ) -> tuple[Diagnosis, ...]:
        captures, parts = by_name(self.capture), {}
        for name in self._parts:
            own = captures[name]
            evidence = self._evidence(own, jumps.get(name, ()), mismatches.get(name))
            if isinstance(own, Member):
                evidence = replace(
                    evidence, unobserved=self._unobserved([own], own.replaced, own.stepping)
                )
            parts[name] = (*self._parts[name], evidence)
        if isinstance(self.capture, Rounds):
            whole = Observations(
                steps=self.capture.made,
                total=self.capture.step + 1,
                skipped=max(member.skipped for member in self.capture.members),
                by_hand=self.capture.by_hand > 0,
                unobserved=self._unobserved(
                    self.capture.members, self.capture.members[0].unseen, self.capture.stepping
                ),
                loss_wanted=self._loss_wanted,
                world_size=self.run.world_size,
                jumps=jumps.get("", ()),
                mismatch=mismatches.get(""),
            )
        else:
            whole = self._evidence(self.capture, jumps.get("", ()), mismatches.get(""))
        return diagnose(self.run, self._figures, state, whole, parts)

    def _jumps_at_continuations(self) -> dict[str, tuple[RateJump, ...]]:
        """Jumps of the rate; after returns, the statistics are made again without lost records."""
        if self.journal is None or not (self.is_rewound or self._resumed.course is not None):
            return {}
        try:
            course = self._course()
        except (JournalError, OSError):  # then the diagnoses are those of all records
            return {}
        if self.is_rewound:
            self._start(course.table)
        return self._jumps(course)

    def _course(self) -> Course:
        assert self.journal is not None  # without a journal, nothing is recorded
        return JournalReader(self.journal).course()

    def _jumps(self, course: Course) -> dict[str, tuple[RateJump, ...]]:
        """Jumps of each learning rate where the run, or its parent, was continued."""
        table, breaks = course.table, course.breaks
        if self._resumed.is_branch and self._resumed.course is not None and table.num_rows:
            first = int(table["step"][0].as_py())
            earlier = list(before(self._resumed.course.table.to_batches(), first))
            table, breaks = merge([*earlier, *table.to_batches()]), (first, *breaks)
        jumps = {}
        for name, capture in by_name(self.capture).items():
            column = column_of(self.run.prefix, name)
            if column in table.column_names:
                records = table.filter(table[column].is_valid())
                steps, rates = numbers_of(records["step"]), numbers_of(records[column])
                counts = scheduler_counts(capture, steps)
                jumps[name] = rate_jumps(steps, rates, breaks, counts)
        return jumps

    def _unobserved(
        self, captures: Sequence[StepCapture], unseen: Unseen, stepping: Stepping
    ) -> Unobserved:
        """What happened without steps of some optimizers, which share what is noted of others."""
        begun, position = stepping.begun, stepping.position
        return replace(
            self._hidden.evidence(captures),
            others=dict(unseen.steps),
            optimizers=len(unseen.optimizers),
            in_backward=unseen.in_backward,
            engine=unseen.engine(),
            shares=unseen.shares,
            backward_calls=unseen.backward_calls,
            scheduler_steps=0 if begun is None or position is None else max(position - begun, 0),
        )

    def _evidence(
        self, capture: StepCapture, jumps: tuple[RateJump, ...], mismatch: RateMismatch | None
    ) -> Observations:
        if by_hand := self.capture.by_hand:  # then no hook has seen scheduler or gradients
            return Observations(
                steps=by_hand,
                total=self.capture.step + 1,
                by_hand=True,
                loss_wanted=self._loss_wanted,
                world_size=self.run.world_size,
                jumps=jumps,
            )
        stepping = capture.stepping
        repeats = {steps: count for steps, count in stepping.jumps.items() if steps > 1}
        return Observations(
            steps=capture.made,
            total=capture.made if capture is not self.capture else capture.step + 1,
            begun=stepping.begun,
            position=stepping.position,
            used=stepping.at or 0,
            moves=stepping.moves,
            repeated=sum(repeats.values()),
            factor=max(repeats, key=lambda steps: repeats[steps], default=1),
            rested=capture.made - stepping.moved_at,
            early=0 if stepping.begun else stepping.early,
            skipped=capture.skipped,
            unreached=tuple(capture.unreached.names()),
            unobserved=self._unobserved([capture], capture.unseen, stepping),
            loss_wanted=self._loss_wanted,
            taken=capture.taken,
            world_size=self.run.world_size,
            jumps=jumps,
            mismatch=mismatch,
            given_rate=self._given_rates.get(id(capture)),
        )
