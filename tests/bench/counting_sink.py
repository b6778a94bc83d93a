"""MLflow as a run's tracker, without a row in its database for each value.

Ten million steps would take a database hours. The run, its tags, its end and its columnar file go
to a real store; the values of the steps are counted. `long_run.py` installs this where it measures,
and for a shorter run sets the size of a segment, so that there are as many.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from lrtrack.journal import segments
from lrtrack.records import Run, StepRecord, Target
from lrtrack.trackers.base import Sink
from lrtrack.trackers.mlflow import MlflowTracker

segments.LIMIT = int(os.environ.get("BENCH_SEGMENT", segments.LIMIT))


class Tracker(MlflowTracker):
    """MLflow, with such a sink."""

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """The sink that writes `run`."""
        from lrtrack.trackers.mlflow.sink import MlflowSink

        class CountingSink(MlflowSink):
            steps = 0

            def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
                self.steps += len(records)

        return CountingSink(run, target, remote_id)
