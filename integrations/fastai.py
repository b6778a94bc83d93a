"""fastai: `Learner(…, cbs=[LRTrack()])`."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from lrtrack._optional import load
from lrtrack.capture import thread_state
from lrtrack.capture.optimizers import unwrap
from lrtrack.integrations._callback_runs import CallbackRuns, whole_steps
from lrtrack.integrations._class_names import derives_from
from lrtrack.integrations._fastai_optimizer import StandIn
from lrtrack.integrations._wrapping import wrap_once
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.closing import run_all

_PACKAGE = {"extra": "fastai", "at_least": "2.8.8"}
_core: Any = load("fastai.callback.core", **_PACKAGE)
_learner: Any = load("fastai.learner", **_PACKAGE)


class LRTrack(_core.Callback):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each optimizer step of a `Learner`.

    Each `fit`, `fit_one_cycle`, … is a run, and `fine_tune` is two. It records fastai's own
    optimizers and torch's in an `OptimWrapper`. `validate`, `get_preds` and the steps of `lr_find`
    are no training, and leave no run. What the `Recorder` prints after an epoch is logged at the
    epoch's last step. fastai moves rates without a scheduler object, so the schedule is the one
    that the recorded rates show.

    A fit that is cancelled (`CancelFitException`) is FINISHED. The Learner tells its callbacks of
    no other exception, so the first `LRTrack` wraps `Learner.fit`: if one leaves it, Ctrl-C
    included, the run ends as FAILED. Copies of a Learner, also pickled ones, have a callback
    without a run. If the Learner gets a new optimizer in mid-training, as by `learn.export()`, the
    run goes on with that one.

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
    run_valid = False
    #: Not pickled with the Learner, as by `learn.export()`.
    _stateattrs = ("_observed", "_rows_logged", "_stand_in", "tracked")

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._fit_runs = CallbackRuns("LRTrack", options)
        self._init_state()

    def _init_state(self) -> None:
        wrap_once(_learner.Learner, "fit", _ending_runs)
        self._state: dict[str, Any] = {}
        self._observed: Any = None
        self._rows_logged = 0
        self._stand_in: StandIn | None = None
        self.tracked: TrackedRun | None = None

    @property
    def name(self) -> str:
        """The attribute of the Learner that holds this callback."""
        return "lrtrack"

    def before_train(self) -> None:
        """Begin the run of the fit with the first epoch that trains."""
        fits = _fits.get(self.learn, [])
        if any(self in begun for begun in fits):
            return
        if _callback(self.learn, "LRFinder") is not None:
            self._end(failed=True)
            return
        if fits:
            fits[-1].append(self)
        recorder = _callback(self.learn, "Recorder")
        self._rows_logged = len(getattr(recorder, "values", ()))
        self._begin()

    def before_batch(self) -> None:
        """Go on with another optimizer, if the Learner has got one."""
        own = self.learn.opt
        if own is self._observed or not self._fit_runs.runs:
            return
        if self._stand_in is not None and self._stand_in.move(own):
            self._observed = own
        else:  # torch's, with hooks of its own
            self._begin(self.tracked)

    def after_cancel_step(self) -> None:
        """Leave out the losses of a step that is skipped, whose gradients are dropped."""
        scaling = _callback(self.learn, "MixedPrecision")
        self._fit_runs.skip_step(by_scaler=getattr(scaling, "skipped", False))

    def after_epoch(self) -> None:
        """Log what the Recorder has measured in the epoch."""
        recorder = _callback(self.learn, "Recorder")
        rows: Sequence[Any] = getattr(recorder, "values", [])
        inner = len(_fits.get(self.learn, [])) > 1
        if len(rows) > self._rows_logged and not inner:
            for run in self._fit_runs.runs:
                run.log(_named_values(recorder, rows[-1]))
        self._rows_logged = len(rows)

    def after_fit(self) -> None:
        """Log the epoch in which the fit was cancelled; `Learner.fit` ends the run."""
        self.after_epoch()
        if not _fits.get(self.learn):  # it is one that does not call fastai's
            self._end()

    def _begin(self, last: TrackedRun | None = None) -> None:
        """Open a run, or go on with the last one."""
        learn = self.learn
        self._end(failed=last is None)
        self.tracked = None
        self._observed = learn.opt
        try:
            optimizer: Any = unwrap(learn.opt)
        except TypeError:
            optimizer = self._stand_in = StandIn.of(learn.opt, learn.opt_func)
        steps = _steps_per_epoch(learn)
        config = {
            "epochs": learn.n_epoch,
            "batch_size": getattr(learn.dls.train, "bs", None),
            "steps_per_epoch": steps,
        }
        left = None if steps is None else steps * (learn.n_epoch - learn.epoch)
        if last is not None and steps and left:
            left -= steps * learn.iter // len(learn.dls.train)
        self.tracked = self._fit_runs.enter_again(
            (optimizer, None, ""),
            last,
            whole_steps(left),
            model=learn.model,
            config={name: value for name, value in config.items() if value is not None},
        )

    def _end(self, failed: bool = False) -> None:
        stand_in, self._stand_in, self._observed = self._stand_in, None, None
        if stand_in is not None:
            stand_in.dismiss()
        self._fit_runs.leave(failed)


#: By Learner: the fits under way, each with the callbacks that have begun a run for it.
_fits: weakref.WeakKeyDictionary[Any, list[list[LRTrack]]] = weakref.WeakKeyDictionary()


def _ending_runs(fit: Callable[..., Any]) -> Callable[..., Any]:
    """`Learner.fit`, which ends the runs of its callbacks however it ends."""

    def ending(self: Any, *args: Any, **kwargs: Any) -> Any:
        fits, begun = _fits.setdefault(self, []), list[LRTrack]()
        # Steps of a fit inside another one, which a callback makes, are not of that one.
        aside = thread_state.away() if any(fits) else nullcontext()
        fits.append(begun)
        try:
            with aside:
                result = fit(self, *args, **kwargs)
        except BaseException:
            run_all(partial(callback._end, failed=True) for callback in begun)
            raise
        finally:
            fits.pop()
        for callback in begun:
            callback._end()
        return result

    return ending


def _named_values(recorder: Any, values: Sequence[Any]) -> Mapping[str, float]:
    """What the Recorder has measured in an epoch, by name.

    An epoch whose training or validation was cancelled has fewer values. Where a callback calls
    `validate()` in mid-training, the Recorder loses what it had; then the row is left out.
    """
    names = list(recorder.metric_names)[1:]  # the number of the epoch comes first
    if recorder.add_time:
        names.pop()
    whole = recorder.valid_metrics and not (recorder.cancel_train or recorder.cancel_valid)
    if (whole and len(values) < len(names)) or any(isinstance(value, str) for value in values):
        return {}
    if recorder.cancel_train:
        del names[: 1 + (len(recorder.metrics) if recorder.train_metrics else 0)]
    return {n: v for n, v in zip(names, values, strict=False) if isinstance(v, int | float)}


def _callback(learn: Any, name: str) -> Any:
    """The callback of the Learner with this class, or one made from it; None without one."""
    return next((callback for callback in learn.cbs if derives_from(callback, name)), None)


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
