"""transformers: `Trainer(..., callbacks=[LRTrack()])`."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from lrtrack._optional import load
from lrtrack.capture import torch_patches
from lrtrack.integrations._callback_options import Copied, key_of, state_in, with_signature
from lrtrack.integrations._callback_runs import CallbackRuns, open_runs, whole_steps
from lrtrack.integrations._ray_driver import GRACE, Driver, tune_context
from lrtrack.integrations._transformers_schedules import name_schedule
from lrtrack.integrations._transformers_trainer import (
    config,
    run_name,
    trainer_of,
    trial_of,
    weight,
)
from lrtrack.integrations._unsupported import is_observable
from lrtrack.integrations._wrapping import end_when_left
from lrtrack.trackers import registry
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.placement import as_child

_transformers: Any = load("transformers", extra="transformers", at_least="4.50")

#: The key of the run's state in checkpoints.
_STATE_KEY = "lrtrack"
#: Suffixes of an evaluation's metrics that do not describe the model.
_TIMING_SUFFIXES = ("_runtime", "_per_second", "_time", "epoch")
#: Logged by the Trainer, but recorded at each step already, or at other times than those of steps.
_NOT_OF_STEPS = ("learning_rate", "grad_norm", "total_flos", "train_loss")
#: Beginnings of the names of metrics that are recorded when they are evaluated.
_EVALUATED = ("eval_", "test_")


class LRTrack(Copied, _transformers.TrainerCallback):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each optimizer step of a `Trainer`.

    It records every step, independent of `logging_steps`; evaluations are recorded at the step
    that they follow. If the Trainer's own callback opens a run in MLflow or W&B (`report_to`), that
    run is joined, at any position in the list of callbacks. MLflow's callback also logs `loss` and
    `grad_norm`: pass `prefix="lrtrack/"`, or `logging_strategy="no"`, to keep them separate.

    Checkpoints contain the id of their run: `trainer.train(resume_from_checkpoint=…)` continues
    it, and no step is written twice. The Trainer tells its callbacks of no exception, so the first
    `LRTrack` wraps `Trainer.train`: if one leaves it, Ctrl-C included, the run ends as FAILED, but
    for a trial that Ray stops after its last step.

    With `auto_find_batch_size` the run begins with the first optimizer step, so that attempts for
    which the memory does not suffice leave none. In `hyperparameter_search` each trial is a run:
    with Optuna, `name` is `trial-<number>` unless `hp_name` gives another, and `group` the study's
    name. With Ray they are the names of trial and sweep, and the runs go where those of the program
    that starts the search would go. A schedule of the library has the name of its
    `lr_scheduler_type`.

    In several processes `loss` is the mean over all of them, as in the Trainer's own log;
    `loss_over=None` records rank 0's. What the Trainer or a subclass of it logs is recorded under
    its name there, after `train/`: `train/loss` is the mean since the last log. Unlike that one,
    `loss` shows NaN and Inf (`logging_nan_inf_filter`).

    Attributes:
        run: the run of the current or the last training; None before the first step, or if
            nothing is recorded.

    Args:
        **options: options of `lrtrack.track()`. By default `seed`, `name` (`run_name`),
            `total_steps` and, in `config`, the sizes of batches and epochs are taken from the
            Trainer.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value.
    """

    #: By thread: the callback that has begun there, and its runs, which may outlive it.
    _begun: ClassVar[dict[int, tuple[weakref.ref[LRTrack], CallbackRuns]]] = {}

    OF_RUNS: ClassVar[Mapping[str, Any]] = {
        "run": None, "_waiting": False, "_listens": False, "_early": {}, "_checkpoint_state": {}
    }  # fmt: skip

    @with_signature(loss_over="mean")
    def __init__(self, **options: Any) -> None:
        self._tracker = options.get("tracker")
        self._key = key_of(_STATE_KEY, options)
        self._blocks = CallbackRuns("LRTrack", options)
        self._waiting = self._listens = False
        self._early: dict[str, Any] = {}
        self._logged_by_others = False
        self._checkpoint_state: dict[str, Any] = {}
        self.run: TrackedRun | None = None
        self._driver: Driver | None = None
        self._wrap()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets; Ray's workers also learn where this program's runs go."""
        is_driver = "ray" in sys.modules and tune_context() is None
        driver = Driver.here() if is_driver else self._driver
        return {**super().__getstate__(), "_driver": driver}

    def _wrap(self) -> None:
        end_when_left(_transformers.Trainer, "train", _ends_of)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End a training, or an attempt of one, that was left by an exception."""
        self._stop_listening()
        thread = threading.get_ident()
        if thread in self._begun:
            callback, blocks = self._begun[thread]
            if callback() is self or trainer_of(callback()) is None:
                blocks.leave(failed=True)
        self._begun[thread] = weakref.ref(self), self._blocks
        if self._driver is not None and tune_context() is not None:
            self._driver.apply(self._tracker)
            # A trial that Ray stops ends its run while the worker's process is about to exit.
            atexit.register(threading.Thread.join, threading.current_thread(), GRACE)
        self._waiting, self.run, self._early = True, None, {}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin here, as all other callbacks have opened their runs by now."""
        if self._waiting and not args.auto_find_batch_size:
            self._begin(args, state, kwargs)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the losses of the first step from here on, if the run begins later."""
        optimizer = kwargs.get("optimizer")
        if self._waiting and not self._listens and optimizer is not None:
            self._listens = True
            torch_patches.start(self, optimizer, id(self))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin with the first step, for which the memory has sufficed."""
        if self._waiting:
            try:
                self._begin(args, state, kwargs)
            finally:
                self._stop_listening()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Record the metrics of an evaluation during the training."""
        own = {n: v for n, v in (metrics or {}).items() if not n.endswith(_TIMING_SUFFIXES)}
        if self._waiting and args.auto_find_batch_size:  # `eval_on_start`
            self._early = own
        elif self._waiting:
            self._begin(args, state, kwargs)
        # The Trainer's callback that opened the run logs them there itself.
        for run in () if self._logged_by_others else self._blocks.runs:
            run.log(own)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Record what the Trainer logs, unless its own callback logs that to the same run."""
        logged = {} if self._logged_by_others else logs or {}
        own = {
            f"train/{name}": value
            for name, value in logged.items()
            if name not in _NOT_OF_STEPS
            and not name.startswith(_EVALUATED)
            and not name.endswith(_TIMING_SUFFIXES)
            and isinstance(value, int | float)
        }
        if own:
            for run in self._blocks.runs:
                run.log(own)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Update the state that a checkpoint saves."""
        for run in self._blocks.runs:
            self._checkpoint_state["step"] = run.step
            if (
                control.should_save or control.should_evaluate
            ):  # an evaluation may lead to a checkpoint
                self._checkpoint_state.update(run.state_dict())

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Update the state that a checkpoint saves."""
        self.on_step_end(args, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run; a pruned trial, which ends before its last step, as FAILED."""
        is_short = not control.should_training_stop and state.global_step < state.max_steps
        self._end(failed=is_short and bool(trial_of(trainer_of(self))))

    def _end(self, failed: bool = False) -> None:
        self._waiting = False
        self._stop_listening()
        self._begun.pop(threading.get_ident(), None)
        self._blocks.leave(failed)

    def _stop_listening(self) -> None:
        self._listens = False
        torch_patches.stop(self)

    def _left(self, state: Any) -> None:
        """End the run while an exception leaves `train()`; as FAILED unless all steps are done."""
        error = sys.exception()
        stopped = isinstance(error, SystemExit) and not error.code  # as Ray Tune stops trials
        is_complete = stopped and 0 < state.max_steps <= state.global_step
        self._end(failed=not is_complete)

    def _begin(self, args: Any, state: Any, kwargs: Mapping[str, Any]) -> None:
        self._waiting = False
        optimizer, model = kwargs.get("optimizer"), kwargs.get("model")
        if not is_observable("LRTrack", optimizer, [model]):
            return
        trainer = trainer_of(self)
        trial = trial_of(trainer)
        scheduler = kwargs.get("lr_scheduler")
        kind = getattr(args.lr_scheduler_type, "value", None)
        name_schedule(scheduler, kind if getattr(trainer, "_created_lr_scheduler", False) else None)
        defaults = {
            "seed": args.seed,
            "name": state.trial_name or trial.get("name") or run_name(args),
            "group": trial.get("group"),
            "tags": trial.get("tags"),
            "model": model,
            "total_steps": whole_steps(state.max_steps),
            "loss_over": "mean",
            "config": config(args, state, kwargs.get("train_dataloader")),
        }
        saved, resumed = self._saved(state), state.global_step > 0
        joined = self._joined()
        # In a search, MLflow's callback opens a run before the first trial, but not before others.
        writers = {"wandb"} if trial else {"mlflow", "wandb"}
        self._logged_by_others = bool(joined and writers & set(args.report_to))
        earlier: list[str] = []
        if resumed and saved.get("id") and (not joined or saved["id"] in joined):
            earlier = [saved["id"]]
        with as_child() if trial and not self._logged_by_others else contextlib.nullcontext():
            runs = self._blocks.enter([(optimizer, scheduler, "")], earlier, **defaults)
        for run in runs:
            if resumed:
                run.load_state_dict({"step": saved.get("step", state.global_step - 1)})
            if self._early and not self._logged_by_others:
                run.log(self._early)
            self.run = run
        self._blocks.weight_losses(weight(args, trainer, _transformers.Trainer))
        self._checkpoint_state = state.stateful_callbacks[self._key] = {}

    def _saved(self, state: Any) -> dict[str, Any]:
        """What the checkpoint says of the run; empty if it says nothing."""
        saved = state_in(state.stateful_callbacks, _STATE_KEY, self._key)
        return dict(saved) if isinstance(saved, Mapping) else {}

    def _joined(self) -> set[str | None]:
        """Ids of the runs that are open in the trackers to write to."""
        spec = self._tracker
        trackers = registry.resolve(spec) if spec else map(registry.get, registry.names())
        return open_runs(tracker for tracker in trackers if tracker.active())


def _ends_of(trainer: Any) -> list[Callable[[], object]]:
    """What ends the runs of the Trainer's callbacks."""
    callbacks = getattr(getattr(trainer, "callback_handler", None), "callbacks", ())
    return [partial(c._left, trainer.state) for c in callbacks if isinstance(c, LRTrack)]
