"""Situations of fastai's users, each with its own truth: what a callback measured at each step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lrtrack.records import State

pytest.importorskip("fastai", reason="needs fastai, as tox -e newest-fastai installs it")
from fastai.callback.core import Callback, CancelFitException, CancelTrainException
from fastai.callback.fp16 import AMPMode
from fastai.callback.schedule import ParamScheduler, SchedCos, SchedLin
from fastai.callback.tracker import EarlyStoppingCallback, ReduceLROnPlateau, SaveModelCallback
from fastai.callback.training import GradientAccumulation, GradientClip, ShortEpochCallback
from fastai.losses import CrossEntropyLossFlat

from lrtrack.integrations.fastai import LRTrack

from .measuring import TORCH_ADAM, Measured, OnTheCPU, made, matches

pytestmark = [
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),  # of `lr_find`
    pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning"),  # likewise
    pytest.mark.filterwarnings("ignore:Saved file .* doesn't contain an optimizer"),
]
#: What a sound training must not have.
FALSE = {"LR002", "LR013", "LR030", "LR031"}


class Cancelling(Callback):
    """Cancels what is under way in the third step; that batch does not count."""

    def __init__(self, what: type[Exception]) -> None:
        self.what = what

    def after_step(self) -> None:
        """Cancels it."""
        if self.learn.train_iter == 2:
            raise self.what


def find_and_fit(learn: Any) -> None:
    """Looks for a rate before, between and after fits."""
    for _ in range(2):
        learn.lr_find(num_it=6, show_plot=False)
        learn.fit_one_cycle(1, 0.05)
    learn.lr_find(num_it=100, show_plot=False)


def fit_and_validate(learn: Any) -> None:
    """Validates and predicts before and after a fit."""
    learn.validate()
    learn.fit(1, 0.05)
    learn.validate()
    learn.get_preds()


def fit_and_fine_tune(learn: Any) -> None:
    """Fits, and fine-tunes."""
    learn.fit_one_cycle(1, 0.05)
    learn.fine_tune(2, freeze_epochs=1)


def freeze_and_unfreeze(learn: Any) -> None:
    """Trains the head, then everything, with lower rates below."""
    learn.freeze()
    learn.fit_one_cycle(1, slice(0.05))
    learn.unfreeze()
    learn.fit_one_cycle(2, slice(0.001, 0.01))


def load_and_continue(learn: Any) -> None:
    """Trains, stores, goes on, returns to what was stored and goes on in the same schedule."""
    learn.fit_one_cycle(1, 0.05)
    learn.save("half")
    learn.fit(1, 0.01)
    learn.load("half", with_opt=True)
    learn.fit_one_cycle(3, 0.05, start_epoch=1)


def own_schedule(learn: Any) -> None:
    """Moves rate and momentum by schedules of the user's."""
    learn.fit(2, cbs=ParamScheduler({"lr": SchedCos(0.1, 0.01), "mom": SchedLin(0.9, 0.5)}))


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        train: what the user does.
        steps: how many steps each fit has.
        callbacks: makes further callbacks.
        options: options of the Learner.
        skipped: how many steps a gradient scaler skips.
    """

    train: Callable[[Any], Any]
    steps: list[int]
    callbacks: Callable[[], list[Any]] = list
    options: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0


TORCHS = {"opt_func": TORCH_ADAM}
CASES = {
    "one cycle, discriminative": Case(lambda x: x.fit_one_cycle(2, slice(0.001, 0.1)), [8]),
    "torch's optimizer": Case(lambda x: x.fit_one_cycle(2, slice(0.001, 0.1)), [8], options=TORCHS),
    "fine-tuning": Case(lambda x: x.fine_tune(2, freeze_epochs=1), [4, 8]),
    "frozen, then not": Case(freeze_and_unfreeze, [4, 8]),
    "flat, then cosine": Case(lambda x: x.fit_flat_cos(2, 0.05), [8]),
    "warm restarts": Case(lambda x: x.fit_sgdr(2, 1, 0.05), [12]),
    "own schedule": Case(own_schedule, [8]),
    "twice, and fine-tuning": Case(fit_and_fine_tune, [4, 4, 8]),
    "searches in between": Case(find_and_fit, [4, 4]),
    "torch's, searches": Case(find_and_fit, [4, 4], options=TORCHS),
    "validated": Case(fit_and_validate, [4]),
    "loaded": Case(load_and_continue, [4, 4, 8]),
    "clipped": Case(lambda x: x.fit(2, 0.05), [8], callbacks=lambda: [GradientClip(0.1)]),
    "stopped early": Case(
        lambda x: x.fit(4, 0.0), [8], callbacks=lambda: [EarlyStoppingCallback(patience=1)]
    ),
    "plateau": Case(
        lambda x: x.fit(3, 1e-7), [12], callbacks=lambda: [ReduceLROnPlateau(min_delta=9)]
    ),
    "best saved": Case(
        lambda x: x.fit(2, 0.05), [8], callbacks=lambda: [SaveModelCallback(with_opt=True)]
    ),
    "torch's, best saved": Case(
        lambda x: x.fit(2, 0.05),
        [8],
        callbacks=lambda: [SaveModelCallback(with_opt=True)],
        options=TORCHS,
    ),
    "accumulated": Case(lambda x: x.fit(2), [4], callbacks=lambda: [GradientAccumulation(32)]),
    "fit cancelled": Case(
        lambda x: x.fit(2), [3], callbacks=lambda: [Cancelling(CancelFitException)]
    ),
    "training cancelled": Case(
        lambda x: x.fit(2), [4], callbacks=lambda: [Cancelling(CancelTrainException)]
    ),
    "short epochs": Case(
        lambda x: x.fit_one_cycle(2, 0.05), [6], callbacks=lambda: [ShortEpochCallback(0.5)]
    ),
    "bf16": Case(
        lambda x: x.fit_one_cycle(2, 0.05), [8], callbacks=lambda: [OnTheCPU(AMPMode.BF16)]
    ),
    "fp16, skipped": Case(
        lambda x: x.fit_one_cycle(2, 0.05), [5], callbacks=lambda: [OnTheCPU()], skipped=3
    ),
    "fp16, accumulated, clipped": Case(
        lambda x: x.fit_one_cycle(4, 0.05),
        [6],
        callbacks=lambda: [OnTheCPU(), GradientAccumulation(32), GradientClip(0.1)],
        skipped=2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_runs_hold(digits, local, name: str) -> None:
    """Each fit is a run with the rates, norms and losses of its steps, and no false diagnosis."""
    case, measured = CASES[name], Measured()
    callbacks = [measured, LRTrack(tracker="local"), *case.callbacks()]
    case.train(made(digits(batches=4), *callbacks, **case.options))
    histories = local()[::-1]

    assert [len(history.steps) for history in histories] == case.steps
    assert [len(fit.rates) for fit in measured.fits] == case.steps
    assert all(map(matches, histories, measured.fits))
    assert measured.skipped == case.skipped
    assert {history.state for history in histories} == {State.FINISHED}
    assert not {d["code"] for history in histories for d in history.run.diagnoses} & FALSE


class Killed(Callback):
    """Kills the process in the second epoch."""

    def after_step(self) -> None:
        """Kills it."""
        if self.learn.epoch == 1 and self.learn.iter == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_training_goes_on(digits, local, in_child) -> None:
    """A killed training that goes on after its last whole epoch has a run for each part."""
    measured = Measured()

    def killed() -> None:
        keeping = SaveModelCallback(every_epoch=True, with_opt=True)
        callbacks = [LRTrack(tracker="local"), keeping, Killed()]
        made(digits(batches=4), *callbacks).fit_one_cycle(3, 0.05)

    status = in_child(killed)
    again = made(digits(batches=4), measured, LRTrack(tracker="local"))
    again.load(Path("model_0"), with_opt=True)
    again.fit_one_cycle(3, 0.05, start_epoch=1)
    history, earlier = local()

    assert (status, earlier.state) == (-signal.SIGKILL, State.FAILED)
    assert (history.state, history.run.total_steps) == (State.FINISHED, 8)
    assert matches(history, measured.fits[0])


def test_a_callback_for_one_fit_only(digits, local) -> None:
    """A callback that is given to one fit records that one alone."""
    learn = made(digits(batches=4), Measured())
    learn.fit(1)
    learn.fit_one_cycle(1, cbs=LRTrack(tracker="local"))
    learn.fit(1)

    assert [len(history.steps) for history in local()] == [4]
    assert isinstance(learn.loss_func, CrossEntropyLossFlat)
