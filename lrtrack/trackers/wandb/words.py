"""What people see of a run in W&B: config, tags, notes, metric definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrtrack.records import FIND, TRAIN, Run, Target
from lrtrack.schedules import CONSTANT, Schedule, plain, text_of

#: The one config key under which everything of lrtrack's stands.
CONFIG = "lrtrack"
#: The metric against which W&B draws all others of lrtrack's.
STEP = "lrtrack/step"
#: The summary key of the diagnoses' codes: what people filter by.
DIAGNOSES = "lrtrack/diagnoses"
_TAG_LENGTH = 64  # W&B refuses longer ones


def config(run: Run) -> dict[str, Any]:
    """CONTRACT §3's config, with what reading back needs beside it."""
    schedule = run.schedule
    found = {
        "version": run.version,
        "run_id": run.id,
        "device": {"type": run.device_type, "name": run.device_name},
        "world_size": run.world_size,
        "optimizer": dict(run.optimizer),
        "scheduler": {**schedule.to_dict(), "id": schedule.id, "spec": schedule.spec},
        "seed": run.seed,
        "group": run.group,
        "prefix": run.prefix,
        "tags": dict(run.tags),
        "config": dict(run.config),
        "started": run.started,
    }
    if run.kind != TRAIN:
        found |= {"kind": run.kind, "suggestion": dict(run.suggestions)}
    if run.diagnoses is not None:
        found["diagnoses"] = [dict(each) for each in run.diagnoses]
    return dict(plain(found))


def tags(run: Run) -> list[str]:
    """W&B tags: the scheduler's name, the device type, the user's own."""
    own = [f"{name}:{text_of(value)}" for name, value in run.tags.items()]
    found = dict.fromkeys([run.schedule.name, run.device_type, *own])
    return [tag[:_TAG_LENGTH] for tag in found if tag.strip()]


def codes(run: Run) -> list[str]:
    """The codes of a run's diagnoses."""
    return list(dict.fromkeys(each["code"] for each in run.diagnoses or ()))


def notes(run: Run, target: Target) -> str:
    """The run's description."""
    where = f" --experiment {target.experiment}" if target.experiment else ""
    if run.kind == FIND:
        rates = ", ".join(f"{rate:.4g} ({way})" for way, rate in run.suggestions.items())
        told = f" It suggests a learning rate of {rates}." if rates else ""
        return f"A learning-rate range test by lrtrack {run.version}; no training.{told}"
    return (
        f"{run.schedule.label} on {run.device_name or run.device_type}, tracked by lrtrack "
        f"{run.version} at every optimizer step. Compare: lrtrack compare --tracker wandb{where}"
    )


def defined(name: str) -> str:
    """The name under which a metric's step metric is defined: one for all of `grad_norm/…`."""
    head, slash, _ = name.rpartition("/")
    return f"{head}/*" if slash else name


def schedule_from(found: Mapping[str, Any]) -> Schedule:
    """The schedule that a run's config describes; a constant one where it does not."""
    told = found.get("scheduler")
    told = told if isinstance(told, Mapping) else {}
    try:
        schedule = Schedule.from_spec(str(told["spec"]))
        _ = schedule.id, schedule.label, schedule.flat()  # what a report will ask of it
    except (KeyError, ValueError, RecursionError):
        return Schedule(str(told.get("name", CONSTANT)))
    return schedule
