"""The sink that writes one run to MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lrtrack.errors import PartRefused, PartUnavailable, TrackerError, TrackerUnavailable
from lrtrack.journal import history_table
from lrtrack.journal.course import merge_tables, without
from lrtrack.records import TRAIN, Rewind, Run, State, StepRecord, Target, with_rewind
from lrtrack.trackers import shared_runs
from lrtrack.trackers.base import Remote
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.errors import translate_errors
from lrtrack.trackers.mlflow.names import MetricNames
from lrtrack.trackers.mlflow.requests import log_file, log_points, log_texts
from lrtrack.trackers.mlflow.run_lookup import find_or_create
from lrtrack.trackers.mlflow.shared_run import Block, block_of, rewinds_by_prefix, rewinds_of
from lrtrack.trackers.mlflow.step_points import download_history, steps_by_client, surviving
from lrtrack.trackers.mlflow.store import client, run_url
from lrtrack.trackers.mlflow.stored_points import StoredPoints
from lrtrack.trackers.mlflow.throttle import writer_slot

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: What the tags of a run say about the steps that are not its own, or not any more.
_ORIGIN = ("rewinds", "parent", "branched_at")
#: The tag that holds a run's name.
_NAME = "mlflow.runName"


class MlflowSink:
    """Writes one run to MLflow; see `lrtrack.trackers.base.Sink` for the guarantees."""

    durable = True

    def __init__(self, run: Run, target: Target, remote_id: str | None) -> None:
        self._run = run
        self._described = run  # includes earlier phases of the same run
        self._block: Block | None = None
        self._target = target
        self._run_id = remote_id or target.run_id
        self._steps = 0  # from the columnar file
        self._stored = StoredPoints(target.continued)
        self._names = MetricNames()

    @property
    def _client(self) -> MlflowClient:
        return client(self._target.uri, self._run.cwd)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with translate_errors(self._target.uri), writer_slot(self._client.tracking_uri):
            yield

    @property
    def _id(self) -> str:
        if self._run_id is None:
            raise TrackerError("this run was not opened in MLflow")
        return self._run_id

    def open(self) -> Remote:
        """Find or create the run, and add its missing tags and params."""
        with self._writing():
            created = False
            if self._run_id is None:
                self._run_id, created = find_or_create(self._client, self._run, self._target)
            mlflow_run = self._client.get_run(self._run_id)
            self._names.recall(mlflow_run.data.tags, mlflow_run.data.metrics)
            if self._target.joined or self._target.parent:  # the run's owner chose the experiment
                name = self._client.get_experiment(mlflow_run.info.experiment_id).name
                self._run = replace(self._run, experiment=name)
            self._block = block = self._with_origin(self._block_in(mlflow_run), mlflow_run)
            params = mlflow_run.data.params
            missing = {name: text for name, text in block.params().items() if name not in params}
            tags = {n: t for n, t in block.tags(mlflow_run.data.tags).items()
                    if mlflow_run.data.tags.get(n) != t}  # fmt: skip
            self._described = block.course
            if self._may_describe(block, mlflow_run.data.tags):
                tags[metadata.NOTE] = metadata.note(self._described)
            log_texts(self._client, self._id, missing, tags)
            for name in block.stale(mlflow_run.data.tags):
                self._client.delete_tag(self._id, name)
            if not self._target.joined and mlflow_run.info.status != "RUNNING":
                self._client.update_run(self._id, status="RUNNING")  # resumed
            info = mlflow_run.info
        url = run_url(self._client.tracking_uri, info.experiment_id, info.run_id)
        return Remote(self._run_id, url, created, block.first)

    def _block_in(self, mlflow_run: Any) -> Block:
        """Scope, phases and first step of this block in the MLflow run."""
        rewinds = rewinds_by_prefix(mlflow_run.data.tags).get(self._run.prefix, ())
        return block_of(
            self._run, self._target, mlflow_run.data.tags, lambda: self._latest(rewinds)[0]
        )

    def _latest(self, rewinds: Sequence[Rewind] = ()) -> tuple[int, float]:
        """The last step that MLflow has with this block's prefix, and the latest time of one."""
        history = self._client.get_metric_history(
            self._id, self._names.key(f"{self._run.prefix}lr")
        )
        points = surviving(history, rewinds)
        last = max((metric.step for metric in points), default=-1)
        return last, max((metric.timestamp / 1000 for metric in points), default=0.0)

    def _with_origin(self, block: Block, mlflow_run: Any) -> Block:
        """The block with the rewinds that its tags list, and the parent by MLflow's own id."""
        rewinds = rewinds_of(mlflow_run.data.tags, block.scope)
        for rewind in self._run.rewinds:
            rewinds = with_rewind(rewinds, rewind)
        parent = self._run.parent
        if parent is not None:
            condition = f"tags.`{metadata.RUN_ID}` = '{parent}'"
            experiments = [mlflow_run.info.experiment_id]
            runs = self._client.search_runs(experiments, condition, max_results=1)
            parent = str(runs[0].info.run_id) if runs else parent
        self._run = replace(self._run, rewinds=rewinds, parent=parent)
        return replace(block, run=self._run)

    def rewind(self, rewind: Rewind) -> float:
        """Note the abandoned steps in the run's tags: MLflow keeps every point."""
        with self._writing():
            mlflow_run = self._client.get_run(self._id)
            border = int(rewind.time * 1000) / 1000
            known = [r for r in self._run.rewinds if r.step == rewind.step and r.time >= border]
            if known:  # the delivery has begun again
                rewind = replace(rewind, time=max(rewind.time, known[0].time))
            elif self._target.continued:  # the earlier points may come from another machine
                last, latest = self._latest(self._run.rewinds)
                time = max(rewind.time, latest + 0.002)
                rewind = Rewind(rewind.step, max(rewind.last, last), time)
            # Points have whole milliseconds, and so has the border between them.
            noted = replace(rewind, time=int(rewind.time * 1000) / 1000)
            self._run = self._run.rewound(noted)
            block = self._block or self._block_in(mlflow_run)
            self._block = replace(block, run=self._run)
            log_texts(self._client, self._id, {}, self._block.tags(mlflow_run.data.tags))
        self._stored.rewind(rewind.step)
        return rewind.time

    def _may_describe(self, block: Block, tags: Mapping[str, str]) -> bool:
        """Whether this block may write the description.

        It may if there is none, or if an earlier phase wrote it. Any other text is the user's.
        """
        text, phases = tags.get(metadata.NOTE), block.phases
        if text is None:
            return True
        index = [phase["id"] for phase in phases].index(self._run.id)
        earlier = [shared_runs.alone(self._run, phases[0])] if index else []
        earlier += [shared_runs.course(self._run, phases[:n]) for n in range(2, index + 1)]
        return any(metadata.is_generated(text, run) for run in earlier)

    def write(self, records: Sequence[StepRecord], doubt: bool) -> None:
        """Store metrics, at most 1000 in one request."""
        points = metadata.metric_points(records, self._names.key)
        with self._writing():
            self._note_names()
            if not doubt:
                self._stored.clear()
                log_points(self._client, self._id, points)
                return
            points = self._stored.missing(self._client, self._id, points, self._run.rewinds)
            try:
                log_points(self._client, self._id, points)
            except BaseException:
                self._stored.clear()  # some of it may have arrived
                raise
            self._stored.add(points)

    def _note_names(self) -> None:
        log_texts(self._client, self._id, {}, self._names.news())
        self._names.noted()

    def close(self, state: State, ended: float, summary: Mapping[str, float]) -> None:
        """Store the run-level metrics, and end the run if lrtrack opened it, even if that failed.

        Raises:
            PartRefused, PartUnavailable: the run ended without its metrics or its description.
        """
        when = int(ended * 1000)
        failure: TrackerError | None = None
        try:
            with self._writing():
                self._store_outcome(state, when, summary)
        except TrackerError as error:
            failure = error
        if not self._target.joined:
            with self._writing():
                self._client.set_terminated(self._id, state.value, when)
        if isinstance(failure, TrackerUnavailable):
            raise PartUnavailable(str(failure), failure.retry_after) from failure
        if failure is not None:
            raise PartRefused(str(failure)) from failure

    def _store_outcome(self, state: State, when: int, summary: Mapping[str, float]) -> None:
        stored = self._client.get_run(self._id).data
        named = {self._names.key(name): value for name, value in summary.items()}
        self._note_names()
        news = [(n, v, when, 0) for n, v in named.items() if stored.metrics.get(n) != v]
        log_points(self._client, self._id, news)
        if self._run.kind == TRAIN and metadata.is_generated(
            stored.tags.get(metadata.NOTE, ""), self._described
        ):
            self._client.set_tag(self._id, metadata.NOTE, self._note(state, summary))

    def _note(self, state: State, summary: Mapping[str, float]) -> str:
        final, best = (summary.get(f"{self._run.prefix}loss_{name}") for name in ("final", "best"))
        return metadata.note(self._described, metadata.outcome(self._steps, state, final, best))

    def complete(self, run: Run) -> None:
        """Update the run's tags, and its description unless a user changed it."""
        with self._writing():
            mlflow_run = self._client.get_run(self._id)
            existing = mlflow_run.data.tags
            block = self._block or self._block_in(mlflow_run)
            origin = {name: getattr(self._run, name) for name in _ORIGIN}
            run = replace(run, experiment=self._run.experiment, **origin)
            course = shared_runs.course(run, block.phases)
            if self._target.joined or len(block.phases) > 1:
                course = metadata.with_other_diagnoses(
                    existing, course, phased=len(block.phases) > 1
                )
            current = block.tags(existing, course)
            tags = {name: text for name, text in current.items() if existing.get(name) != text}
            if existing.get(metadata.NOTE) == metadata.note(self._described):
                tags[metadata.NOTE] = metadata.note(course)
            if run.name != self._run.name == existing.get(_NAME) and not self._target.joined:
                tags[_NAME] = run.name
            params = replace(block, run=run).params()
            known = mlflow_run.data.params
            log_texts(
                self._client,
                self._id,
                {n: text for n, text in params.items() if n not in known},
                tags,
            )
            own = f"{metadata.name_prefix(block.scope)}scheduler."
            for name in existing:  # of a schedule that the rates showed earlier
                if name.startswith(own) and name not in current:
                    self._client.delete_tag(self._id, name)
            self._run = replace(self._run, name=run.name)

    def release(self) -> None:
        """Do nothing: all runs of a store share one client."""

    def upload(self, history: Path) -> None:
        """Store the columnar file, merged with the one that other blocks of the run stored."""
        with self._writing(), tempfile.TemporaryDirectory(dir=history.parent) as folder:
            mlflow_run = self._client.get_run(self._id)
            tags = mlflow_run.data.tags
            if self._target.continued:
                stored = steps_by_client(self._client, mlflow_run, self._run.prefix)
                history_table.write_parquet(stored, history)
            path = history
            if (self._target.joined or self._target.phases) and metadata.HISTORY_ROWS in tags:
                own = history_table.read_parquet(history, own=True)
                path = Path(folder) / history_table.NAME
                history_table.write_parquet(
                    merge_tables(self._earlier_blocks(mlflow_run), own), path
                )
            rows, last = history_table.extent_of(path)
            self._steps = last + 1
            if self._target.joined or metadata.HISTORY_ROWS in tags:
                # The stored file lacks these steps: if the upload fails, it must not be read.
                self._client.set_tag(self._id, metadata.HISTORY_ROWS, metadata.NO_HISTORY)
            log_file(self._client, self._id, path, mlflow_run.info.artifact_uri)
            self._client.set_tag(self._id, metadata.HISTORY_ROWS, str(rows))

    def _earlier_blocks(self, mlflow_run: Any) -> pa.Table:
        """The steps of other blocks, from the stored file if it is complete, else from metrics."""
        tags = mlflow_run.data.tags
        if tags[metadata.HISTORY_ROWS] == metadata.NO_HISTORY:
            return steps_by_client(self._client, mlflow_run, self._run.prefix)
        try:
            table = download_history(self._client, self._id)
            prefixes = rewinds_by_prefix(tags)
            return without(table, self._run.rewinds, self._run.prefix, prefixes)
        except ValueError:
            return steps_by_client(self._client, mlflow_run, self._run.prefix)
