"""The description of a run, read back from its tags and params in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrtrack.records import TRAIN, Run, suggestions_from
from lrtrack.trackers import per_run
from lrtrack.trackers.mlflow import metadata
from lrtrack.trackers.mlflow.shared_run import content_of


def run_from(mlflow_run: Any, experiment: str | None) -> Run:
    """Read the description of a run from its tags and params."""
    tags: Mapping[str, str] = mlflow_run.data.tags
    params: Mapping[str, str] = mlflow_run.data.params
    content = content_of(tags, params)
    return Run(
        id=content.id or mlflow_run.info.run_id,
        name=mlflow_run.info.run_name or "",
        schedule=content.schedule,
        optimizer=content.optimizer,
        experiment=experiment,
        group=tags.get("lrtrack.group"),
        seed=integer_from(content.seed),
        config=content.config,
        tags={k: v for k, v in tags.items() if not k.startswith(("lrtrack.", "mlflow."))},
        prefix=content.prefix,
        rewinds=content.rewinds,
        parent=content.parent,
        branched_at=integer_from(content.branched_at),
        device_type=tags.get("lrtrack.device.type", ""),
        device_name=tags.get("lrtrack.device.name", ""),
        world_size=integer_from(tags.get("lrtrack.world_size")) or 1,
        version=tags.get("lrtrack.version", ""),
        started=per_run.moment((mlflow_run.info.start_time or 0) / 1000),
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


def integer_from(text: str | None) -> int | None:
    """The integer in a tag or param; None if it is missing or not one."""
    try:
        return None if text is None else per_run.integer_of(int(text))
    except ValueError:
        return None
