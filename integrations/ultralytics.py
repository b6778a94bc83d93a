"""Ultralytics: `LRTrack().attach(model)`, then `model.train(…)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from torch.optim.lr_scheduler import LambdaLR

from lrtrack._optional import load
from lrtrack.integrations._callback_options import Copied, with_signature
from lrtrack.integrations._callback_runs import CallbackRuns, whole_steps
from lrtrack.integrations._wrapping import end_when_left
from lrtrack.schedules import Schedule
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.closing import run_all

# Earlier releases have another warm-up, of at least 100 batches.
_engine: Any = load("ultralytics.engine.trainer", extra="ultralytics", at_least="8.4.103")

#: Arguments of a training that become `config`, where they are set.
_SETTINGS = (
    "task", "data", "imgsz", "batch", "nbs", "epochs", "time", "cos_lr", "close_mosaic", "freeze",
    "amp", "fraction", "dropout",
)  # fmt: skip


class LRTrack(Copied):
    """Records learning rate, gradient norms and loss at each optimizer step of a YOLO training.

        model = YOLO("yolo11n.yaml")
        LRTrack(experiment="detection").attach(model)
        model.train(data="coco8.yaml", epochs=3)

    `attach` adds functions to the model's callbacks; each `train()` after it is a run. The loss is
    the mean over the batches that Ultralytics accumulates for a step, of which there are fewer at
    the beginning. The metrics of each epoch's training and validation are logged at its last step.
    The run that Ultralytics' own MLflow or W&B callback opens is joined. Most releases tell
    callbacks of no exception, so the first `LRTrack` wraps the trainers' `train`: if one leaves it,
    Ctrl-C included, the run ends as FAILED.

    The schedule is Ultralytics' own, with its warm-up: a scheduler object exists, but the trainer
    moves the rates beside it.

    Attributes:
        run: the run of the current or the last training; None before the first.

    Args:
        **options: options of `lrtrack.track()`. By default `seed`, `model`, `total_steps` and
            `config` are those of the training.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value.
    """

    OF_RUNS: ClassVar[Mapping[str, Any]] = {"run": None, "_logged": -1}

    @with_signature()
    def __init__(self, **options: Any) -> None:
        self._blocks = CallbackRuns("LRTrack", options)
        self._logged = -1
        self.run: TrackedRun | None = None
        self._wrap()

    def _wrap(self) -> None:
        end_when_left(_engine.BaseTrainer, "train", _ends_of)

    def attach(self, model: Any) -> LRTrack:
        """Record the trainings of a `YOLO` model, or of a trainer.

        Raises:
            TypeError: it is neither.
        """
        add = getattr(model, "add_callback", None)
        if add is None:
            raise TypeError(
                f"attach() expects an Ultralytics model or trainer, got {type(model).__name__}. "
                "Fix: pass the YOLO object whose train() you call."
            )
        add("on_train_start", self._started)
        add("on_fit_epoch_end", self._epoch_ended)
        add("on_train_end", self._ended)
        add("teardown", self._torn_down)
        return self

    def _started(self, trainer: Any) -> None:
        self._logged, self.run = -1, None
        for run in self._blocks.enter(
            [(trainer.optimizer, _schedule(trainer), "")],
            seed=trainer.args.seed,
            model=trainer.model,
            config=_config(trainer.args),
            total_steps=_steps(trainer),
        ):
            self.run = run
        self._blocks.weight_losses(_mean)

    def _epoch_ended(self, trainer: Any) -> None:
        if trainer.epoch == self._logged:  # the final validation, of the best weights
            return
        self._logged = trainer.epoch
        metrics = dict(trainer.metrics or {})
        if trainer.tloss is not None:
            metrics |= trainer.label_loss_items(trainer.tloss, prefix="train")
        for run in self._blocks.runs:
            run.log(metrics)

    def _ended(self, trainer: Any) -> None:
        self._blocks.leave()

    def _torn_down(self, trainer: Any) -> None:
        run_all([self._end])

    def _end(self) -> None:
        """End a run as FAILED whose training was left by an exception."""
        self._blocks.leave(failed=True)


def _ends_of(trainer: Any) -> Iterator[Callable[[], object]]:
    """What ends the runs of a trainer's callbacks as FAILED."""
    for callback in getattr(trainer, "callbacks", {}).get("teardown", ()):
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, LRTrack):
            yield owner._end


def _mean(count: int) -> float:
    """The factor that makes the mean of a sum: Ultralytics does not divide the losses."""
    return 1 / count


def _config(args: Any) -> dict[str, Any]:
    settings = {name: getattr(args, name, None) for name in _SETTINGS}
    return {name: value for name, value in settings.items() if value is not None}


def _schedule(trainer: Any) -> Any:
    """What moves the rates: the trainer's warm-up and its scheduler together."""
    args = trainer.args
    if not isinstance(trainer.scheduler, LambdaLR):  # a trainer of the user's own
        return trainer.scheduler
    warmup: dict[str, Any] = {}
    if args.warmup_epochs > 0:
        warmup = {"warmup_epochs": args.warmup_epochs, "warmup_bias_lr": args.warmup_bias_lr}
    shape = "UltralyticsCosine" if args.cos_lr else "UltralyticsLinear"
    return Schedule(shape, {"epochs": trainer.epochs, "lrf": args.lrf, **warmup})


def _steps(trainer: Any) -> int | None:
    """How many steps the training makes; None if its time ends it.

    A step follows when the current number of batches has been accumulated, which grows from 1 in
    the warm-up.
    """
    if trainer.args.time:
        return None
    batches = len(trainer.train_loader)
    first, end = trainer.start_epoch * batches, trainer.epochs * batches
    epochs = min(trainer.args.warmup_epochs, max(trainer.epochs - 1, 0))
    warmup = round(epochs * batches) if epochs > 0 else 0
    full = trainer.accumulate
    steps, last, batch = 0, -1, first
    while batch < min(end, warmup + 1):
        accumulated = (
            max(1, int(np.interp(batch, [0, warmup], [1, full]).round())) if warmup else full
        )
        if batch - last >= accumulated:
            steps, last = steps + 1, batch
        batch += 1
    return whole_steps(steps + max(end - 1 - last, 0) // full)
