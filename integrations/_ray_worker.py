"""What of the Ray integration runs in Ray's workers, and what it takes with it there."""

from __future__ import annotations

import functools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import lrtrack
from lrtrack._optional import load
from lrtrack.errors import UsageError, warn
from lrtrack.integrations._callback_runs import CallbackRuns
from lrtrack.journal.layout import host
from lrtrack.schedules.catalogue import KINDS
from lrtrack.settings import redact, work_from, working_directory
from lrtrack.shipping.spawn import stand_apart
from lrtrack.tracking import TrackedRun

tune: Any = load("ray.tune", extra="ray", at_least="2.43")

#: Variables that say where runs go, and hold no credentials.
_HANDED_ON = (
    *("LRTRACK_DIR", "LRTRACK_TRACKER", "LRTRACK_SHIPPER_IDLE"),
    "XDG_STATE_HOME",  # whose key signs journals: the driver reads them, too
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"),
    *("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_BASE_URL", "WANDB_DIR"),
)
#: The file of a checkpoint.
_STATE = "state.pt"


@dataclass(frozen=True)
class _Driver:
    """The program that starts the sweep: where runs of its own would go."""

    directory: str
    host: str
    environment: Mapping[str, str]

    @classmethod
    def here(cls) -> _Driver:
        found = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        open_ones = {name: value for name, value in found.items() if redact(value) == value}
        return cls(str(working_directory()), host(), open_ones)

    def stand_in(self) -> None:
        """Have this process, a worker of Ray's, find what the driver would."""
        stand_apart()
        os.environ.update(self.environment)
        place = Path(self.directory)
        work_from(place if os.access(place, os.W_OK | os.X_OK) else Path.home())
        journals = Path(self.environment.get("LRTRACK_DIR", "")).expanduser()
        try:
            (working_directory() / journals).mkdir(parents=True, exist_ok=True)
        except OSError:  # a path of the driver's machine: this one has its own
            os.environ.pop("LRTRACK_DIR", None)
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        tracker = os.environ.get("LRTRACK_TRACKER", "mlflow")
        if host() != self.host and "mlflow" in tracker and not uri.startswith("http"):
            warn(
                f"this trial runs on {host()} and the sweep was started on {self.host}: its run "
                "goes to a store on this machine. Have MLFLOW_TRACKING_URI name a server that both "
                "reach."
            )


@dataclass
class _Trial:
    """What a worker of Ray's knows of its trial."""

    config: Mapping[str, Any]
    options: Mapping[str, Any]
    runs: list[TrackedRun] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def context(self) -> Any:
        """Of Ray Tune; None in a worker of Ray Train."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context = tune.get_context()
            # In older releases Ray Train's workers are part of a trial, too, and have ranks.
            alone = context.get_trial_id() is not None and context.get_world_rank() is None
            return context if alone else None

    def found(self) -> dict[str, Any]:
        """The options of `lrtrack.track()` that Ray knows, with what the user said before."""
        config = {key: value for key, value in self.config.items() if not _decides(key, value)}
        seed = config.pop("seed", None)
        found: dict[str, Any] = {"config": config}
        if isinstance(seed, int):
            found["seed"] = seed
        if self.context is not None:
            found["name"] = self.context.get_trial_name()
            found["group"] = self.context.get_experiment_name()
            found["tags"] = {"ray.trial_id": self.context.get_trial_id()}
        return {**found, **self.options}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        kept = {name: each.state_dict() for name, each in self.kept.items()}
        return {"runs": [run.state_dict() for run in self.runs], "kept": kept}


_trial: ContextVar[_Trial | None] = ContextVar("lrtrack_ray_trial", default=None)


def _decides(key: str, value: Any) -> bool:
    """Whether a key of a trial's config only says what its schedule is."""
    kind = key if key in KINDS else key.rpartition("_")[0]  # as `group_of` calls it
    return key == "schedule" or (isinstance(value, Mapping) and kind in KINDS)


