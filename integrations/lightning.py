"""Lightning: `LRTrack`, a callback that records the optimizers of a Trainer.

    from lrtrack.integrations.lightning import LRTrack

    trainer = Trainer(callbacks=[LRTrack(experiment="digits")])

It supports the package `lightning`, and `pytorch_lightning` if that is installed instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

from lrtrack._optional import load
from lrtrack.capture.accumulation import FixedDivisor
from lrtrack.capture.optimizers import unwrap
from lrtrack.capture.ownership import foreign
from lrtrack.errors import MissingPackage, UsageError, warn
from lrtrack.integrations._callback_runs import CallbackRuns, distinct_prefixes, whole_steps
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.mlflow import MlflowTracker
from lrtrack.tracking import TrackedRun

AT_LEAST = "2.5"


_PACKAGES = {"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch-lightning"}


def _callbacks() -> list[Any]:
    """The base class of the package in use; both base classes if either may be used.

    A Trainer rejects a callback with a state that is not derived from its own package's class.
    """
    bases, missing = [], None
    loaded = [module for module in _PACKAGES if module in sys.modules]
    installed = [module for module in _PACKAGES if find_spec(module.partition(".")[0]) is not None]
    for module in loaded or installed or _PACKAGES:
        package = _PACKAGES[module]
        try:
            bases.append(load(module, "lightning", package, at_least=AT_LEAST).Callback)
        except MissingPackage as error:
            missing = missing or error
    if not bases and missing is not None:
        raise missing
    return bases


class LRTrack(*_callbacks()):  # type: ignore[misc]
    """Records every optimizer of `trainer.fit()`, at each of its steps.

    It writes to the run of the Trainer's `MLFlowLogger` and `WandbLogger` if there are any, else
    where `track()` writes. A fit that resumes from a checkpoint continues the checkpoint's run,
    unless a logger or the user has opened another one by then.

    Several optimizers share the logger's run, else they have a run each, in one `group`. Each has
    a prefix: its scheduler's name in Lightning's configuration, else the submodule that it trains,
    else its class (`"Adam/"`, `"Adam-1/"`). Several schedulers of one optimizer are described as
    one schedule, `Schedulers`.

    In several processes `loss` is the mean over all of them, as `self.log(…, sync_dist=True)` gives
    it; `loss_over=None` records rank 0's.

    With `fast_dev_run`, where Lightning switches off loggers, nothing is recorded.

    Args:
        **options: as for `lrtrack.track()`. By default `seed` is taken from `seed_everything()`,
            `model` and, under automatic optimization, `total_steps` from the Trainer.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value; when training begins, it does not fit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._blocks = CallbackRuns("LRTrack", options)
        self._tracker = options.get("tracker")
        self._tracked: Sequence[TrackedRun] = ()
        self._state: Mapping[str, Any] = {}
        self._at = -1

    @property
    def runs(self) -> list[TrackedRun]:
        """The open runs, in the order of `trainer.optimizers`; none outside the training."""
        return self._blocks.runs

    @property
    def run(self) -> TrackedRun | None:
        """The open run of the first optimizer; None outside the training."""
        return self.runs[0] if self.runs else None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the runs: the optimizers exist now and a checkpoint was loaded."""
        try:
            optimizers = _observable_optimizers(trainer)
            if optimizers and not trainer.fast_dev_run:
                self._begin(trainer, pl_module, optimizers)
        except (UsageError, TypeError):
            raise
        except Exception as error:
            warn(f"lrtrack could not begin: {error!r}. Training continues without a record.")

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that the optimizer's closure runs the last of `accumulate_grad_batches` batches."""
        if pl_module.automatic_optimization:
            self._blocks.accumulate(True)

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Drop the losses so far, which count in no step."""
        self._blocks.accumulate(False)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step of the training by Lightning's own count."""
        self._at = trainer.global_step

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the runs, before the loggers end theirs."""
        self._end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the runs as FAILED."""
        self._end(failed=True)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """End runs that are still open when Lightning leaves."""
        self._end(failed=True)

    def state_dict(self) -> dict[str, Any]:
        """The runs and their numbers of steps, for Lightning's checkpoints."""
        if self._tracked:
            runs = [run.state_dict() for run in self._tracked]
            self._state = {"runs": runs, "global_step": self._at}
        return dict(self._state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume these runs if the next training continues at their step."""
        self._tracked, self._state = (), state_dict

    def _begin(self, trainer: Any, module: Any, optimizers: list[Any]) -> None:
        state = self.state_dict()
        earlier = state["runs"] if state and state["global_step"] == trainer.global_step else []
        if len(earlier) != len(optimizers):
            earlier = [None] * len(optimizers)
        trackers = _trackers(self._tracker, trainer)
        open_ids = _open_runs(trackers)
        resume = [s["id"] if s and (not open_ids or s["id"] in open_ids) else None for s in earlier]
        schedulers = [_scheduler_of(optimizer, trainer) for optimizer in optimizers]
        prefixes = _prefixes(optimizers, trainer, module) if len(optimizers) > 1 else [""]
        seed = os.environ.get("PL_GLOBAL_SEED", "")
        self._tracked = self._blocks.enter(
            zip(optimizers, schedulers, prefixes, strict=True),
            resume=resume,
            tracker=trackers or None,
            group=f"lightning-{uuid4().hex[:8]}" if len(optimizers) > 1 else None,
            seed=int(seed) if seed.isdigit() else None,
            model=module,
            total_steps=_total_steps(trainer, module, continues=any(earlier)),
            loss_over="mean",
        )
        self._blocks.weight_losses(FixedDivisor(lambda: trainer.accumulate_grad_batches))
        self._at = trainer.global_step
        for run, run_state in zip(self._tracked, earlier, strict=True):
            if run_state is not None:
                run.load_state_dict(run_state)

    def _end(self, failed: bool = False) -> None:
        try:
            self._blocks.leave(failed)
        except Exception as error:
            warn(f"lrtrack could not end the run properly: {error!r}.")


class Schedulers:
    """Several schedulers of one optimizer, described as one schedule.

    torch's own `ChainedScheduler` does not accept one that waits for a metric.

    Args:
        schedulers: the schedulers.
    """

    def __init__(self, schedulers: Sequence[Any]) -> None:
        self.schedulers = self._schedulers = list(schedulers)

    def step(self) -> None:
        """Do nothing: Lightning steps each of them itself."""


def _observable_optimizers(trainer: Any) -> list[Any]:
    """The optimizers whose steps can be observed; warns if there are none."""
    if getattr(trainer.strategy, "handles_gradient_accumulation", False):
        name = type(trainer.strategy).__name__
        _warn_on_rank_0(
            trainer,
            f"Under {name} the optimizer steps inside the strategy's own engine, where lrtrack "
            "cannot observe it: nothing is recorded. Fix: use DDP, FSDP or a single device.",
        )
        return []
    optimizers = [optimizer for optimizer in trainer.optimizers if _parameters(optimizer)]
    if not optimizers:
        _warn_on_rank_0(
            trainer,
            "The Trainer has no optimizer, and lrtrack records optimizer steps: nothing is "
            "recorded. Fix: return an optimizer from configure_optimizers().",
        )
    return optimizers


def _total_steps(trainer: Any, module: Any, *, continues: bool) -> int | None:
    """How many steps a run will have, with those before if it continues an earlier one.

    None under manual optimization, and where nothing ends the training but its time.
    """
    if not module.automatic_optimization:
        return None
    try:  # the loader is there by now, so this estimates without loading anything
        total = trainer.estimated_stepping_batches
    except Exception:  # accumulation that changes by epoch, or a loader that has no length
        return None
    return whole_steps(total - (0 if continues else trainer.global_step))


def _trackers(spec: Any, trainer: Any) -> list[Tracker]:
    """The trackers that the user named; else those of loggers and of other open runs."""
    if spec is not None:
        return registry.resolve(spec)
    trackers: list[Tracker] = []
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if _is(logger, "WandbLogger"):
            _ = logger.experiment  # opens the run, which makes it W&B's active run
        elif _is(logger, "MLFlowLogger") and not trackers:
            trackers = [MlflowTracker(join=logger.run_id, uri=logger.experiment.tracking_uri)]
    names = {tracker.name for tracker in trackers}
    others = [registry.get(name) for name in registry.names() if name not in names]
    return trackers + [tracker for tracker in others if tracker.active()]


def _open_runs(trackers: list[Tracker]) -> set[str]:
    """Ids of the runs that would be joined."""
    joinable = [t for t in trackers if isinstance(t, MlflowTracker) or t.active()]
    targets = [tracker.target(None, "lrtrack") for tracker in joinable]
    return {target.run_id for target in targets if target.joined and target.run_id}


def _scheduler_of(optimizer: Any, trainer: Any) -> Any:
    """The schedulers of an optimizer as one object; None if it has none."""
    schedulers = [config.scheduler for config in _configs(optimizer, trainer)]
    return Schedulers(schedulers) if len(schedulers) > 1 else next(iter(schedulers), None)


def _configs(optimizer: Any, trainer: Any) -> list[Any]:
    configs = trainer.lr_scheduler_configs
    return [config for config in configs if foreign(optimizer, config.scheduler) is None]


def _prefixes(optimizers: list[Any], trainer: Any, module: Any) -> list[str]:
    """Prefixes that distinguish the optimizers of one training, the user's names if possible."""
    scheduler_names = [
        next((c.name for c in _configs(o, trainer) if c.name), None) for o in optimizers
    ]
    submodules = [_trained_submodule(optimizer, module) for optimizer in optimizers]
    if len(set(submodules)) < len(submodules):
        submodules = [None] * len(submodules)
    classes = [type(unwrap(optimizer)).__name__ for optimizer in optimizers]
    names = zip(scheduler_names, submodules, classes, strict=True)
    return distinct_prefixes(a or b or c for a, b, c in names)


def _trained_submodule(optimizer: Any, module: Any) -> str | None:
    """The name of the submodule that holds all parameters of an optimizer; None if none does."""
    parameters = _parameters(optimizer)
    for name, child in module.named_children():
        if parameters <= {id(parameter) for parameter in child.parameters()}:
            return str(name)
    return None


def _parameters(optimizer: Any) -> set[int]:
    return {id(p) for group in unwrap(optimizer).param_groups for p in group["params"]}


def _is(logger: Any, name: str) -> bool:
    """Whether a logger's class is, or derives from, Lightning's of that name, in either package."""
    return any(cls.__name__ == name for cls in type(logger).__mro__)


def _warn_on_rank_0(trainer: Any, message: str) -> None:
    if trainer.is_global_zero:
        warn(message)
