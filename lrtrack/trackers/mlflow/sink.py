"""Writing one run to MLflow."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lrtrack._optional import load
from lrtrack.errors import PartRefused, PartUnavailable, TrackerError, TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.reader import merge
from lrtrack.records import TRAIN, Run, State, StepRecord, Target
from lrtrack.settings import redact
from lrtrack.trackers import shared_runs
from lrtrack.trackers.base import Remote
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.errors import translated
from lrtrack.trackers.mlflow.run_lookup import find_or_create
from lrtrack.trackers.mlflow.shared_run import Block, block_of
from lrtrack.trackers.mlflow.step_points import columnar, stored
from lrtrack.trackers.mlflow.store import client, page
from lrtrack.trackers.mlflow.throttle import turn

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: MLflow's limits for one `log_batch`.
METRICS, PARAMS, TAGS = 1000, 100, 100

#: What the system says of a directory on another machine.
_REFUSED_PATH = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)

Point = tuple[str, float, int, int]


class MlflowSink:
    """One run in MLflow; see `lrtrack.trackers.base.Sink` for the promises."""

    durable = True

    def __init__(self, run: Run, target: Target, remote_id: str | None) -> None:
        self._run = run
        self._shown = run  # with the phases of the same run before it
        self._block: Block | None = None
        self._target = target
        self._run_id = remote_id or target.run_id
        self._steps = 0  # as known from the columnar file
        self._earlier: dict[str, set[int]] = {}  # metric → steps of the part continued here
        #: Metric → (value, step) that MLflow has, asked for while there is doubt.
        self._there: dict[str, set[tuple[str, int]]] = {}

    @property
    def _client(self) -> MlflowClient:
        return client(self._target.uri, self._run.cwd)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with translated(self._target.uri), turn(self._client.tracking_uri):
            yield

    @property
    def _id(self) -> str:
        if self._run_id is None:
            raise TrackerError("this run was not opened in MLflow")
        return self._run_id

    def open(self) -> Remote:
        """Find the run, or create it, and complete its tags and params."""
        with self._turn():
            fresh = False
            if self._run_id is None:
                self._run_id, fresh = find_or_create(self._client, self._run, self._target)
            found = self._client.get_run(self._run_id)
            if self._target.joined or self._target.parent:  # it is where its maker has put it
                name = self._client.get_experiment(found.info.experiment_id).name
                self._run = replace(self._run, experiment=name)
            self._block = block = self._block_in(found)
            there = found.data.params
            missing = {name: text for name, text in block.params().items() if name not in there}
            tags = {n: t for n, t in block.tags(found.data.tags).items()
                    if found.data.tags.get(n) != t}  # fmt: skip
            self._shown = block.course
            if self._may_describe(block, found.data.tags):
                tags[metadata.NOTE] = metadata.note(self._shown)
            self._log_all(missing, tags)
            for name in block.stale(found.data.tags):
                self._client.delete_tag(self._id, name)
            if not self._target.joined and found.info.status != "RUNNING":
                self._client.update_run(self._id, status="RUNNING")  # resumed
            info = found.info
        url = page(self._client.tracking_uri, info.experiment_id, info.run_id)
        return Remote(self._run_id, url, fresh, block.first)

    def _block_in(self, found: Any) -> Block:
        """The place of this block in the MLflow run `found`."""
        return block_of(self._run, self._target, found.data.tags, self._last_step)

    def _last_step(self) -> int:
        history = self._client.get_metric_history(self._id, metadata.key(f"{self._run.prefix}lr"))
        return max((metric.step for metric in history), default=-1)

    def _may_describe(self, block: Block, tags: Mapping[str, str]) -> bool:
        """Whether the description is this block's to write: there is none, or an earlier phase's.

        Whatever else is there is somebody's own words.
        """
        text, phases = tags.get(metadata.NOTE), block.phases
        if text is None:
            return True
        at = [each["id"] for each in phases].index(self._run.id)
        earlier = [shared_runs.alone(self._run, phases[0])] if at else []
        earlier += [shared_runs.course(self._run, phases[:n]) for n in range(2, at + 1)]
        return any(metadata.is_ours(text, run) for run in earlier)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Store metrics, 1000 a call."""
        points = metadata.metric_points(list(records))
        with self._turn():
            if not doubt:
                self._there.clear()
                self._log_points(points)
                return
            points = self._not_there(points)
            try:
                self._log_points(points)
            except BaseException:
                self._there.clear()  # some of it may have arrived
                raise
            for point in points:
                self._there[point[0]].add((_exact(point[1]), point[3]))

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """Store the run-level metrics; end the run if lrtrack opened it, whether or not they were.

        Raises:
            PartRefused, PartUnavailable: the run is ended, without its metrics or description.
        """
        when = int(ended * 1000)
        failure: TrackerError | None = None
        try:
            with self._turn():
                self._store_outcome(state, when, summary)
        except TrackerError as error:
            failure = error
        if not self._target.joined:
            with self._turn():
                self._client.set_terminated(self._id, state.value, when)
        if isinstance(failure, TrackerUnavailable):
            raise PartUnavailable(str(failure), failure.retry_after) from failure
        if failure is not None:
            raise PartRefused(str(failure)) from failure

    def _store_outcome(self, state: State, when: int, summary: Mapping[str, float]) -> None:
        there = self._client.get_run(self._id).data
        self._log_points(
            [(metadata.key(n), v, when, 0) for n, v in summary.items() if there.metrics.get(n) != v]
        )
        if self._run.kind == TRAIN and metadata.is_ours(
            there.tags.get(metadata.NOTE, ""), self._shown
        ):
            self._client.set_tag(self._id, metadata.NOTE, self._note(state, summary))

    def _note(self, state: State, summary: Mapping[str, float]) -> str:
        final, best = (summary.get(f"{self._run.prefix}loss_{name}") for name in ("final", "best"))
        return metadata.note(self._shown, metadata.outcome(self._steps, state, final, best))

    def complete(self, run: Run) -> None:
        """Store the tags that the run has by now, and its note where nobody has changed it."""
        with self._turn():
            found = self._client.get_run(self._id)
            there = found.data.tags
            block = self._block or self._block_in(found)
            run = replace(run, experiment=self._run.experiment)
            course = shared_runs.course(run, block.phases)
            if self._target.joined or len(block.phases) > 1:
                course = metadata.joined(there, course, phased=len(block.phases) > 1)
            wanted = block.tags(there, course)
            tags = {name: text for name, text in wanted.items() if there.get(name) != text}
            if there.get(metadata.NOTE) == metadata.note(self._shown):
                tags[metadata.NOTE] = metadata.note(course)
            self._log_all({}, tags)

    def release(self) -> None:
        """Nothing to let go of: clients are shared by all runs of a store."""

    def upload(self, history: Path) -> None:
        """Store the columnar file, joined with what another block of the same run has stored."""
        with self._turn(), tempfile.TemporaryDirectory(dir=history.parent) as folder:
            found = self._client.get_run(self._id)
            tags = found.data.tags
            whole = history_table.read_parquet(history, own=True)
            if self._target.continued:
                whole = stored(self._client, found, self._run.prefix)
                history_table.write_parquet(whole, history)
            if (self._target.joined or self._target.phases) and metadata.HISTORY_ROWS in tags:
                parts = [self._earlier_blocks(found), whole]
                whole = merge([b for part in parts for b in part.to_batches()])
            self._steps = int(whole["step"][-1].as_py()) + 1
            path = Path(folder) / history_table.NAME
            history_table.write_parquet(whole, path)
            if self._target.joined or metadata.HISTORY_ROWS in tags:
                # An older file lacks these steps: nobody may read it if this one is refused.
                self._client.set_tag(self._id, metadata.HISTORY_ROWS, metadata.NO_HISTORY)
            self._log_artifact(path, found.info.artifact_uri)
            self._client.set_tag(self._id, metadata.HISTORY_ROWS, str(whole.num_rows))

    def _log_artifact(self, path: Path, root: str) -> None:
        try:
            self._client.log_artifact(self._id, str(path), history_table.FOLDER)
        except OSError as error:
            if error.errno not in _REFUSED_PATH or not self._client.tracking_uri.startswith("http"):
                raise
            raise TrackerError(
                f"MLflow's server keeps artifacts in its own directory {redact(root)}, which this "
                f"machine cannot write: {error.strerror}. Fix: start the server with "
                "--serve-artifacts and --artifacts-destination, or make the directory writable here"
            ) from error

    def _earlier_blocks(self, found: Any) -> pa.Table:
        """What other blocks of the run have stored; from the metrics where the file lacks some."""
        if found.data.tags[metadata.HISTORY_ROWS] == metadata.NO_HISTORY:
            return stored(self._client, found, self._run.prefix)
        try:
            return columnar(self._client, self._id)
        except ValueError:
            return stored(self._client, found, self._run.prefix)

    def _log_all(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        entities = load("mlflow.entities")
        all_params = [entities.Param(name, text) for name, text in params.items()]
        all_tags = [entities.RunTag(name, text) for name, text in tags.items()]
        for at in range(0, len(all_params), PARAMS):
            self._client.log_batch(self._id, params=all_params[at : at + PARAMS])
        for at in range(0, len(all_tags), TAGS):
            self._client.log_batch(self._id, tags=all_tags[at : at + TAGS])

    def _log_points(self, points: Sequence[Point]) -> None:
        metric = load("mlflow.entities").Metric
        for at in range(0, len(points), METRICS):
            batch = [metric(*point) for point in points[at : at + METRICS]]
            self._client.log_batch(self._id, metrics=batch)

    def _not_there(self, points: Sequence[Point]) -> list[Point]:
        """The points that MLflow does not have yet; steps made before they were continued stay."""
        for name in {point[0] for point in points} - self._there.keys():
            history = self._client.get_metric_history(self._id, name)
            self._there[name] = {(_exact(metric.value), metric.step) for metric in history}
            if self._target.continued:
                self._earlier.setdefault(name, {metric.step for metric in history})
        fresh = [p for p in points if p[3] not in self._earlier.get(p[0], ())]
        return [p for p in fresh if (_exact(p[1]), p[3]) not in self._there[p[0]]]


def _exact(value: float) -> str:
    # Text, as NaN equals NaN there; MLflow's SQL store keeps infinities as the largest number.
    return repr(max(-1.7976931348623157e308, min(1.7976931348623157e308, float(value))))
