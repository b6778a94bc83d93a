"""fastai's fits that an exception leaves, copies of Learners, and what runs in mid-training."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lrtrack.records import State

pytest.importorskip("fastai", reason="needs fastai, as tox -e newest-fastai installs it")
from fastai.callback.core import Callback
from fastai.callback.schedule import LRFinder
from fastai.learner import load_learner

from lrtrack.integrations.fastai import LRTrack

from .measuring import TORCH_ADAM, Measured, OnTheCPU, made, matches

pytestmark = [
    pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning"),  # of `load`
    pytest.mark.filterwarnings("ignore:load_learner` uses:UserWarning"),
]


class Acting(Callback):
    """Does something once, after an epoch."""

    def __init__(self, action: Callable[[Any], Any]) -> None:
        self.action, self.acted = action, False

    def after_epoch(self) -> None:
        """Does it, which may be a validation, with an epoch of its own."""
        if not self.acted:
            self.acted = True
            self.action(self.learn)


class Rows(list[Any]):
    """Rows as `learn.export()` needs them."""

    def new_empty(self) -> Rows:
        """Returns no rows."""
        return Rows()


def exportable(learn: Any) -> Any:
    """Gives a Learner rows that can be exported."""
    for loader in learn.dls.loaders:
        loader.dataset = Rows(loader.dataset)
    return learn


def interrupt(_: Any) -> None:
    """Presses Ctrl-C."""
    raise KeyboardInterrupt


def fit_a_copy(learn: Any) -> None:
    """Fits a deep copy for an epoch, without what acts after epochs or measures."""
    copied = copy.deepcopy(learn)
    copied.remove_cbs(copied.cbs.filter(lambda callback: isinstance(callback, Acting)))
    copied.fit(1, 0.01)


@pytest.mark.parametrize("after", ["a batch", "an epoch"])
def test_ctrl_c_ends_the_run(digits, local, after: str) -> None:
    """A fit that is interrupted, also in its validation, is FAILED at once, with all its steps."""

    class Interrupting(Callback):
        def after_batch(self) -> None:
            if self.learn.training == (after == "a batch"):
                raise KeyboardInterrupt

    learn = made(digits(batches=4), LRTrack(tracker="local"), Interrupting())
    with pytest.raises(KeyboardInterrupt):
        learn.fit(2)
    (history,) = local()

    assert (history.state, len(history.steps)) == (State.FAILED, 1 if after == "a batch" else 4)
    assert "step" not in vars(learn.opt)


def test_a_callback_for_an_interrupted_fit_only(digits, local) -> None:
    """A callback that is given to one fit ends its run, although the Learner has removed it."""
    learn = made(digits(batches=4))
    with pytest.raises(KeyboardInterrupt):
        learn.fit(2, cbs=[LRTrack(tracker="local"), Acting(interrupt)])
    learn.fit(1)

    assert [(history.state, len(history.steps)) for history in local()] == [(State.FAILED, 4)]


def test_two_callbacks_in_one_learner(digits, local) -> None:
    """Two callbacks record the same steps, also in a fit that follows an interrupted one."""
    measured = Measured()
    callbacks = [LRTrack(tracker="local", name=name) for name in ("a", "b")]
    learn = made(digits(batches=4), measured, *callbacks)
    with pytest.raises(KeyboardInterrupt):
        learn.fit(2, cbs=Acting(interrupt))
    learn.fit_one_cycle(1, 0.05)
    histories = local()[::-1]

    assert [history.run.name for history in histories] == ["a", "b", "a", "b"]
    assert [history.state for history in histories] == [State.FAILED] * 2 + [State.FINISHED] * 2
    assert all(matches(h, measured.fits[at // 2]) for at, h in enumerate(histories))
    assert "step" not in vars(learn.opt)


@pytest.mark.parametrize("options", [{}, {"opt_func": TORCH_ADAM}], ids=["fastai's", "torch's"])
def test_a_learner_that_is_exported_in_mid_training(digits, local, options: Any) -> None:
    """A Learner that gets a new optimizer by `export()` goes on in its run, as does the loaded."""
    measured, callback = Measured(), LRTrack(tracker="local", seed=5)
    acting = Acting(lambda learn: learn.export())
    learn = exportable(made(digits(batches=4), measured, callback, acting, **options))
    learn.fit_one_cycle(3, 0.05)
    loaded = load_learner("export.pkl")
    loaded.dls = learn.dls
    loaded.remove_cbs(loaded.cbs.filter(lambda callback: isinstance(callback, Acting)))
    loaded.fit(1)
    history, first = local()

    assert matches(first, measured.fits[0])
    assert (first.state, first.run.total_steps, first.run.seed) == (State.FINISHED, 12, 5)
    assert matches(history, loaded.measured.fits[-1])
    assert (history.state, history.run.total_steps, history.run.seed) == (State.FINISHED, 4, 5)


@pytest.mark.parametrize("options", [{}, {"opt_func": TORCH_ADAM}], ids=["fastai's", "torch's"])
def test_a_copy_that_is_trained_in_mid_training(digits, local, options: Any) -> None:
    """A deep copy that is trained in the middle of a fit has a run of its own."""
    measured = Measured()
    callbacks = [measured, LRTrack(tracker="local"), Acting(fit_a_copy)]
    made(digits(batches=4), *callbacks, **options).fit(2, 0.05)
    histories = {len(history.steps): history for history in local()}

    assert sorted(histories) == [4, 8]
    assert matches(histories[8], measured.fits[0])
    assert {history.state for history in histories.values()} == {State.FINISHED}


def test_copies_before_and_after(digits, local) -> None:
    """A copy of a Learner before its fit, and a pickled one after it, each have their own run."""
    learn = made(digits(batches=4), LRTrack(tracker="local", seed=5))
    before = copy.deepcopy(learn)
    learn.fit(1)
    after = pickle.loads(pickle.dumps(learn))
    for copied in (before, after):
        copied.fit(1)

    assert [len(history.steps) for history in local()] == [4, 4, 4]
    assert [history.run.seed for history in local()] == [5, 5, 5]


@pytest.mark.parametrize("action", ["lr_find", "validate"])
def test_what_a_callback_does_in_mid_training(digits, local, action: str) -> None:
    """A search or a validation that a callback begins in mid-training has no steps in the run."""
    made_steps: list[float] = []

    class Counting(Callback):
        order = 69

        def before_step(self) -> None:
            if not any(isinstance(callback, LRFinder) for callback in self.learn.cbs):
                made_steps.append(float(self.learn.loss_grad.detach()))

    options = {"num_it": 6, "show_plot": False} if action == "lr_find" else {}
    acting = Acting(lambda learn: getattr(learn, action)(**options))
    callbacks = [Counting(), LRTrack(tracker="local"), acting]
    learn = made(digits(batches=4), *callbacks)
    learn.fit(2, 0.05)
    (history,) = local()

    assert len(made_steps) == 8
    assert history.series("loss")[1].tolist() == made_steps
    assert history.state is State.FINISHED
    assert history.series("train_loss")[0].tolist() == [7]  # of the first, the Recorder lost it


@pytest.mark.parametrize("callbacks", [list, lambda: [OnTheCPU()]], ids=["", "fp16"])
def test_weights_are_the_same_after_searches(digits, callbacks: Any) -> None:
    """Weights are bit-equal with and without lrtrack after searches, fits and skipped steps."""
    states = []
    for own in ([], [LRTrack(tracker="local"), LRTrack(tracker="local")]):
        task = digits(batches=4)
        learn = made(task, *own, *callbacks())
        learn.fit_one_cycle(1, 0.05)
        learn.lr_find(num_it=30, show_plot=False)
        learn.fit_one_cycle(1, 0.05)
        states.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))

    assert torch.equal(*states)


def test_a_scaler_that_skips_all_steps(digits, local) -> None:
    """A fit whose gradient scaler skips each step has no records, and LR026 says why."""
    scaling = OnTheCPU(init_scale=2.0**60, backoff_factor=0.9)
    made(digits(batches=4), LRTrack(tracker="local"), scaling).fit(3)
    (history,) = local()

    assert "lr" not in history.metrics
    assert [diagnosis["code"] for diagnosis in history.run.diagnoses] == ["LR026"]
    assert "skipped all 12 steps" in history.run.diagnoses[0]["message"]
