"""Situations of fastai's users, each with its own truth: what a callback measured at each step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lrtrack.records import State

pytest.importorskip("fastai", reason="needs fastai, which torchvision keeps apart: tox -e fastai")
from fastai.callback.core import Callback
from fastai.callback.schedule import Learner, LRFinder, ParamScheduler, SchedCos, SchedLin
from fastai.callback.tracker import EarlyStoppingCallback, ReduceLROnPlateau, SaveModelCallback
from fastai.callback.training import GradientClip
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import OptimWrapper
from fastai.torch_core import params
from fastcore.foundation import L

from lrtrack.integrations.fastai import LRTrack

from .test_fastai import learner

pytestmark = [
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),  # of `lr_find`
    pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning"),  # likewise
    pytest.mark.filterwarnings("ignore:Saved file .* doesn't contain an optimizer"),
]
TORCH_ADAM = partial(OptimWrapper, opt=torch.optim.AdamW)
#: What a sound training must not have.
FALSE = {"LR002", "LR013", "LR030", "LR031"}


@dataclass
class Fit:
    """What each step of one fit used.

    Attributes:
        rates: the rate of each group, one list a step.
        norms: the L2 norm over all gradients.
        losses: the loss.
    """

    rates: list[list[float]] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


class Measured(Callback):
    """Measures each step of each fit that is a training, right where fastai makes it."""

    order, run_valid = 69, False

    def __init__(self) -> None:
        self.fits: list[Fit] = []

    def before_fit(self) -> None:
        """Begins a new list, unless the fit looks for a rate."""
        self.searches = any(isinstance(callback, LRFinder) for callback in self.learn.cbs)
        if not self.searches:
            self.fits.append(Fit())

    def before_backward(self) -> None:
        """Notes the loss, before anything scales it."""
        self.batch_loss = float(self.learn.loss.detach())

    def before_step(self) -> None:
        """Notes what the step uses."""
        if self.searches:
            return
        gradients = [p.grad.double() for p in self.learn.model.parameters() if p.grad is not None]
        fit = self.fits[-1]
        fit.norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        fit.rates.append([float(group["lr"]) for group in self.learn.opt.hypers])
        fit.losses.append(self.batch_loss)


def layers(model: Any) -> Any:
    """Groups of parameters for discriminative rates: the backbone and the head."""
    return L(model[0], model[2]).map(params)


def made(task: Any, *callbacks: Any, **options: Any) -> Learner:
    """A Learner with two groups, whose optimizer is torch's if asked."""
    return learner(task, list(callbacks), splitter=layers, **options)


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
    """

    train: Callable[[Any], Any]
    steps: list[int]
    callbacks: Callable[[], list[Any]] = list
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "one cycle, discriminative": Case(lambda x: x.fit_one_cycle(2, slice(0.001, 0.1)), [8]),
    "torch's optimizer": Case(
        lambda x: x.fit_one_cycle(2, slice(0.001, 0.1)), [8], options={"opt_func": TORCH_ADAM}
    ),
    "fine-tuning": Case(lambda x: x.fine_tune(2, freeze_epochs=1), [4, 8]),
    "frozen, then not": Case(freeze_and_unfreeze, [4, 8]),
    "flat, then cosine": Case(lambda x: x.fit_flat_cos(2, 0.05), [8]),
    "warm restarts": Case(lambda x: x.fit_sgdr(2, 1, 0.05), [12]),
    "own schedule": Case(own_schedule, [8]),
    "loaded": Case(load_and_continue, [4, 4, 8]),
    "clipped": Case(lambda x: x.fit(2, 0.05), [8], callbacks=lambda: [GradientClip(0.1)]),
    "stopped early": Case(
        lambda x: x.fit(4, 0.0), [8], callbacks=lambda: [EarlyStoppingCallback(patience=1)]
    ),
    "plateau": Case(
        lambda x: x.fit(3, 1e-7), [12], callbacks=lambda: [ReduceLROnPlateau(min_delta=9)]
    ),
}


def rates_of(history: Any) -> list[list[float]]:
    """The rates of all groups of each step of a run."""
    names = sorted(name for name in history.metrics if name.startswith("lr/"))
    return [list(row) for row in zip(*(history.series(n)[1] for n in names or ["lr"]), strict=True)]


def matches(history: Any, fit: Fit) -> bool:
    """Whether a run holds what was measured."""
    return (
        rates_of(history) == fit.rates
        and history.series("grad_norm")[1].tolist() == pytest.approx(fit.norms, rel=1e-5)
        and history.series("loss")[1].tolist() == pytest.approx(fit.losses, rel=1e-6)
    )


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
