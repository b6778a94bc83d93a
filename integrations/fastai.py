"""fastai: `Learner(…, cbs=[LRTrack()])`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lrtrack._optional import load
from lrtrack.capture.optimizers import unwrap
from lrtrack.integrations._callback_runs import CallbackRuns, whole_steps
from lrtrack.tracking import TrackedRun

_core: Any = load("fastai.callback.core", extra="fastai", at_least="2.8.8")

#: What torch calls the hyper-parameters that fastai renames.
_TORCH_NAMES = {"mom": "momentum", "wd": "weight_decay"}


class LRTrack(_core.Callback):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each optimizer step of a `Learner`.

    Each `fit`, `fit_one_cycle`, … is a run, and `fine_tune` is two. It records fastai's own
    optimizers and torch's in an `OptimWrapper`; the steps of `lr_find` are no training and are left
    out. What the `Recorder` prints after an epoch is logged at the epoch's last step. fastai moves
    rates without a scheduler object, so the schedule is the one that the recorded rates show.

    Callbacks are not told about exceptions: a fit that is left by one ends as FAILED with the
    program, or when another fit begins.

    Attributes:
        tracked: the run of the current or the last fit; None before the first.

    Args:
        **options: options of `lrtrack.track()`. By default `model`, `total_steps` and, in `config`,
            the sizes of batches and epochs are taken from the Learner.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value.
    """

    #: After all of fastai's own, which clip gradients, skip steps and move the learning rate.
    order = 70
    #: Not pickled with the Learner, as by `learn.export()`.
    _stateattrs = ("_fit_runs", "_stand_in", "tracked")

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._track_options = options
        self._init_state()

    def _init_state(self) -> None:
        self._state: dict[str, Any] = {}
        self._fit_runs = CallbackRuns("LRTrack", self._track_options)
        self._stand_in: _StandIn | None = None
        self.tracked: TrackedRun | None = None

    @property
    def name(self) -> str:
        """The attribute of the Learner that holds this callback."""
        return "lrtrack"

    def before_fit(self) -> None:
        """Begin a run."""
        self._dismiss()
        if hasattr(self.learn, "lr_finder") or hasattr(self.learn, "gather_preds"):
            self._fit_runs.leave(failed=True)
            return
        try:
            optimizer: Any = unwrap(self.learn.opt)
        except TypeError:
            optimizer = self._stand_in = _StandIn.of(self.learn.opt, self.learn.opt_func)
        self.tracked = None
        steps = _steps_per_epoch(self.learn)
        config = {
            "epochs": self.learn.n_epoch,
            "batch_size": getattr(self.learn.dls.train, "bs", None),
            "steps_per_epoch": steps,
        }
        epochs = self.learn.n_epoch - getattr(_callback(self.learn, "SkipToEpoch"), "_skip_to", 0)
        is_open = steps is None or self._fit_runs.resumes
        for run in self._fit_runs.enter(
            [(optimizer, None, "")],
            model=self.learn.model,
            config={name: value for name, value in config.items() if value is not None},
            total_steps=None if is_open else whole_steps(steps * epochs),
        ):
            self.tracked = run

    def after_epoch(self) -> None:
        """Log what the Recorder has measured in the epoch."""
        recorder = _callback(self.learn, "Recorder")
        values = getattr(self.learn, "final_record", ())
        for run in self._fit_runs.runs if recorder is not None else ():
            named = zip(list(recorder.metric_names)[1:], values, strict=False)  # epoch comes first
            run.log({name: v for name, v in named if isinstance(v, int | float)})

    def after_fit(self) -> None:
        """End the run."""
        self._dismiss()
        self._fit_runs.leave()

    def _dismiss(self) -> None:
        stand_in, self._stand_in = self._stand_in, None
        if stand_in is not None:
            stand_in.dismiss()


class _StandIn(torch.optim.Optimizer):
    """Makes the steps of one of fastai's own optimizers, which have no hooks, as torch's do.

    It replaces the `step` of that optimizer, and calls it.

    Args:
        own: fastai's optimizer.
    """

    def __init__(self, own: Any) -> None:
        self._own, self._step = own, own.step
        groups = [
            {"params": list(params), **_named(hyper)}
            for params, hyper in zip(own.param_lists, own.hypers, strict=True)
        ]
        super().__init__(groups, dict(_named(own.hypers[0])))
        own.step = self._follow

    @classmethod
    def of(cls, own: Any, make: Any) -> _StandIn:
        """Stand in for an optimizer under the name of the function that made it."""
        while isinstance(make, functools.partial):
            make = make.func
        name = getattr(make, "__name__", "")
        name = name if name.isidentifier() else type(own).__name__
        renamed: type[_StandIn] = type(name, (cls,), {})
        return renamed(own)

    def dismiss(self) -> None:
        """Give the optimizer its own `step` back."""
        vars(self._own).pop("step", None)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make the step; hooks run around it."""
        return self._step() if closure is None else self._step(closure)

    def _follow(self, *args: Any) -> Any:
        """Take over the current rates, and make a step."""
        for group, hyper in zip(self.param_groups, self._own.hypers, strict=True):
            group.update(_named(hyper))
        return self.step(*args)


def _named(hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters under torch's names."""
    return {
        _TORCH_NAMES.get(name, name): float(value) if isinstance(value, float) else value
        for name, value in hyper.items()
    }


def _callback(learn: Any, name: str) -> Any:
    """The callback of the Learner whose class has this name; None without one."""
    return next((cb for cb in learn.cbs if type(cb).__name__ == name), None)


def _steps_per_epoch(learn: Any) -> int | None:
    """Optimizer steps of an epoch; None where the batches have no number or no common size."""
    loader = learn.dls.train
    try:
        batches = len(loader)
    except TypeError:
        return None
    accumulation = _callback(learn, "GradientAccumulation")
    if accumulation is None:
        return batches
    size = getattr(loader, "bs", None)
    if not size or not getattr(loader, "drop_last", False):
        return None
    each = math.ceil(accumulation.n_acc / size)
    return batches // each if batches % each == 0 else None
