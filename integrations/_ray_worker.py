"""The part of the Ray integration that runs in Ray's workers."""

from __future__ import annotations

import atexit
import functools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

import lrtrack
from lrtrack._optional import load
from lrtrack.errors import UsageError
from lrtrack.integrations._callback_runs import CallbackRuns
from lrtrack.integrations._ray_driver import Driver
from lrtrack.integrations._ray_trial import Trial
from lrtrack.settings import work_from
from lrtrack.tracking import TrackedRun

tune: Any = load("ray.tune", extra="ray", at_least="2.43")

#: The file name of a checkpoint's state.
_STATE = "state.pt"


_trial: ContextVar[Trial | None] = ContextVar("lrtrack_ray_trial", default=None)


def with_tracking(train: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Wrap `train` for Ray's workers, so that its runs go where this program's runs go.

    Args:
        train: a function for `tune.Tuner` or `TorchTrainer`. Apply Ray's `tune.with_resources` to
            the result, and `tune.with_parameters` to `train`.
        **options: options of `lrtrack.track()`, for all `track()` blocks in `train`.

    Raises:
        TypeError: `train` is not a function, or an option does not exist.
        UsageError: an option has an invalid value.
    """
    if isinstance(train, type) or not callable(train):
        raise TypeError(f"with_tracking() takes a function, as Ray Tune does, not {train!r}.")
    CallbackRuns("with_tracking", options)  # checks the options
    driver = Driver.here()

    @functools.wraps(train)
    def tracked(*config: Any) -> Any:
        return _run(train, driver, options, config)

    return tracked


def _run(
    train: Callable[..., Any], driver: Driver, options: Mapping[str, Any], config: tuple[Any, ...]
) -> Any:
    driver.apply(options.get("tracker"))
    trial = Trial(config[0] if config else {}, options)
    token = _trial.set(trial)
    atexit.register(trial.wait_if_stopped)
    try:
        return train(*config)
    finally:
        _trial.reset(token)
        work_from(None)
        trial.end()
        atexit.unregister(trial.wait_if_stopped)


@contextmanager
def track(
    optimizer: Any,
    scheduler: Any = None,
    *,
    checkpoint: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[TrackedRun]:
    """`lrtrack.track()` inside a function that `with_tracking` or `sweep` runs.

    By default the run has the trial's name, seed and config, and its group is the sweep's name.
    When the block ends without an exception, Ray Tune gets the run's `summary()` as the trial's
    result: `loss_final`, `loss_best` and the last value of each recorded or logged metric
    (`run.log(val_loss=…)`). Outside Ray it is the same as `lrtrack.track()`.

    Args:
        optimizer, scheduler: as for `lrtrack.track()`.
        checkpoint: the parts of the training by name, objects with `state_dict()` and
            `load_state_dict()`. `report` saves them, and an interrupted trial resumes from there
            in the same run: begin the loop at `run.step + 1`.
        **options: as for `lrtrack.track()`.

    Raises:
        TypeError, UsageError: as `lrtrack.track()`.
    """
    trial = _trial.get()
    if trial is None:
        with lrtrack.track(optimizer, scheduler, **options) as run:
            yield run
        return
    defaults, run_state = trial.track_options(), _restore(trial, checkpoint or {})
    if run_state is not None:
        defaults["resume"] = run_state["id"]
    options = {**defaults, **options}
    exited: SystemExit | None = None
    with lrtrack.track(optimizer, scheduler, **options) as run:
        if run_state is not None:
            run.load_state_dict(run_state)
        trial.runs.append(run)
        try:
            yield run
        except SystemExit as error:
            if error.code or run.step + 1 < (options.get("total_steps") or math.inf):
                raise
            exited = error  # it has made all its steps
    if exited is not None:
        raise exited
    if trial.context is not None:
        trial.exit_if_stopped()
        trial.metrics |= {**run.summary(), "step": run.step + 1, "lrtrack_run_id": run.id}
        tune.report(trial.metrics)


def _restore(trial: Trial, checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Restore the trial's last checkpoint, and return the state of this block's run in it."""
    trial.checkpointed |= checkpoint
    saved = tune.get_checkpoint() if trial.context is not None and checkpoint else None
    if saved is None:
        return None
    with saved.as_directory() as folder:
        # Ray's own files beside it are pickles, too: whoever can write there can run any code.
        state = torch.load(Path(folder) / _STATE, weights_only=False, map_location="cpu")
    for name, item in checkpoint.items():
        item.load_state_dict(state["kept"][name])
    index = len(trial.runs)
    return dict(state["runs"][index]) if index < len(state["runs"]) else None


def report(run: TrackedRun, *, every: int) -> None:
    """Report the trial's metrics to Ray Tune at each `every`-th step; outside Ray do nothing.

    Call it after each optimizer step. The metrics are those of `track`, with `loss` as the mean
    over the last `every` steps, and `step`, the number of steps so far, which schedulers can use as
    their time (`time_attr="step"`). At other steps it reads nothing, so it does not wait for a GPU.
    If a scheduler or a stopping criterion of Ray stops the trial, `SystemExit` is raised at its
    next optimizer step or report, and the run is FAILED, as it was not completed. It is FINISHED if
    there is no such step, or all `total_steps` are done.

    Args:
        run: the run that `track` returned.
        every: steps between two reports.

    Raises:
        UsageError: `every` is under 1.
    """
    if every < 1:
        raise UsageError(f"every is a number of steps, at least 1; got {every}.")
    trial = _trial.get()
    if trial is None or trial.context is None:
        return
    trial.exit_if_stopped()
    if run.step < 0 or (run.step + 1) % every:
        return
    trial.metrics |= {**run.summary(), "step": run.step + 1}
    loss = run.loss(last=every)
    if loss is not None:
        trial.metrics["loss"] = loss
    if not trial.checkpointed:
        trial.report()
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(trial.state(), Path(folder) / _STATE)
        trial.report(checkpoint=tune.Checkpoint.from_directory(folder))
