"""The options of `track()`: checked before any training, and turned into a `Run`."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

import lrtrack
from lrtrack.capture.ensemble import ensemble_of
from lrtrack.capture.norms import KINDS
from lrtrack.capture.optimizers import NoOptimizer, class_of, world_size
from lrtrack.capture.ownership import foreign
from lrtrack.errors import UsageError
from lrtrack.journal.layout import Layout, host
from lrtrack.records import TRAIN, Run, default_name
from lrtrack.schedules import Schedule
from lrtrack.settings import THIN, WANDB_ROWS, Settings, working_directory
from lrtrack.trackers import registry
from lrtrack.trackers.base import DEFAULT_EXPERIMENT, Tracker
from lrtrack.trackers.hooks import AdvisesRows, OnlyReads
from lrtrack.tracking import arguments, number_arguments
from lrtrack.tracking.arguments import as_mapping as as_mapping
from lrtrack.tracking.placement import announce, place

#: What the loss may be taken over, besides the process that records it.
LOSS_OVER = ("mean",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `track()`, which documents them.

    A range test of `find_lr()` has the `kind` `FIND`, and its sweep of rates as `scheduler`.
    """

    optimizer: Any
    scheduler: Any
    tracker: registry.Spec | None
    experiment: str | None
    name: str | None
    group: str | None
    seed: int | None
    config: Any
    tags: Mapping[str, str] | None
    prefix: str
    model: torch.nn.Module | None
    norms: str
    every: int
    capture_loss: bool
    resume: str | None
    flush_timeout: float
    total_steps: int | None
    updates: int | None
    norms_every: int | None
    loss_over: str | None
    wandb_rows: str | None
    stop_on: Collection[str]
    on_diagnosis: Callable[[dict[str, str]], object] | None
    kind: str = TRAIN


def without_objects(options: Options) -> Options:
    """The options of a block that is over, which keep nothing of the training alive."""
    return dataclasses.replace(
        options, optimizer=None, scheduler=None, model=None, on_diagnosis=None
    )


def check(options: Options) -> None:
    """Check all options together.

    Raises:
        TypeError: the optimizer or the scheduler is not one, or the two are swapped.
        UsageError: an option has an invalid value, the optimizer has no parameters, or the
            scheduler belongs to another optimizer.
    """
    if isinstance(options.scheduler, torch.optim.Optimizer):
        raise TypeError(
            "track() takes the optimizer first and the scheduler second. Fix: swap them."
        )
    ensemble = ensemble_of(options.optimizer, options.scheduler)
    for part in ensemble.parts:
        is_none = isinstance(part.optimizer, NoOptimizer)
        if not is_none and ensemble.engine is None:  # an engine's may hold none of its own
            _check_parameters(part.optimizer)
        if options.kind == TRAIN:
            _check_scheduler(part.scheduler)
        if not is_none:
            check_ownership(part.optimizer if part.moved is None else part.moved, part.scheduler)
    check_values(options)
    if options.updates is not None and options.optimizer is None:
        raise UsageError(
            "updates=… needs an optimizer: without one, lrtrack does not see the weights. Fix: "
            "leave it out, and pass a norm that you compute to run.record(update_norm=…)."
        )
    if options.norms == "layer" and not isinstance(options.model, torch.nn.Module):
        raise UsageError(
            'norms="layer" needs the names of the model\'s parameters. Fix: pass model=….'
        )


def check_values(options: Options) -> None:
    """Check the values of the options, without optimizer and scheduler.

    Raises:
        UsageError: a value is invalid.
    """
    converted(options)


def converted(options: Options, settings: Settings | None = None) -> Options:
    """Convert each option to its documented type.

    Args:
        options: the arguments of `track()`.
        settings: give options that have no argument; None: those stay as they are.

    Raises:
        UsageError: a value is invalid.
    """
    seed, over, total_steps = options.seed, options.loss_over, options.total_steps
    rows = options.wandb_rows
    every = number_arguments.integer("every", options.every, minimum=1)
    return dataclasses.replace(
        options,
        experiment=arguments.text("experiment", options.experiment),
        name=arguments.text("name", options.name),
        group=arguments.text("group", options.group),
        norms=arguments.choice("norms", options.norms, KINDS),
        prefix=arguments.text("prefix", options.prefix) or "",
        resume=arguments.run_id("resume", options.resume),
        seed=None if seed is None else number_arguments.integer("seed", seed),
        every=every,
        config=arguments.config(options.config),
        tags=arguments.tags(options.tags),
        flush_timeout=number_arguments.seconds("flush_timeout", options.flush_timeout),
        total_steps=(
            None
            if total_steps is None
            else number_arguments.integer("total_steps", total_steps, minimum=1)
        ),
        updates=_stride("updates", options.updates, every),
        norms_every=_norms_every(options.norms_every, settings, every),
        loss_over=None if over is None else arguments.choice("loss_over", over, LOSS_OVER),
        wandb_rows=None if rows is None else arguments.choice("wandb_rows", rows, WANDB_ROWS),
        stop_on=arguments.codes("stop_on", options.stop_on),
        on_diagnosis=arguments.function("on_diagnosis", options.on_diagnosis),
    )


