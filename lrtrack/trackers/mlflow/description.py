"""The description of a run and its blocks, read back from its tags and params in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrtrack.records import TRAIN, Run, State, count_from, outcome_from, suggestions_from
from lrtrack.trackers import per_run
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.shared_run import Content, contents_of

_STATES = {
    "FINISHED": State.FINISHED,
    "RUNNING": State.RUNNING,
    "SCHEDULED": State.RUNNING,
}


def state_of(status: str) -> State:
    """The state that a status of MLflow's stands for."""
    return _STATES.get(status, State.FAILED)


def runs_from(mlflow_run: Any, experiment: str | None) -> list[Run]:
    """Read the description of each block of a run from its tags and params."""
    contents = contents_of(mlflow_run.data.tags, mlflow_run.data.params)
    return [_run(mlflow_run, experiment, content, len(contents) == 1) for content in contents]


def _run(mlflow_run: Any, experiment: str | None, content: Content, alone: bool) -> Run:
    tags: Mapping[str, str] = mlflow_run.data.tags
    diagnoses = metadata.diagnoses_of(tags)
    if diagnoses is not None and not alone:
        diagnoses = tuple(d for d in diagnoses if d.get("prefix", "") == content.prefix)
    unknown = mlflow_run.info.run_id + ("" if alone else f"/{content.prefix}")
    return Run(
        id=content.id or unknown,
        name=mlflow_run.info.run_name or "",
        schedule=content.schedule,
        optimizer=content.optimizer,
        experiment=experiment,
        group=tags.get("lrtrack.group"),
        seed=integer_from(content.seed),
        config=content.config,
        tags=user_tags(tags),
        prefix=content.prefix,
        rewinds=content.rewinds,
        parent=content.parent,
        branched_at=integer_from(content.branched_at),
        device_type=tags.get("lrtrack.device.type", ""),
        device_name=tags.get("lrtrack.device.name", ""),
        world_size=integer_from(tags.get("lrtrack.world_size")) or 1,
        version=tags.get("lrtrack.version", ""),
        torch_version=tags.get("lrtrack.torch.version", ""),
        started=per_run.moment((mlflow_run.info.start_time or 0) / 1000),
        kind=tags.get(metadata.KIND, TRAIN),
        suggestions=suggestions_from(
            {
                k[len(metadata.SUGGESTION) :]: v
                for k, v in tags.items()
                if k.startswith(metadata.SUGGESTION)
            }
        ),
        diagnoses=diagnoses,
        outcome=outcome_from(content.outcome),
        total_steps=count_from(integer_from(content.total_steps)),
    )


def user_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that neither lrtrack nor MLflow set."""
    return {k: v for k, v in tags.items() if not k.startswith(("lrtrack.", "mlflow."))}


def integer_from(text: str | None) -> int | None:
    """The integer in a tag or param; None if it is missing or not one."""
    try:
        return None if text is None else per_run.integer_of(int(text))
    except ValueError:
        return None
