"""The description of a run and its blocks, read back from its config in W&B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrtrack.fields import shallow
from lrtrack.records import (
    TRAIN,
    Run,
    State,
    count_from,
    diagnoses_from,
    outcome_from,
    rewinds_from,
    suggestions_from,
)
from lrtrack.trackers import per_run
from lrtrack.trackers.wandb import metadata

_STATES = {"finished": State.FINISHED, "running": State.RUNNING, "pending": State.RUNNING}


def runs_from(wandb_run: Any, path: str) -> list[Run]:
    """Read the description of each block of a run from its config; invalid fields are left out."""
    config = wandb_run.config[metadata.CONFIG]
    blocks = metadata.blocks_of(config)
    common = {name: config[name] for name in metadata.COMMON if name in config}
    return [
        _run(wandb_run, path, {**common, **block}, prefix, len(blocks) == 1)
        for prefix, block in blocks.items()
    ]


def _run(wandb_run: Any, path: str, fields: Mapping[str, Any], prefix: str, alone: bool) -> Run:
    unknown = str(wandb_run.id) + ("" if alone else f"/{prefix}")
    optimizer = _mapping(fields, "optimizer")
    device = _mapping(fields, "device")
    first = per_run.step_of(fields.get("branched_at"))
    group = wandb_run.group or fields.get("group")
    config = {
        **_mapping(fields, "config"),
        **{name: value for name, value in wandb_run.config.items() if name != metadata.CONFIG},
    }
    return Run(
        id=str(fields.get("run_id") or unknown),
        name=str(wandb_run.name or ""),
        schedule=metadata.schedule_from(fields),
        optimizer={str(name): value for name, value in optimizer.items() if shallow(value)},
        experiment=path,
        group=str(group) if group else None,
        seed=per_run.integer_of(fields.get("seed")),
        config={str(name): value for name, value in config.items() if shallow(value)},
        tags={str(name): str(value) for name, value in _mapping(fields, "tags").items()},
        prefix=str(fields.get("prefix") or ""),
        device_type=str(device.get("type", "")),
        device_name=str(device.get("name", "")),
        world_size=per_run.integer_of(fields.get("world_size")) or 1,
        version=str(fields.get("version", "")),
        torch_version=str(fields.get("torch", "")),
        started=started_at(wandb_run),
        kind=str(fields.get("kind") or TRAIN),
        suggestions=suggestions_from(fields.get("suggestion")),
        diagnoses=diagnoses_from(fields.get("diagnoses")),
        rewinds=rewinds_from(fields.get("rewinds")),
        parent=str(fields["parent"]) if first is not None and "parent" in fields else None,
        branched_at=first,
        outcome=outcome_from(fields.get("state")),
        total_steps=count_from(fields.get("total_steps")),
    )


def _mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def is_tracked(wandb_run: Any) -> bool:
    """Whether lrtrack wrote the run."""
    config = wandb_run.config
    return isinstance(config, Mapping) and isinstance(config.get(metadata.CONFIG), Mapping)


def label(wandb_run: Any) -> str:
    """The name of the run in messages."""
    return f"{wandb_run.name!r} ({wandb_run.id})"


def state_of(wandb_run: Any) -> State:
    """The state of the run.

    Raises:
        OddRun: its state is not valid.
    """
    if not isinstance(wandb_run.state, str):
        raise per_run.OddRun(f"its state is {wandb_run.state!r}")
    return _STATES.get(wandb_run.state, State.FAILED)


def started_at(wandb_run: Any) -> float:
    """When the run began, in seconds since the epoch."""
    return per_run.moment(wandb_run.config[metadata.CONFIG].get("started"))
