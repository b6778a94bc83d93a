"""Diagnoses of a run: statistics while it runs, observations and messages at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import StepCapture
from lrtrack.errors import JournalError, warn
from lrtrack.journal import history_table
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
from lrtrack.tracking.resume import ResumedRun


class LiveDiagnoses:
    """Collects the statistics that one run's diagnoses need, and makes the diagnoses at its end.

    Attributes:
        journal: the run's journal, once it is open.
        is_rewound: whether records that were counted are abandoned by now.

    Args:
        run: the run.
        capture: counts its steps.
        loss_wanted: whether losses are captured.
        resumed: the run as its block found it.
    """

    def __init__(self, run: Run, capture: Capture, loss_wanted: bool, resumed: ResumedRun) -> None:
        self.journal: Path | None = None
        self.is_rewound = False
        self._run = run
        self._capture = capture
        self._loss_wanted = loss_wanted
        self._resumed = resumed
        self._figures = RunningStatistics(run.schedule, run.prefix)
        self._parts: dict[str, tuple[Schedule, RunningStatistics]] = {}
        own = None if resumed.course is None or resumed.is_branch else resumed.course.table
        self._start(own)

    def _start(self, table: pa.Table | None) -> None:
        """Begin with the records of a table."""
        self._figures = RunningStatistics(self._run.schedule, self._run.prefix)
        self._parts = {}
        if isinstance(self._capture, Rounds):
            schedules = parts_of(self._run.schedule)
            for member in self._capture.members:
                if member.name:
                    schedule = schedules.get(member.name, Schedule(CONSTANT))
                    self._parts[member.name] = schedule, RunningStatistics(schedule)
        if table is not None and table.num_rows:
            arrays = history_table.arrays(table)
            metrics, present = arrays["metrics"], arrays["present"]
            self.add(arrays["steps"], {n: (metrics[n], present[n]) for n in metrics})

    @property
    def is_complete(self) -> bool:
        """Whether this block's own records are all that the run has."""
        return not self.is_rewound and self._resumed.course is None

    def add(self, steps: Any, metrics: Any) -> None:
        """Add rows that are about to be written to the journal."""
        self._figures.add(steps, metrics)
        for name, (_, figures) in self._parts.items():
            figures.add(steps, columns_of_part(metrics, self._run.prefix, name))

    def at_end(
        self, state: State, mismatches: Mapping[str, RateMismatch] | None = None
    ) -> tuple[Diagnosis, ...]:
        """Diagnose the run, after the hooks were removed and all rows were added.

        Args:
            state: how the run ended.
            mismatches: learning rates that a scheduler has not set, by optimizer.
        """
        jumps, mismatches = self._jumps_at_continuations(), mismatches or {}
        captures, parts = by_name(self._capture), {}
        for name in self._parts:
            evidence = self._evidence(captures[name], jumps.get(name, ()), mismatches.get(name))
            parts[name] = (*self._parts[name], evidence)
        if isinstance(self._capture, Rounds):
            whole = Observations(
                steps=self._capture.made,
                total=self._capture.step + 1,
                skipped=max(member.skipped for member in self._capture.members),
                by_hand=self._capture.by_hand > 0,
                unobserved=_unobserved(self._capture.members[0]),
                loss_wanted=self._loss_wanted,
                world_size=self._run.world_size,
                jumps=jumps.get("", ()),
                mismatch=mismatches.get(""),
            )
        else:
            whole = self._evidence(self._capture, jumps.get("", ()), mismatches.get(""))
        return diagnose(self._run, self._figures, state, whole, parts)

    def _jumps_at_continuations(self) -> dict[str, tuple[RateJump, ...]]:
        """Jumps of the rate; after returns, the statistics are made again without lost records."""
        if self.journal is None or not (self.is_rewound or self._resumed.course is not None):
            return {}
        try:
            course = JournalReader(self.journal).course()
        except (JournalError, OSError):  # then the diagnoses are those of all records
            return {}
        if self.is_rewound:
            self._start(course.table)
        return self._jumps(course)

    def _jumps(self, course: Course) -> dict[str, tuple[RateJump, ...]]:
        """Jumps of each learning rate where the run, or its parent, was continued."""
        table, breaks = course.table, course.breaks
        if self._resumed.is_branch and self._resumed.course is not None and table.num_rows:
            first = int(table["step"][0].as_py())
            earlier = list(before(self._resumed.course.table.to_batches(), first))
            table, breaks = merge([*earlier, *table.to_batches()]), (first, *breaks)
        jumps = {}
        for name, capture in by_name(self._capture).items():
            column = column_of(self._run.prefix, name)
            if column in table.column_names:
                records = table.filter(table[column].is_valid())
                steps, rates = records["step"].to_numpy(), records[column].to_numpy()
                counts = scheduler_counts(capture, steps)
                jumps[name] = rate_jumps(steps, rates, breaks, counts)
        return jumps

    def _evidence(
        self, capture: StepCapture, jumps: tuple[RateJump, ...], mismatch: RateMismatch | None
    ) -> Observations:
        if by_hand := self._capture.by_hand:  # then no hook has seen scheduler or gradients
            return Observations(
                steps=by_hand,
                total=self._capture.step + 1,
                by_hand=True,
                loss_wanted=self._loss_wanted,
                world_size=self._run.world_size,
                jumps=jumps,
            )
        stepping = capture.stepping
        repeats = {steps: count for steps, count in stepping.jumps.items() if steps > 1}
        return Observations(
            steps=capture.made,
            total=capture.made if capture is not self._capture else capture.step + 1,
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
            unobserved=_unobserved(capture),
            loss_wanted=self._loss_wanted,
            taken=capture.taken,
            world_size=self._run.world_size,
            jumps=jumps,
            mismatch=mismatch,
        )


def _unobserved(capture: StepCapture) -> Unobserved:
    unseen, stepping = capture.unseen, capture.stepping
    begun, position = stepping.begun, stepping.position
    return Unobserved(
        optimizer=" and ".join(unseen.names),
        others=dict(unseen.steps),
        optimizers=len(unseen.optimizers),
        in_backward=unseen.in_backward,
        compiled=unseen.compiled,
        engine=unseen.engine(),
        shares=unseen.shares,
        backward_calls=unseen.backward_calls,
        scheduler_steps=0 if begun is None or position is None else max(position - begun, 0),
    )


def print_diagnoses(diagnoses: Sequence[Diagnosis]) -> None:
    """Warn once per diagnosis, so that Python's warning filters can switch them off."""
    for diagnosis in diagnoses:
        prefix = f" ({diagnosis['prefix']})" if "prefix" in diagnosis else ""
        hint = diagnosis["hint"]
        warn(f"{diagnosis['code']}{prefix}: {diagnosis['message']} Fix: {hint}.")