def with_tracking(train: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`train` for Ray's workers, with its runs going where this program's would.

    Args:
        train: a function for `tune.Tuner` or `TorchTrainer`; Ray's `tune.with_resources` goes
            around the result, `tune.with_parameters` inside of it.
        **options: of `lrtrack.track()`, for all `track()` blocks in `train`.

    Raises:
        TypeError: it is no function, or an option does not exist.
        UsageError: an option has a value that does not exist.
    """
    if isinstance(train, type) or not callable(train):
        raise TypeError(f"with_tracking() takes a function, as Ray Tune's, not {train!r}")
    CallbackRuns("with_tracking", options)  # for its checks
    driver = _Driver.here()

    @functools.wraps(train)
    def tracked(*config: Any) -> Any:
        return _run(train, driver, options, config)

    return tracked


def _run(
    train: Callable[..., Any], driver: _Driver, options: Mapping[str, Any], config: tuple[Any, ...]
) -> Any:
    driver.stand_in()
    token = _trial.set(_Trial(config[0] if config else {}, options))
    try:
        return train(*config)
    finally:
        _trial.reset(token)
        work_from(None)


@contextmanager
def track(
    optimizer: Any,
    scheduler: Any = None,
    *,
    checkpoint: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[TrackedRun]:
    """`lrtrack.track()` inside of a function that `with_tracking` or `sweep` runs.

    Unless `options` say otherwise, the run's name is the trial's, its group the sweep's name, its
    seed and config those of the trial. When the block ends well, Ray Tune gets the run's
    `summary()` as the trial's result: `loss_final`, `loss_best` and the last value of all that was
    recorded or logged (`run.log(val_loss=…)`). Outside of Ray it is `lrtrack.track()`.

    Args:
        optimizer, scheduler: as for `lrtrack.track()`.
        checkpoint: what makes up the training, by name: objects with `state_dict()` and
            `load_state_dict()`. `report` then keeps them, and a trial that was interrupted goes on
            from there in the same run: begin the loop at `run.step + 1`.
        **options: as for `lrtrack.track()`.

    Raises:
        TypeError, UsageError: as `lrtrack.track()`.
    """
    trial = _trial.get()
    if trial is None:
        with lrtrack.track(optimizer, scheduler, **options) as run:
            yield run
        return
    found, before = trial.found(), _restored(trial, checkpoint or {})
    if before is not None:
        found["resume"] = before["id"]
    with lrtrack.track(optimizer, scheduler, **{**found, **options}) as run:
        if before is not None:
            run.load_state_dict(before)
        trial.runs.append(run)
        yield run
    if trial.context is not None:
        trial.metrics |= {**run.summary(), "step": run.step + 1, "lrtrack_run_id": run.id}
        tune.report(trial.metrics)


def _restored(trial: _Trial, checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Put back what the trial's last checkpoint has; what it says of this block's run."""
    trial.kept |= checkpoint
    saved = tune.get_checkpoint() if trial.context is not None and checkpoint else None
    if saved is None:
        return None
    with saved.as_directory() as folder:
        # Ray's own files beside it are pickles, too: whoever writes there may run what he likes.
        state = torch.load(Path(folder) / _STATE, weights_only=False, map_location="cpu")
    for name, each in checkpoint.items():
        each.load_state_dict(state["kept"][name])
    at = len(trial.runs)
    return dict(state["runs"][at]) if at < len(state["runs"]) else None


def report(run: TrackedRun, *, every: int) -> None:
    """Tell Ray Tune, at each `every`-th step, how the trial goes; elsewhere do nothing.

    To be called after each optimizer step. The metrics are those of `track`, with `loss` as the
    mean over the last `every` steps, and `step`, the number of steps made, which schedulers may
    take for their time (`time_attr="step"`). At other steps nothing is read, so that no GPU is
    waited for. Where a scheduler of Ray's stops the trial, Ray leaves from here by `SystemExit`,
    and the run is FAILED: it did not come to its end.

    Args:
        run: what `track` gave.
        every: steps between two reports.

    Raises:
        UsageError: `every` is under 1.
    """
    if every < 1:
        raise UsageError(f"every is a number of steps, at least 1; got {every}")
    trial = _trial.get()
    if trial is None or trial.context is None or run.step < 0 or (run.step + 1) % every:
        return
    trial.metrics |= {**run.summary(), "step": run.step + 1}
    loss = run.loss(last=every)
    if loss is not None:
        trial.metrics["loss"] = loss
    if not trial.kept:
        tune.report(trial.metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(trial.state(), Path(folder) / _STATE)
        tune.report(trial.metrics, checkpoint=tune.Checkpoint.from_directory(folder))
