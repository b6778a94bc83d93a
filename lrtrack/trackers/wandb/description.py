"""The description of a run, read back from its config in W&B."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lrtrack.fields import shallow
from lrtrack.records import TRAIN, Run, State, diagnoses_from, rewinds_from, suggestions_from
from lrtrack.trackers import per_run, shared_runs
from lrtrack.trackers.wandb import metadata

_STATES = {"finished": State.FINISHED, "running": State.RUNNING, "pending": State.RUNNING}


def run_from(wandb_run: Any, path: str) -> Run:
    """Read the description of a run from its config; invalid fields are left out."""
    blocks = metadata.blocks_of(wandb_run.config[metadata.CONFIG])
    fields: Mapping[str, Any] = next(iter(blocks.values()))
    schedule, optimizer = shared_runs.together(
        {
            shared_runs.scope_of(prefix): (
                metadata.schedule_from(block),
                _mapping(block, "optimizer"),
            )
            for prefix, block in blocks.items()
        }
    )
    device = _mapping(fields, "device")
    first = per_run.step_of(fields.get("branched_at"))
    group = wandb_run.group or fields.get("group")
    config = {
        **_mapping(fields, "config"),
        **{name: value for name, value in wandb_run.config.items() if name != metadata.CONFIG},
    }
    return Run(
        id=str(fields.get("run_id") or wandb_run.id),
        name=str(wandb_run.name or ""),
        schedule=schedule,
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
        started=started_at(wandb_run),
        kind=str(fields.get("kind") or TRAIN),
        suggestions=suggestions_from(fields.get("suggestion")),
        diagnoses=_diagnoses_of(blocks.values()),
        rewinds=rewinds_from(fields.get("rewinds")),
        parent=str(fields["parent"]) if first is not None and "parent" in fields else None,
        branched_at=first,
    )


def _diagnoses_of(blocks: Iterable[Mapping[str, Any]]) -> tuple[dict[str, str], ...] | None:
    """The diagnoses of all blocks; None if no block was diagnosed."""
    diagnoses = [diagnoses_from(block.get("diagnoses")) for block in blocks]
    if all(block is None for block in diagnoses):
        return None
    return tuple(diagnosis for block in diagnoses for diagnosis in block or ())


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
