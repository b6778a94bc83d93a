"""Several blocks in one run of a tracker: what each is called there, and what they are together.

Blocks share a run in two ways. Those with different prefixes run side by side (the two optimizers
of a GAN); each has a *scope*, the name under which its tags, params and config stand. Those with
the same prefix follow each other (a head is trained, then the whole network is fine-tuned); they
are the *phases* of one scope, and their steps go on where the phase before ended.

A phase is a mapping: `id` (lrtrack's id of the block), `first` (the run's step at which it begins),
`scheduler` and `optimizer` (as `Schedule.to_dict()` and `Run.optimizer`), and `diagnoses`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lrtrack.records import Run, Target, diagnoses_from
from lrtrack.schedules import CONSTANT, Schedule

Phase = Mapping[str, Any]

#: Phases of one run that are listed: the first, and the latest ones.
MOST = 16

#: Names below `lrtrack` that mean something already, which no scope may have.
_TAKEN = re.compile(
    r"phase\d+|version|device|world_size|optimizer|scheduler|schedule|seed|config|group|prefix|tags"
    r"|kind|suggestions?|diagnoses|run_id|started|phases|parent|history|machine|report|step"
)


def scope_of(prefix: str) -> str:
    """The name for a block's prefix below `lrtrack`: `D` for `D/`, empty for an empty prefix.

    Different prefixes have different scopes: a prefix that is more than words between slashes, or
    that would read as a name of lrtrack's own, is written with four hex digits of its hash.
    """
    name = prefix.removesuffix("/")
    words = re.fullmatch(r"[\w-]+(/[\w-]+)*", name, re.ASCII)
    separated = prefix.endswith("/") != name.endswith(("_", "-"))
    if not prefix or (words and separated and not _TAKEN.fullmatch(name.partition("/")[0])):
        return name
    digits = hashlib.sha256(prefix.encode()).hexdigest()[:4]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}-{digits}"


def phase_of(run: Run, first: int) -> dict[str, Any]:
    """The block `run`, which begins at step `first` of its tracker's run, as a phase."""
    return {
        "id": run.id,
        "first": first,
        "scheduler": run.schedule.to_dict(),
        "optimizer": dict(run.optimizer),
        "diagnoses": [dict(each) for each in run.diagnoses or ()],
    }


def head(target: Target) -> str | None:
    """lrtrack's id of the block that the tracker's run began with; None where it is this one."""
    return target.phases[0]["id"] if target.phases else None


def before(target: Target) -> str | None:
    """lrtrack's id of the block before this one in the same run; None where it is the first."""
    return target.phases[-1]["id"] if target.phases else None


def listed(phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Phases in the order of their steps, each once, without some in the middle of very many."""
    found = sorted({each["id"]: each for each in phases}.values(), key=lambda each: each["first"])
    return tuple(found if len(found) <= MOST else [found[0], *found[1 - MOST :]])


def phases_from(data: Any) -> tuple[Phase, ...]:
    """Phases out of what a tracker has; what is none is left out."""
    if not isinstance(data, list | tuple):
        return ()
    return tuple(each for each in data if _is_phase(each))


def _is_phase(data: Any) -> bool:
    if not isinstance(data, Mapping) or not isinstance(data.get("id"), str):
        return False
    return type(data.get("first")) is int and data["first"] >= 0


def course(run: Run, phases: Sequence[Phase]) -> Run:
    """The whole of a run's phases as one `Run`: schedules and diagnoses of all, in order.

    Args:
        run: one of the blocks.
        phases: all of them; none where the block is alone.
    """
    if len(phases) < 2:
        return run
    optimizer = phases[0].get("optimizer")
    earlier = [
        diagnosis
        for each in phases
        if each["id"] != run.id
        for diagnosis in diagnoses_from(each.get("diagnoses")) or ()
    ]
    return replace(
        run,
        schedule=chain(each.get("scheduler") for each in phases),
        optimizer=optimizer if isinstance(optimizer, Mapping) else run.optimizer,
        diagnoses=None if run.diagnoses is None else (*earlier, *run.diagnoses),
    )


def alone(run: Run, phase: Phase) -> Run:
    """`run` with the schedule and the optimizer of a phase."""
    optimizer = phase.get("optimizer")
    optimizer = optimizer if isinstance(optimizer, Mapping) else run.optimizer
    return replace(run, schedule=chain([phase.get("scheduler")]), optimizer=optimizer)


def chain(schedules: Iterable[Any]) -> Schedule:
    """One schedule after the other: `first -> second`; equal ones in a row are one.

    Args:
        schedules: mappings as of `Schedule.to_dict()`; others are left out.
    """
    parts: list[Schedule] = []
    for each in schedules:
        try:
            schedule = Schedule.from_dict(each)
        except (AttributeError, TypeError, ValueError):
            continue
        if not parts or parts[-1] != schedule:
            parts.append(schedule)
    if len(parts) < 2:
        return parts[0] if parts else Schedule(CONSTANT)
    name = " -> ".join(part.name for part in parts)
    return Schedule(name, {"schedulers": [part.to_dict() for part in parts]})


def together(blocks: Mapping[str, tuple[Schedule, Mapping[str, Any]]]) -> tuple[Schedule, Any]:
    """Schedule and optimizer of blocks side by side: each by its scope.

    Args:
        blocks: scope to schedule and optimizer, not empty; of one block they stay as they are.
    """
    if len(blocks) == 1:
        return next(iter(blocks.values()))
    schedules = {scope: schedule for scope, (schedule, _) in blocks.items()}
    optimizers = {scope: optimizer for scope, (_, optimizer) in blocks.items()}
    name = " + ".join(schedule.name for schedule in schedules.values())
    params = {scope or "-": schedule.to_dict() for scope, schedule in schedules.items()}
    optimizer: dict[str, Any] = {
        "name": " + ".join(str(each.get("name", "")) for each in optimizers.values())
    }
    for scope, each in optimizers.items():
        optimizer |= {f"{scope}.{k}".lstrip("."): v for k, v in each.items() if k != "name"}
    return Schedule(name, params), optimizer
