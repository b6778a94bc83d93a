"""Diagnoses of a run: statistics while it runs, observations and messages at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lrtrack.capture.step_capture import StepCapture
from lrtrack.errors import JournalError, warn
from lrtrack.journal import history_table
from lrtrack.journal.course import Course, before, merge
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, State
from lrtrack.stats.diagnose import Diagnosis, Observations, RunningStatistics, diagnose
from lrtrack.stats.diagnose.rate_jumps import RateJump, rate_jumps
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

    def __init__(
        self, run: Run, capture: StepCapture, loss_wanted: bool, resumed: ResumedRun
    ) -> None:
        self.journal: Path | None = None
        self.is_rewound = False
        self._run = run
        self._capture = capture
        self._loss_wanted = loss_wanted
        self._resumed = resumed
        own = None if resumed.course is None or resumed.is_branch else resumed.course.table
        self._figures = self._figures_of(own)

    def add(self, steps: Any, metrics: Any) -> None:
        """Add rows that are about to be written to the journal."""
        self._figures.add(steps, metrics)

    def at_end(self, state: State) -> tuple[Diagnosis, ...]:
        """Diagnose the run, after the hooks were removed and all rows were added."""
        jumps: tuple[RateJump, ...] = ()
        if self.journal and (self.is_rewound or self._resumed.course is not None):
            try:
                course = JournalReader(self.journal).course()
                if self.is_rewound:
                    self._figures = self._figures_of(course.table)
                jumps = self._jumps(course)
            except (JournalError, OSError):  # then the diagnoses are those of all records
                pass
        return diagnose(self._run, self._figures, state, self._evidence(jumps))

    def _figures_of(self, table: pa.Table | None) -> RunningStatistics:
        figures = RunningStatistics(self._run.schedule, self._run.prefix)
        if table is not None and table.num_rows:
            arrays = history_table.arrays(table)
            metrics, present = arrays["metrics"], arrays["present"]
            figures.add(arrays["steps"], {n: (metrics[n], present[n]) for n in metrics})
        return figures

    def _jumps(self, course: Course) -> tuple[RateJump, ...]:
        """Jumps of the learning rate where the run, or its parent, was continued."""
        table, breaks = course.table, course.breaks
        if self._resumed.is_branch and self._resumed.course is not None and table.num_rows:
            first = int(table["step"][0].as_py())
            earlier = list(before(self._resumed.course.table.to_batches(), first))
            table, breaks = merge([*earlier, *table.to_batches()]), (first, *breaks)
        name = f"{self._run.prefix}lr"
        if name not in table.column_names:
            return ()
        rates = table.filter(table[name].is_valid())
        return rate_jumps(rates["step"].to_numpy(), rates[name].to_numpy(), breaks)

    def _evidence(self, jumps: tuple[RateJump, ...]) -> Observations:
        capture, stepping = self._capture, self._capture.stepping
        repeats = {steps: count for steps, count in stepping.jumps.items() if steps > 1}
        return Observations(
            steps=capture.made,
            total=capture.step + 1,
            begun=stepping.begun,
            position=stepping.position,
            used=stepping.at or 0,
            moves=stepping.moves,
            repeated=sum(repeats.values()),
            factor=max(repeats, key=lambda steps: repeats[steps], default=1),
            rested=capture.made - stepping.moved_at,
            early=0 if stepping.begun else stepping.early,
            unreached=tuple(capture.unreached.names()),
            loss_wanted=self._loss_wanted,
            world_size=self._run.world_size,
            jumps=jumps,
        )


def print_diagnoses(diagnoses: Sequence[Diagnosis]) -> None:
    """Warn once per diagnosis, so that Python's warning filters can switch them off."""
    for diagnosis in diagnoses:
        prefix = f" ({diagnosis['prefix']})" if "prefix" in diagnosis else ""
        hint = diagnosis["hint"]
        warn(f"{diagnosis['code']}{prefix}: {diagnosis['message']} Fix: {hint}.")
