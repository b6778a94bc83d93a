"""Diagnosing a block: figures while it runs, evidence at its end, one line each for the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from lrtrack.capture.step_capture import StepCapture
from lrtrack.errors import warn
from lrtrack.journal import history_table
from lrtrack.records import Run, State
from lrtrack.stats.diagnose import Diagnosis, Observations, RunningStatistics, diagnose


class Diagnosing:
    """What is to be told of one block at its end.

    Args:
        run: the run that the block writes.
        capture: its eyes.
        loss_wanted: whether losses are captured.
        earlier: the records of a run that is resumed.
    """

    def __init__(
        self, run: Run, capture: StepCapture, loss_wanted: bool, earlier: pa.Table | None
    ) -> None:
        self._run = run
        self._capture = capture
        self._loss_wanted = loss_wanted
        self._figures = RunningStatistics(run.schedule, run.prefix)
        if earlier is not None and earlier.num_rows:
            found = history_table.arrays(earlier)
            metrics, present = found["metrics"], found["present"]
            self._figures.add(found["steps"], {n: (metrics[n], present[n]) for n in metrics})

    def add(self, steps: Any, metrics: Any) -> None:
        """Take rows on their way into the journal."""
        self._figures.add(steps, metrics)

    def found(self, state: State) -> tuple[Diagnosis, ...]:
        """All that is to be told, when the hooks are out and all rows were taken."""
        return diagnose(self._run, self._figures, state, self._evidence())

    def _evidence(self) -> Observations:
        capture, stepping = self._capture, self._capture.stepping
        several = {steps: often for steps, often in stepping.jumps.items() if steps > 1}
        return Observations(
            steps=capture.made,
            total=capture.step + 1,
            begun=stepping.begun,
            position=stepping.position,
            used=stepping.at or 0,
            moves=stepping.moves,
            repeated=sum(several.values()),
            factor=max(several, key=lambda steps: several[steps], default=1),
            rested=capture.made - stepping.moved_at,
            early=0 if stepping.begun else stepping.early,
            unreached=tuple(capture.unreached.names()),
            loss_wanted=self._loss_wanted,
            world_size=self._run.world_size,
        )


def tell(found: Sequence[Diagnosis]) -> None:
    """One line each on stderr, the way that lrtrack warns: Python's filters can switch them off."""
    for each in found:
        about = f" ({each['prefix']})" if "prefix" in each else ""
        warn(f"{each['code']}{about}: {each['message']} To do: {each['hint']}.")
