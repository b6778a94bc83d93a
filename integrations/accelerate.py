"""accelerate: `Accelerator(log_with=LRTrack())`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from lrtrack._optional import load
from lrtrack.capture.accumulation import FixedDivisor
from lrtrack.capture.belonging import foreign
from lrtrack.capture.optimizers import unwrap
from lrtrack.errors import UsageError, warn
from lrtrack.integrations._blocks import Blocks, told_apart
from lrtrack.integrations._engines import observable
from lrtrack.tracking import TrackedRun

_tracking: Any = load("accelerate.tracking", extra="accelerate", at_least="1.8")

#: Measured at each step already; loops log the rate when the scheduler has moved it on.
_OURS = ("lr", "grad_norm", "grad_norm_preclip", "momentum")


class LRTrack(_tracking.GeneralTracker):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each step of a prepared optimizer.

        accelerator = Accelerator(log_with=LRTrack())
        model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
        accelerator.init_trackers("experiment", config={"batch_size": 64})

    `init_trackers`, after `prepare`, begins the run, `end_training` ends it, and what
    `accelerator.log` is given is recorded at the optimizer step just done. Of several trackers
    name this one last: a run that another of them opens in MLflow or W&B is joined. Several
    optimizers have their class's name before their metrics' names.

    accelerate has trackers in its main process only. Under FSDP2 all processes have to observe:
    use `with lrtrack.track(optimizer, scheduler)` there, with what `prepare` has returned.

    Attributes:
        run: the run of the (first) optimizer, open or ended; None before.

    Args:
        optimizer: what is observed, with `scheduler`; None: all that is prepared.
        scheduler: the optimizer's.
        **options: those of `lrtrack.track()`. Where nothing is said, `init_trackers` gives
            `experiment` and `config`.

    Raises:
        TypeError: an option that does not exist.
        UsageError: a value that does not exist; by `init_trackers`, that nothing is prepared.
    """

    name = "lrtrack"
    requires_logging_directory = False

    def __init__(self, optimizer: Any = None, scheduler: Any = None, **options: Any) -> None:
        super().__init__()
        self._blocks = Blocks("LRTrack", options)
        self._pair = (optimizer, scheduler, "")
        self._accelerator: Any = None
        self._experiment: str | None = None
        self.run: TrackedRun | None = None

    @property
    def tracker(self) -> TrackedRun | None:
        """What `accelerator.get_tracker("lrtrack", unwrap=True)` returns: the run."""
        return self.run

    def start(self) -> None:
        """Begin, unless a configuration is still to come."""
        found = _init_trackers(self)
        self._accelerator = found.get("self")
        self._experiment = found.get("project_name")
        if found.get("config") is None:
            self._begin({})

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Begin with this configuration."""
        if self._blocks.runs:
            warn("LRTrack: the run has begun, so its configuration is not added to.")
        else:
            self._begin(values)

    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record metrics at the optimizer step just done, whatever the loop counts in `step`."""
        for run in self._blocks.runs[:1]:
            run.log({name: value for name, value in values.items() if name not in _OURS})

    def finish(self) -> None:
        """End the run."""
        self._blocks.leave()

    def _begin(self, config: Mapping[str, Any]) -> None:
        accelerator = self._accelerator
        optimizers = list(getattr(accelerator, "_optimizers", ()))
        schedulers = list(getattr(accelerator, "_schedulers", ()))
        pairs = [self._pair] if self._pair[0] is not None else list(_pairs(optimizers, schedulers))
        if not pairs:
            raise UsageError(
                "LRTrack has no optimizer to observe: call accelerator.init_trackers() after "
                "accelerator.prepare(optimizer, …), or give LRTrack(optimizer, scheduler)"
            )
        models = getattr(accelerator, "_models", ())
        if all(observable("LRTrack", optimizer, models) for optimizer, _, _ in pairs):
            found: dict[str, Any] = {"experiment": self._experiment, "config": config}
            for run in self._blocks.enter(pairs, **found)[:1]:
                self.run = run
            batches = lambda: getattr(accelerator, "gradient_accumulation_steps", 1)  # noqa: E731
            self._blocks.weight_losses(FixedDivisor(batches))


def _init_trackers(tracker: LRTrack) -> dict[str, Any]:
    """What `Accelerator.init_trackers` was called with, which it does not tell such trackers."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        trackers = getattr(frame.f_locals.get("self"), "trackers", ())
        if "project_name" in frame.f_locals and any(each is tracker for each in trackers):
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def _pairs(optimizers: Iterable[Any], schedulers: Iterable[Any]) -> Iterator[tuple[Any, Any, str]]:
    """Each optimizer, the scheduler that moves it, and what its metrics begin with."""
    optimizers = list(optimizers)
    inners = [unwrap(optimizer) for optimizer in optimizers]
    prefixes = told_apart(type(inner).__name__ for inner in inners)
    for optimizer, inner, prefix in zip(optimizers, inners, prefixes, strict=True):
        fitting = [each for each in schedulers if foreign(optimizer, each) is None]
        if not fitting and hasattr(inner.step, "_wrapped_by_lr_sched"):  # torch's own mark
            warn(
                f"LRTrack: the {type(inner).__name__} has a scheduler that did not go through "
                "prepare(), so that its name and parameters are not known; its learning rates are "
                "recorded. Prepare it, or give LRTrack(optimizer, scheduler)."
            )
        yield optimizer, next(iter(fitting), None), prefix if len(optimizers) > 1 else ""
