"""What Lightning's Trainer knows of the training that its callback records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lrtrack.capture.describe import describe
from lrtrack.capture.optimizers import unwrap
from lrtrack.capture.ownership import foreign
from lrtrack.errors import warn
from lrtrack.integrations._callback_runs import distinct_prefixes, whole_steps
from lrtrack.integrations._class_names import derives_from
from lrtrack.records import STEP_METRICS
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.mlflow import MlflowTracker

#: Metrics that a user's own may meet in one run.
_OURS = (*STEP_METRICS, "loss", "loss_best", "loss_final")


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


def observable_optimizers(trainer: Any) -> list[Any]:
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


def total_steps(trainer: Any, module: Any, *, counts_all: bool) -> int | None:
    """How many steps a run will have, with those before it if `counts_all`.

    None under manual optimization, and where nothing ends the training but its time.
    """
    if not module.automatic_optimization:
        return None
    try:  # the loader is there by now, so this estimates without loading anything
        total = trainer.estimated_stepping_batches
        if _ends_with_batch_norm(trainer) and trainer.max_steps < 0:
            total = total * (trainer.max_epochs - 1) // trainer.max_epochs + 1
    except Exception:  # accumulation that changes by epoch, or a loader that has no length
        return None
    return whole_steps(total - (0 if counts_all else trainer.global_step))


def _ends_with_batch_norm(trainer: Any) -> bool:
    """Whether weight averaging has added an epoch for batch norms, which makes one step."""
    return any(
        getattr(callback, "_model_contains_batch_norm", False)
        and derives_from(callback, "StochasticWeightAveraging")
        for callback in trainer.callbacks
    )


def setup(optimizer: Any, scheduler: Any) -> tuple[str, float, str]:
    """What tells an optimizer and its schedule from those of another training.

    Returns:
        The optimizer's class, its rate before any schedule, and the schedule's id.
    """
    inner = unwrap(optimizer)
    group = inner.param_groups[0]
    rate = float(group.get("initial_lr", group["lr"]))
    return type(inner).__name__, rate, describe(scheduler).id


def trackers(spec: Any, trainer: Any) -> list[Tracker]:
    """The trackers that the user named; else those of loggers and of other open runs."""
    if spec is not None:
        return registry.resolve(spec)
    trackers: list[Tracker] = []
    for logger in trainer.loggers if trainer.is_global_zero else ():
        if derives_from(logger, "WandbLogger"):
            _ = logger.experiment  # opens the run, which makes it W&B's active run
        elif derives_from(logger, "MLFlowLogger") and not trackers:
            trackers = [MlflowTracker(join=logger.run_id, uri=logger.experiment.tracking_uri)]
    names = {tracker.name for tracker in trackers}
    others = [registry.get(name) for name in registry.names() if name not in names]
    return trackers + [tracker for tracker in others if tracker.active()]


def joinable(trackers: list[Tracker]) -> list[Tracker]:
    """Those of the trackers in which the user, or a logger, may have a run open."""
    return [
        tracker for tracker in trackers if isinstance(tracker, MlflowTracker) or tracker.active()
    ]


def scheduler_of(optimizer: Any, trainer: Any) -> Any:
    """The schedulers of an optimizer as one object; None if it has none."""
    schedulers = [config.scheduler for config in _configs(optimizer, trainer)]
    return Schedulers(schedulers) if len(schedulers) > 1 else next(iter(schedulers), None)


def _configs(optimizer: Any, trainer: Any) -> list[Any]:
    configs = trainer.lr_scheduler_configs
    return [config for config in configs if foreign(optimizer, config.scheduler) is None]


def prefixes(optimizers: list[Any], trainer: Any, module: Any) -> list[str]:
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


def _warn_on_rank_0(trainer: Any, message: str) -> None:
    if trainer.is_global_zero:
        warn(message)


def shared_metrics(trainer: Any, prefixes: Iterable[str]) -> list[str]:
    """Names under which the user's own metrics and ours are in one run of a logger.

    Args:
        trainer: the Trainer, in a hook that follows the module's `self.log()`.
        prefixes: those of the runs.
    """
    kinds = ("MLFlowLogger", "WandbLogger")
    if not any(derives_from(logger, kind) for logger in trainer.loggers for kind in kinds):
        return []
    ours = {f"{prefix}{name}" for prefix in prefixes for name in _OURS}
    return sorted(ours & (trainer.logged_metrics.keys() | _to_be_logged(trainer)))


def _to_be_logged(trainer: Any) -> set[str]:
    """What `self.log()` has been given for the loggers; they get it later, at some steps only."""
    names = set()
    for result in (getattr(trainer, "_results", None) or {}).values():
        meta: Any = getattr(result, "meta", None)
        if getattr(meta, "logger", False):
            forms = [on for on in (True, False) if (meta.on_step if on else meta.on_epoch)]
            names |= {meta.forked_name(on) for on in forms}
    return names
