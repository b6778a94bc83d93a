"""Diagnoses of a run: statistics while it runs, observations and messages at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lrtrack.capture.step_capture import StepCapture
from lrtrack.errors import warn
from lrtrack.journal import history_table
from lrtrack.records import Run, State
from lrtrack.stats.diagnose import Diagnosis, Observations, RunningStatistics, diagnose


class LiveDiagnoses:
    """Collects the statistics that one run's diagnoses need, and makes the diagnoses at its end.

    Args:
        run: the run.
        capture: counts its steps.
        loss_wanted: whether losses are captured.
        earlier: the records so far of a run that is resumed.
    """

    def __init__(
        self, run: Run, capture: StepCapture, loss_wanted: bool, earlier: pa.Table | None
    ) -> None:
        self._run = run
        self._capture = capture
        self._loss_wanted = loss_wanted
        self._figures = RunningStatistics(run.schedule, run.prefix)
        if earlier is not None and earlier.num_rows:
            arrays = history_table.arrays(earlier)
            metrics, present = arrays["metrics"], arrays["present"]
            self._figures.add(arrays["steps"], {n: (metrics[n], present[n]) for n in metrics})

    def add(self, steps: Any, metrics: Any) -> None:
        """Add rows that are about to be written to the journal."""
        self._figures.add(steps, metrics)

    def at_end(self, state: State) -> tuple[Diagnosis, ...]:
        """Diagnose the run, after the hooks were removed and all rows were added."""
        return diagnose(self._run, self._figures, state, self._evidence())

    def _evidence(self) -> Observations:
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
        )


def print_diagnoses(diagnoses: Sequence[Diagnosis]) -> None:
    """Warn once per diagnosis, so that Python's warning filters can switch them off."""
    for diagnosis in diagnoses:
        prefix = f" ({diagnosis['prefix']})" if "prefix" in diagnosis else ""
        hint = diagnosis["hint"]
        warn(f"{diagnosis['code']}{prefix}: {diagnosis['message']} Fix: {hint}.")
