"""Reading an experiment back from MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lrtrack.errors import NothingFound, UsageError, unknown, warn
from lrtrack.fields import JSON
from lrtrack.filters import select
from lrtrack.journal import history_table
from lrtrack.records import TRAIN, History, Run, State, Target, suggestions_from
from lrtrack.settings import redact
from lrtrack.trackers import cache, per_run
from lrtrack.trackers.base import Progress, Query
from lrtrack.trackers.mlflow import metadata, search
from lrtrack.trackers.mlflow.errors import patiently, translated
from lrtrack.trackers.mlflow.shared_run import content_of
from lrtrack.trackers.mlflow.step_points import FILE, columnar, from_api, joined, stored
from lrtrack.trackers.mlflow.store import existing, page, quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Requests at a time; more makes a small server slower, not faster.
WORKERS = 8
_PAGE = 500
_STATES = {
    "FINISHED": State.FINISHED,
    "RUNNING": State.RUNNING,
    "SCHEDULED": State.RUNNING,
}


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Histories of the runs that lrtrack wrote into an experiment, newest first.

    The columnar file is taken where it is whole; else, and for metrics that only the user
    logged, the metric API is asked.
    """
    uri = query.uri or own_target().uri
    mlflow = existing(uri)
    experiment = patiently(uri, lambda: experiment_of(mlflow, query))
    runs = patiently(uri, lambda: _runs(mlflow, query, experiment))
    left_out = per_run.LeftOut()
    source = _Source(mlflow, uri, experiment.name, query, left_out)
    with quiet():
        try:
            yield from per_run.read_each(
                runs, source.history, _named, left_out, workers=WORKERS, progress=progress
            )
        finally:
            source.complain()
    cache.prune()


def _named(found: Any) -> str:
    return f"{found.info.run_name!r} ({found.info.run_id})"


def own_target() -> Target:
    """Where MLflow's own settings say that new runs go."""
    from lrtrack.trackers.mlflow import MlflowTracker

    return MlflowTracker().target(None)


def experiment_of(mlflow: MlflowClient, query: Query) -> Any:
    """The experiment asked for; without a word of it, the one that new runs would go to."""
    target = own_target()
    if query.experiment is None and query.uri is None:  # another store has other ids
        number = target.experiment_id
        if target.run_id is not None:
            number = mlflow.get_run(target.run_id).info.experiment_id
        if number is not None:
            return mlflow.get_experiment(number)
    name = query.experiment or target.experiment or "lrtrack"
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        known = [experiment.name for experiment in mlflow.search_experiments()]
        raise NothingFound(f"{unknown('experiment', name, known)} (MLflow: {_shown(mlflow)})")
    if found.lifecycle_stage == "deleted":
        raise NothingFound(
            f"Experiment {name!r} is deleted; bring it back with "
            f"`mlflow experiments restore -x {found.experiment_id}`. (MLflow: {_shown(mlflow)})"
        )
    return found


def _runs(mlflow: MlflowClient, query: Query, experiment: Any) -> list[Any]:
    """The runs for which the query's filters hold."""
    expressions = search.expressions(query.filters)
    runs = _search(mlflow, experiment.experiment_id, expressions, query.raw_filters)
    fields = partial(_fields, mlflow, experiment.name)
    # A narrowed search that finds nothing cannot tell a field that no run has from a value that
    # none has: `select` does, on all runs.
    if expressions and not runs:
        runs = _search(mlflow, experiment.experiment_id, (), query.raw_filters)
    return select(runs, query.filters, fields)


def _fields(mlflow: MlflowClient, experiment: str, found: Any) -> dict[str, JSON]:
    info = found.info
    return run_from(found, experiment).fields(
        run_id=info.run_id,
        state=str(_STATES.get(info.status, State.FAILED)),
        tracker="mlflow",
        url=page(mlflow.tracking_uri, info.experiment_id, info.run_id),
    )


def _search(
    mlflow: MlflowClient, experiment_id: str, expressions: Sequence[str], raw: Sequence[str]
) -> list[Any]:
    wanted = " and ".join(["tags.`lrtrack.version` != ''", *expressions, *raw])
    runs: list[Any] = []
    token = None
    while True:
        try:
            found = mlflow.search_runs([experiment_id], wanted, max_results=_PAGE, page_token=token)
        except Exception as error:
            if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE" and raw:
                raise UsageError(f"MLflow cannot read the --filter-raw: {error}") from error
            raise
        runs += found
        token = found.token
        if not token:
            return runs


def _shown(mlflow: MlflowClient) -> str:
    return redact(mlflow.tracking_uri)


