"""skorch: `NeuralNetClassifier(…, callbacks=[LRTrack()])`."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FrameType
from typing import Any

from lrtrack._optional import load
from lrtrack.capture.ownership import foreign
from lrtrack.integrations._callback_options import DEFAULTS, options_of
from lrtrack.integrations._callback_runs import CallbackRuns
from lrtrack.integrations._wrapping import end_when_left
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.options import check_values

_callbacks: Any = load("skorch.callbacks", extra="skorch", at_least="1.2")
_net: Any = load("skorch.net", extra="skorch", at_least="1.2")

#: Entries of skorch's history that are no measurement of the model.
_NOT_METRICS = ("epoch", "dur", "batches", "event_lr")
_NOT_METRICS_SUFFIXES = ("_best", "_batch_count")
#: Settings of a net that say nothing of its training.
_NOT_CONFIG = ("verbose", "warm_start", "predict_nonlinearity")


class LRTrack(_callbacks.Callback):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each optimizer step of a net.

    Each `fit` is a run. A `partial_fit`, or a `fit` with `warm_start`, continues the run of the fit
    before it. Losses and scores of each epoch's history are logged at the epoch's last step.
    Several optimizers of one net are one run. The net's own settings, such as `lr` or
    `module__units`, are the run's `config`, so that reports can group the runs of a grid search by
    them.

    It has the options as parameters, as scikit-learn's `clone` and `set_params` need them:
    `callbacks__lrtrack__seed` where it is listed as `("lrtrack", LRTrack())`.

    skorch ends a fit that Ctrl-C interrupts as any other, as its `EarlyStopping` relies on, and the
    run is FINISHED. It tells callbacks of no other exception, so the first `LRTrack` wraps
    `NeuralNet.partial_fit`: if one leaves it, the run ends as FAILED.

    Attributes:
        run_: the run of the current or the last fit; None before the first.

    Args:
        **options: options of `lrtrack.track()`. By default `total_steps` and `config` are taken
            from the net.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value.
    """

    def __init__(self, **options: Any) -> None:
        check_values(options_of("LRTrack", options))
        self.__dict__.update({**DEFAULTS, **options})

    def initialize(self) -> LRTrack:
        """Forget earlier fits, as the net begins anew."""
        end_when_left(_net.NeuralNet, "partial_fit", _ends_of)
        earlier = getattr(self, "runs_", None)
        if earlier is not None:
            earlier.leave(failed=True)
        given = {name: value for name, value in vars(self).items() if name in DEFAULTS}
        options = {name: value for name, value in given.items() if value is not DEFAULTS[name]}
        self.runs_ = CallbackRuns("LRTrack", options)
        self.run_: TrackedRun | None = None
        self.waiting_ = False
        weakref.finalize(self, self.runs_.leave, failed=True).atexit = False
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The options alone: an open run stays with its process."""
        return {name: value for name, value in vars(self).items() if not name.endswith("_")}

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Wait for the first epoch: by then all callbacks have made their schedulers."""
        if not hasattr(self, "runs_"):  # a net that was unpickled
            self.initialize()
        self.waiting_ = True

    def on_epoch_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Begin a run, or log the epoch before."""
        if self.waiting_:
            self.waiting_ = False
            self._begin(net)
        elif len(net.history) > 1:
            self._log(net.history[-2])

    def on_train_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Log the last epoch, and end the run."""
        if self.runs_.runs and len(net.history):
            self._log(net.history[-1])
        self.waiting_ = False
        self.runs_.leave()

    def _begin(self, net: Any) -> None:
        last, self.run_ = self.run_, None
        optimizers = {name: getattr(net, f"{name}_") for name in net._optimizers}
        schedulers = {name: _scheduler_of(optimizer, net) for name, optimizer in optimizers.items()}
        pair: tuple[Any, Any, str] = (optimizers, schedulers, "")
        if len(optimizers) == 1:
            (name,) = optimizers
            pair = (optimizers[name], schedulers[name], "")
        self.run_ = self.runs_.enter_again(pair, last, _steps(net), config=_config(net))

    def _log(self, row: Mapping[str, Any]) -> None:
        metrics = {
            name: value
            for name, value in row.items()
            if name not in _NOT_METRICS
            and not name.endswith(_NOT_METRICS_SUFFIXES)
            and isinstance(value, int | float)
        }
        for run in self.runs_.runs:
            run.log(metrics)


def _ends_of(net: Any) -> Iterator[Callable[[], object]]:
    """What ends the runs of the net's callbacks as FAILED."""
    for _, callback in getattr(net, "callbacks_", ()):
        # One that was unpickled with its net has no runs before a fit.
        if isinstance(callback, LRTrack) and hasattr(callback, "runs_"):
            yield partial(callback.runs_.leave, failed=True)


def _scheduler_of(optimizer: Any, net: Any) -> Any:
    """The scheduler that one of the net's callbacks steps for an optimizer; None without one."""
    made = [getattr(callback, "lr_scheduler_", None) for _, callback in net.callbacks_]
    found = [s for s in made if s is not None and foreign(optimizer, s) is None]
    return found[0] if found else None


def _config(net: Any) -> dict[str, Any]:
    params = net.get_params(deep=False)
    return {
        name: value
        for name, value in params.items()
        if name not in _NOT_CONFIG
        and not name.startswith("callbacks__")
        and isinstance(value, bool | int | float | str)
    }


def _steps(net: Any) -> int | None:
    """How many steps the training makes that has just begun its first epoch.

    Its number of epochs may be an argument of `fit`, which callbacks are not given. A `train_step`
    of the user's may make a step for several batches, as may accelerate: then it is unknown.
    """
    own = type(net).train_step.__module__.partition(".")[0] == "skorch"
    accelerator = getattr(net, "accelerator", None)
    if not own or getattr(accelerator, "gradient_accumulation_steps", 1) != 1:
        return None
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        local = frame.f_locals
        if frame.f_code.co_name == "fit_loop" and local.get("self") is net:
            try:
                return int(local["epochs"]) * len(local["iterator_train"])
            except (KeyError, TypeError):  # another fit_loop, or data without a length
                return None
        frame = frame.f_back
    return None
