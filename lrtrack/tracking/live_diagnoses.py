"""Diagnoses of a run: statistics while it runs, observations and messages at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import StepCapture
from lrtrack.capture.unseen import Unseen
from lrtrack.errors import warn
from lrtrack.journal import history_table
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
from lrtrack.tracking.captures import Capture


class LiveDiagnoses:
    """Collects the statistics that one run's diagnoses need, and makes the diagnoses at its end.

    Args:
        run: the run.
        capture: counts its steps.
        loss_wanted: whether losses are captured.
        earlier: the records so far of a run that is resumed.
    """

    def __init__(
        self, run: Run, capture: Capture, loss_wanted: bool, earlier: pa.Table | None
    ) -> None:
        self._run = run
        self._capture = capture
        self._loss_wanted = loss_wanted
        self._figures = RunningStatistics(run.schedule, run.prefix)
        self._parts: dict[str, tuple[Schedule, RunningStatistics]] = {}
        self._add_parts()
        if earlier is not None and earlier.num_rows:
            arrays = history_table.arrays(earlier)
            metrics, present = arrays["metrics"], arrays["present"]
            self.add(arrays["steps"], {n: (metrics[n], present[n]) for n in metrics})

    def _add_parts(self) -> None:
        if not isinstance(self._capture, Rounds):
            return
        schedules = parts_of(self._run.schedule)
        for member in self._capture.members:
            if member.name:
                schedule = schedules.get(member.name, Schedule(CONSTANT))
                self._parts[member.name] = schedule, RunningStatistics(schedule)

    def add(self, steps: Any, metrics: Any) -> None:
        """Add rows that are about to be written to the journal."""
        self._figures.add(steps, metrics)
        for name, (_, figures) in self._parts.items():
            figures.add(steps, columns_of_part(metrics, self._run.prefix, name))

    def at_end(self, state: State) -> tuple[Diagnosis, ...]:
        """Diagnose the run, after the hooks were removed and all rows were added."""
        capture, parts = self._capture, {}
        if isinstance(capture, Rounds):
            for member in capture.members:
                if member.name in self._parts:
                    parts[member.name] = (*self._parts[member.name], self._evidence(member))
            whole = Observations(
                steps=capture.made,
                total=capture.step + 1,
                unobserved=_unobserved(capture.members[0].unseen),
                loss_wanted=self._loss_wanted,
                world_size=self._run.world_size,
            )
        else:
            whole = self._evidence(capture)
        return diagnose(self._run, self._figures, state, whole, parts)

    def _evidence(self, capture: StepCapture) -> Observations:
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
            unreached=tuple(capture.unreached.names()),
            unobserved=_unobserved(capture.unseen),
            loss_wanted=self._loss_wanted,
            taken=capture.taken,
            world_size=self._run.world_size,
        )


def _unobserved(unseen: Unseen) -> Unobserved:
    return Unobserved(
        optimizer=" and ".join(unseen.names),
        others=dict(unseen.steps),
        optimizers=len(unseen.optimizers),
        in_backward=unseen.in_backward,
        compiled=unseen.compiled,
        engine=unseen.engine(),
    )


def print_diagnoses(diagnoses: Sequence[Diagnosis]) -> None:
    """Warn once per diagnosis, so that Python's warning filters can switch them off."""
    for diagnosis in diagnoses:
        prefix = f" ({diagnosis['prefix']})" if "prefix" in diagnosis else ""
        hint = diagnosis["hint"]
        warn(f"{diagnosis['code']}{prefix}: {diagnosis['message']} Fix: {hint}.")