def _norms_every(value: Any, settings: Settings | None, every: int) -> int | None:
    """Convert `norms_every`, which the settings give where there is no such argument.

    Raises:
        UsageError: as for `_stride`.
    """
    if value is None and settings is not None:
        origin = " (LRTRACK_NORMS_EVERY or [tool.lrtrack])"
        return _stride("norms_every", settings.norms_every, every, origin)
    return _stride("norms_every", value, every)


def _stride(name: str, value: Any, every: int, origin: str = "") -> int | None:
    """Convert the distance between measured steps, which have to meet those that are recorded.

    Args:
        name: the option.
        value: what was passed; None stays None.
        every: the distance between recorded steps.
        origin: what messages add to the name, if it was not passed as an argument.

    Raises:
        UsageError: it is not an integer, or neither it nor `every` is a multiple of the other.
    """
    if value is None:
        return None
    stride = number_arguments.integer(f"{name}{origin}", value, minimum=1)
    if stride % every and every % stride:
        raise UsageError(
            f"{name}={stride}{origin} does not fit every={every}: only recorded steps are "
            f"measured, and of the steps 0, {stride}, {2 * stride}, … only every "
            f"{math.lcm(stride, every)}th is recorded. Fix: pass a multiple of every, such as "
            f"{name}={max(1, round(stride / every)) * every}."
        )
    return stride


def _check_scheduler(scheduler: Any) -> None:
    described = scheduler is None or isinstance(scheduler, Schedule)
    is_object = not isinstance(scheduler, type) and callable(getattr(scheduler, "step", None))
    if not described and not is_object:
        raise TypeError(
            "track() expects a scheduler with a step() method, a Schedule or None as its second "
            f"argument, got {class_of(scheduler)}. Fix: pass the object that moves the learning "
            "rate, or leave the argument out: the schedule is then inferred from the rates."
        )


def _check_parameters(optimizer: torch.optim.Optimizer) -> None:
    if not any(group["params"] for group in optimizer.param_groups):
        raise UsageError(
            f"The {type(optimizer).__name__} has no parameters, so its steps would change nothing. "
            "Fix: create it with the model's parameters."
        )


def check_ownership(optimizer: Any, scheduler: Any) -> None:
    """Check that a scheduler changes this optimizer.

    Raises:
        UsageError: it changes another one.
    """
    other = None if scheduler is None else foreign(optimizer, scheduler)
    if other is not None:
        raise UsageError(
            f"The {type(scheduler).__name__} changes the learning rate of another optimizer (of "
            f"class {type(other).__name__}), not of the tracked {type(optimizer).__name__}. Fix: "
            "create the scheduler with the tracked optimizer."
        )


def trackers(options: Options, settings: Settings) -> list[Tracker]:
    """The trackers to write to: argument, else active runs, else settings, else MLflow.

    Raises:
        UsageError: a name is unknown, or a tracker only reads.
    """
    if options.tracker is not None:
        return _writable(registry.resolve(options.tracker))
    active = [tracker for tracker in map(registry.get, registry.names()) if tracker.active()]
    return active or _writable(registry.resolve(settings.tracker))


def _writable(chosen: list[Tracker]) -> list[Tracker]:
    for tracker in chosen:
        if isinstance(tracker, OnlyReads):
            raise UsageError(f"The tracker {tracker.name!r} only reads runs{tracker.only_reads}")
    return chosen


def identity(options: Options, settings: Settings, active_trackers: list[Tracker]) -> Run:
    """Describe the run of a block with these options."""
    ensemble = ensemble_of(options.optimizer, options.scheduler)
    default = settings.experiment or DEFAULT_EXPERIMENT
    layout, run_id = Layout(settings.directory), uuid.uuid4().hex
    is_thin = (options.wandb_rows or settings.wandb_rows) == THIN
    targets = tuple(
        dataclasses.replace(
            place(options, tracker, layout, run_id, default),
            thin=is_thin and isinstance(tracker, AdvisesRows),
        )
        for tracker in active_trackers
    )
    if active_trackers and options.tracker is None and settings.tracker is None:
        announce(active_trackers, targets)
    experiments = [target.experiment for target in targets if target.experiment]
    schedule = ensemble.schedule()
    device_type, device_name = ensemble.device()
    run = Run(
        id=run_id,
        name=options.name or default_name(options.prefix, schedule.name, options.seed),
        schedule=schedule,
        optimizer=ensemble.optimizer(),
        experiment=experiments[0] if experiments else options.experiment or default,
        group=options.group,
        seed=options.seed,
        config=dict(options.config or {}),
        tags=dict(options.tags or {}),
        prefix=options.prefix,
        device_type=device_type,
        device_name=device_name,
        world_size=world_size(),
        version=lrtrack.__version__,
        torch_version=str(torch.__version__),
        started=time.time(),
        host=host(),
        pid=os.getpid(),
        cwd=str(working_directory()),
        source=sys.argv[0] if sys.argv else "",
        targets=targets,
        kind=options.kind,
        total_steps=options.total_steps,
    )
    arguments.require_readable(run)
    return run
