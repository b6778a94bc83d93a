"""Lightning: `LRTrack`, a callback that tracks the optimizers of a Trainer.

    from lrtrack.integrations.lightning import LRTrack

    trainer = Trainer(callbacks=[LRTrack(experiment="digits")])

Made for the package `lightning`, and for `pytorch_lightning` where that is what is there.
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
from lrtrack.integrations._callback_runs import CallbackRuns, distinct_prefixes
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.mlflow import MlflowTracker
from lrtrack.tracking import TrackedRun

AT_LEAST = "2.5"


_PACKAGES = {"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch-lightning"}


def _callbacks() -> list[Any]:
    """The base class of the package in use; both, where nobody can tell which that will be.

    A Trainer takes no callback that keeps a state and is not made from its own package's class.
    """
    found, refused = [], None
    loaded = [module for module in _PACKAGES if module in sys.modules]
    there = [module for module in _PACKAGES if find_spec(module.partition(".")[0]) is not None]
    for module in loaded or there or _PACKAGES:
        package = _PACKAGES[module]
        try:
            found.append(load(module, "lightning", package, at_least=AT_LEAST).Callback)
        except MissingPackage as error:
            refused = refused or error
    if not found and refused is not None:
        raise refused
    return found


class LRTrack(*_callbacks()):  # type: ignore[misc]
    """Tracks every optimizer of `trainer.fit()`, at each of its steps.

    Goes to the run of the Trainer's `MLFlowLogger` and `WandbLogger` where there are such, else
    where `track()` goes. A fit that goes on from a checkpoint goes on in the run that the
    checkpoint tells of, unless a logger or the user has opened another one by then.

    Several optimizers share the logger's run, else have a run each, of one `group`; each has a
    prefix: its scheduler's name in Lightning's configuration, else the submodule that it trains,
    else its class (`"Adam/"`, `"Adam-1/"`). Several schedulers of one optimizer are described as
    one schedule, `Schedulers`.

    With `fast_dev_run`, where Lightning switches off loggers, nothing is recorded.

    Args:
        **options: as for `lrtrack.track()`. Of these `seed` is taken from `seed_everything()` and
            `model` from the Trainer, where they are not given.

    Raises:
        TypeError: an option that does not exist.
        UsageError: a value that does not exist; where the training begins, one that does not fit.
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
        """Begin: the optimizers are there, and are where a checkpoint has left them."""
        try:
            observable = _observable(trainer)
            if observable and not trainer.fast_dev_run:
                self._begin(trainer, pl_module, observable)
        except (UsageError, TypeError):
            raise
        except Exception as error:
            warn(f"lrtrack could not begin: {error!r}. Training goes on without a record.")

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """A closure given to the optimizer is the last of `accumulate_grad_batches`."""
        if pl_module.automatic_optimization:
            self._blocks.accumulate(True)

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """What was seen until now counts in no step."""
        self._blocks.accumulate(False)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note where the training is, by Lightning's own count."""
        self._at = trainer.global_step

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the runs, before the loggers end theirs."""
        self._end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the runs as FAILED."""
        self._end(failed=True)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """End what Lightning has left without a word."""
        self._end(failed=True)

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints: the runs, and how many steps they have made."""
        if self._tracked:
            runs = [run.state_dict() for run in self._tracked]
            self._state = {"runs": runs, "global_step": self._at}
        return dict(self._state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with these runs, if the next training goes on where they are."""
        self._tracked, self._state = (), state_dict

    def _begin(self, trainer: Any, module: Any, optimizers: list[Any]) -> None:
        state = self.state_dict()
        earlier = state["runs"] if state and state["global_step"] == trainer.global_step else []
        if len(earlier) != len(optimizers):
            earlier = [None] * len(optimizers)
        trackers = _trackers(self._tracker, trainer)
        there = _open_runs(trackers)
        resume = [s["id"] if s and (not there or s["id"] in there) else None for s in earlier]
        schedulers = [_scheduler_of(each, trainer) for each in optimizers]
        prefixes = _prefixes(optimizers, trainer, module) if len(optimizers) > 1 else [""]
        seed = os.environ.get("PL_GLOBAL_SEED", "")
        self._tracked = self._blocks.enter(
            zip(optimizers, schedulers, prefixes, strict=True),
            resume=resume,
            tracker=trackers or None,
            group=f"lightning-{uuid4().hex[:8]}" if len(optimizers) > 1 else None,
            seed=int(seed) if seed.isdigit() else None,
            model=module,
        )
        self._blocks.weight_losses(FixedDivisor(lambda: trainer.accumulate_grad_batches))
        self._at = trainer.global_step
        for run, before in zip(self._tracked, earlier, strict=True):
            if before is not None:
                run.load_state_dict(before)

    def _end(self, failed: bool = False) -> None:
        try:
            self._blocks.leave(failed)
        except Exception as error:
            warn(f"lrtrack could not end the run well: {error!r}")