@dataclass(frozen=True)
class _Source:
    """Where histories come from, and which columnar files were of no use."""

    mlflow: MlflowClient
    uri: str | None
    experiment: str
    query: Query
    left_out: per_run.LeftOut
    broken: list[str] = field(default_factory=list)

    def history(self, found: Any) -> History:
        """One run with its steps."""
        info, metric = found.info, self.query.metric
        run = run_from(found, self.experiment)
        arrays = self._arrays(found, run)
        if (
            metric is not None
            and metric in found.data.metrics  # logged by the user himself
            and metric not in arrays["metrics"]
        ):
            more = patiently(self.uri, lambda: from_api(self.mlflow, info.run_id, [metric]))
            more = self._sound(found, more)
            arrays = history_table.arrays(joined(history_table.table_of(arrays), more))
        history = History(
            run,
            _STATES.get(info.status, State.FAILED),
            "mlflow",
            **arrays,
            url=page(self.mlflow.tracking_uri, info.experiment_id, info.run_id),
            ended=per_run.moment(info.end_time / 1000, run.started) if info.end_time else None,
            remote_id=info.run_id,
        )
        return per_run.checked(history)

    def complain(self) -> None:
        """Say once which columnar files were of no use: where one is not, many may be."""
        if self.broken:
            many = f" (and {len(self.broken) - 1} more)" if len(self.broken) > 1 else ""
            warn(f"{redact(self.broken[0])}{many}; reading its metrics one by one")

    def _arrays(self, found: Any, run: Run) -> dict[str, Any]:
        """The run's steps: out of a copy, else of its columnar file, else of the metric API."""
        rows = _integer(found.data.tags.get(metadata.HISTORY_ROWS))
        if rows is None or found.info.status in ("RUNNING", "SCHEDULED"):
            return self._stored(found, run)
        info = found.info
        about = (info.experiment_id, info.run_id, info.status, info.end_time, rows)
        copy = cache.place_of("mlflow", _shown(self.mlflow), *about)
        arrays = cache.kept(copy) if self.query.cache else None
        if arrays is not None:
            return arrays
        table = self._columnar(found, rows)
        if table is None:
            return self._stored(found, run)
        if self.query.cache:
            cache.keep(table, copy)
            arrays = cache.kept(copy)
        return arrays or history_table.arrays(table)

    def _stored(self, found: Any, run: Run) -> dict[str, Any]:
        table = patiently(self.uri, lambda: stored(self.mlflow, found, run.prefix))
        return history_table.arrays(self._sound(found, table))

    def _sound(self, found: Any, table: pa.Table) -> pa.Table:
        """The table without rows at negative or immense steps or times."""
        sound, count = history_table.sound_rows(table)
        if count:
            reason = "their step or time is negative, or larger than any real one"
            self.left_out.note_rows(lambda: _named(found), count, reason)
        return sound

    def _columnar(self, found: Any, rows: int) -> pa.Table | None:
        """The columnar file; None where it is missing, torn or not of the whole run."""
        run_id, root = found.info.run_id, found.info.artifact_uri
        try:
            table = patiently(self.uri, lambda: columnar(self.mlflow, run_id, root))
            if table.num_rows != rows:
                raise ValueError(f"has {table.num_rows} steps instead of {rows}")
        except Exception as error:  # whatever the package of some artifact store raises
            said = str(error).partition("\n")[0]
            self.broken.append(f"run {run_id}: {FILE}: {said}")
            return None
        return table


def status(uri: str | None) -> str:
    """Where the store is, and how many experiments it has.

    Raises:
        TrackerError: it does not answer.
    """
    try:
        mlflow = existing(uri)
    except NothingFound as error:
        return str(error).partition(". ")[0]
    with translated(uri):
        count = len(mlflow.search_experiments())
    return f"{_shown(mlflow)} answers, {count} experiment{'' if count == 1 else 's'}"


def run_from(found: Any, experiment: str | None) -> Run:
    """A run's identity out of its tags and params."""
    tags: Mapping[str, str] = found.data.tags
    params: Mapping[str, str] = found.data.params
    content = content_of(tags, params)
    return Run(
        id=content.id or found.info.run_id,
        name=found.info.run_name or "",
        schedule=content.schedule,
        optimizer=content.optimizer,
        experiment=experiment,
        group=tags.get("lrtrack.group"),
        seed=_integer(content.seed),
        config=content.config,
        tags={k: v for k, v in tags.items() if not k.startswith(("lrtrack.", "mlflow."))},
        prefix=content.prefix,
        device_type=tags.get("lrtrack.device.type", ""),
        device_name=tags.get("lrtrack.device.name", ""),
        world_size=_integer(tags.get("lrtrack.world_size")) or 1,
        version=tags.get("lrtrack.version", ""),
        started=per_run.moment((found.info.start_time or 0) / 1000),
        kind=tags.get(metadata.KIND, TRAIN),
        suggestions=suggestions_from(
            {
                k[len(metadata.SUGGESTION) :]: v
                for k, v in tags.items()
                if k.startswith(metadata.SUGGESTION)
            }
        ),
        diagnoses=metadata.diagnoses_of(tags),
    )


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else per_run.integer_of(int(text))
    except ValueError:
        return None