class Schedulers:
    """Several schedulers that move one optimizer, each in its time, to be described as one.

    torch's own `ChainedScheduler` takes none that waits for a metric.

    Args:
        schedulers: of one optimizer.
    """

    def __init__(self, schedulers: Sequence[Any]) -> None:
        self.schedulers = self._schedulers = list(schedulers)

    def step(self) -> None:
        """Do nothing: Lightning steps each of them by itself."""


def _observable(trainer: Any) -> list[Any]:
    """The optimizers whose steps can be seen; says what cannot, where that is all."""
    if getattr(trainer.strategy, "handles_gradient_accumulation", False):
        name = type(trainer.strategy).__name__
        _say(
            trainer,
            f"Under {name} the optimizer steps inside the strategy's own engine, where lrtrack "
            "sees neither learning rate nor gradients nor loss: nothing is recorded. DDP, FSDP "
            "and single devices are observed.",
        )
        return []
    found = [each for each in trainer.optimizers if _parameters(each)]
    if not found:
        _say(
            trainer,
            "The Trainer has no optimizer: lrtrack records optimizer steps, so that nothing is "
            "recorded. To have some, return an optimizer from configure_optimizers().",
        )
    return found


def _trackers(asked: Any, trainer: Any) -> list[Tracker]:
    """What the user has asked for; else the runs of loggers, and others that are open."""
    if asked is not None:
        return registry.resolve(asked)
    found: list[Tracker] = []
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if _is(logger, "WandbLogger"):
            _ = logger.experiment  # opened, so that it is W&B's active run
        elif _is(logger, "MLFlowLogger") and not found:
            found = [MlflowTracker(join=logger.run_id, uri=logger.experiment.tracking_uri)]
    names = {tracker.name for tracker in found}
    others = [registry.get(name) for name in registry.names() if name not in names]
    return found + [tracker for tracker in others if tracker.active()]


def _open_runs(trackers: list[Tracker]) -> set[str]:
    """Ids of the runs that would be joined."""
    joinable = [each for each in trackers if isinstance(each, MlflowTracker) or each.active()]
    targets = [tracker.target(None, "lrtrack") for tracker in joinable]
    return {target.run_id for target in targets if target.joined and target.run_id}


def _scheduler_of(optimizer: Any, trainer: Any) -> Any:
    """The schedulers that move an optimizer, as one; None where nothing does."""
    found = [each.scheduler for each in _configs(optimizer, trainer)]
    return Schedulers(found) if len(found) > 1 else next(iter(found), None)


def _configs(optimizer: Any, trainer: Any) -> list[Any]:
    configs = trainer.lr_scheduler_configs
    return [each for each in configs if foreign(optimizer, each.scheduler) is None]


def _prefixes(optimizers: list[Any], trainer: Any, module: Any) -> list[str]:
    """What tells the optimizers of one training apart, in the words of its user if possible."""
    named = [next((c.name for c in _configs(o, trainer) if c.name), None) for o in optimizers]
    trained = [_trained(each, module) for each in optimizers]
    if len(set(trained)) < len(trained):
        trained = [None] * len(trained)
    classes = [type(unwrap(each)).__name__ for each in optimizers]
    return distinct_prefixes(a or b or c for a, b, c in zip(named, trained, classes, strict=True))


def _trained(optimizer: Any, module: Any) -> str | None:
    """The name of the one submodule that all of an optimizer's parameters belong to."""
    parameters = _parameters(optimizer)
    for name, child in module.named_children():
        if parameters <= {id(parameter) for parameter in child.parameters()}:
            return str(name)
    return None


def _parameters(optimizer: Any) -> set[int]:
    return {id(each) for group in unwrap(optimizer).param_groups for each in group["params"]}


def _is(logger: Any, name: str) -> bool:
    """Whether it is Lightning's logger of that name, of either package, or made from it."""
    return any(cls.__name__ == name for cls in type(logger).__mro__)


def _say(trainer: Any, message: str) -> None:
    if trainer.is_global_zero:
        warn(message)
