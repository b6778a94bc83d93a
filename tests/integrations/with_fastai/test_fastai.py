"""fastai's Learner with the callback, compared with what a callback beside it has measured."""

from __future__ import annotations

import gc
import pickle
from functools import partial
from typing import Any

import pytest
import torch

from lrtrack.errors import UsageError
from lrtrack.records import State

pytest.importorskip("fastai", reason="needs fastai, as tox -e newest-fastai installs it")
from fastai.callback.core import Callback
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.optimizer import SGD, Adam, OptimWrapper

from lrtrack.integrations.fastai import LRTrack

from .measuring import learner

TORCH_SGD = partial(OptimWrapper, opt=partial(torch.optim.SGD, momentum=0.9))


class Measured(Callback):
    """Measures what the records should hold, right where fastai makes the step."""

    order, run_valid = 69, False

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.sums = 0.0

    def after_loss(self) -> None:
        """Adds up the loss of one backward call."""
        self.sums += float(self.learn.loss_grad.detach())

    def before_step(self) -> None:
        """Notes what the step uses."""
        gradients = [p.grad for p in self.learn.model.parameters()]
        self.norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        self.rates.append(float(self.learn.opt.hypers[0]["lr"]))
        self.losses.append(self.sums)
        self.sums = 0.0


@pytest.mark.parametrize("opt_func", [Adam, TORCH_SGD], ids=["fastai's", "torch's"])
def test_records_are_those_of_the_steps(digits, local, opt_func: Any) -> None:
    """Rates, losses and norms are what each step of one-cycle used, after clipping."""
    measured, callback = Measured(), LRTrack(tracker="local", seed=3)
    made = learner(digits(batches=6), [measured, GradientClip(0.5), callback], opt_func)
    made.fit_one_cycle(2, 0.1)
    (history,) = local()
    values = {name: history.series(name)[1].tolist() for name in ("lr", "loss", "grad_norm")}

    assert history.steps.tolist() == list(range(12))
    assert values["lr"] == measured.rates == [float(rate) for rate in made.recorder.lrs]
    assert values["loss"] == measured.losses
    assert values["grad_norm"] == pytest.approx(measured.norms, rel=1e-6)
    assert len(history.series("momentum")[1]) == 12
    assert (history.series("grad_norm_preclip")[1] >= values["grad_norm"]).all()
    assert (history.state, history.run.total_steps) == (State.FINISHED, 12)
    assert history.run.optimizer["name"] == ("Adam" if opt_func is Adam else "SGD")
    assert history.run.config == {"epochs": 2, "batch_size": 16, "steps_per_epoch": 6}


def test_the_recorders_values_are_logged(digits, local) -> None:
    """What the Recorder prints after an epoch is at the epoch's last step."""
    made = learner(digits(batches=3), [LRTrack(tracker="local")])
    made.fit(2)
    (history,) = local()
    names = ("train_loss", "valid_loss", "accuracy")

    assert [history.series(name)[0].tolist() for name in names] == [[2, 5]] * 3
    logged = zip(*(history.series(name)[1].tolist() for name in names), strict=True)
    assert [list(values) for values in logged] == [list(v) for v in made.recorder.values]


@pytest.mark.parametrize("opt_func", [SGD, TORCH_SGD], ids=["fastai's", "torch's"])
def test_weights_are_the_same_without(digits, opt_func: Any) -> None:
    """Weights are bit-equal with and without lrtrack, and fastai's optimizer gets its step back."""
    states = []
    for callbacks in ([], [LRTrack(tracker="local", norms="layer")]):
        task = digits(batches=4)
        made = learner(task, callbacks, opt_func)
        made.fit_one_cycle(2, 0.1)
        states.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))
        assert "step" not in vars(made.opt)

    assert torch.equal(*states)


def test_accumulated_batches_make_one_step(digits, local) -> None:
    """Accumulated batches make one record with the loss that the gradients belong to."""
    measured = Measured()
    callbacks = [measured, GradientAccumulation(32), LRTrack(tracker="local")]
    learner(digits(batches=6), callbacks).fit(2)
    (history,) = local()

    assert history.steps.tolist() == list(range(6))
    assert history.series("loss")[1].tolist() == pytest.approx(measured.losses, rel=1e-6)
    assert history.run.total_steps == 6


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # of `lr_find`
@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")  # likewise
def test_a_search_for_a_rate_is_no_training(digits, local) -> None:
    """`lr_find` leaves no run, and each fit after it is one; fine-tuning is two fits."""
    made = learner(digits(batches=4), [LRTrack(tracker="local")])
    made.lr_find(num_it=12, show_plot=False)
    gc.collect()
    assert local() == []
    made.fine_tune(1)

    assert [len(history.steps) for history in local()] == [4, 4]


def test_a_fit_that_breaks_is_failed(digits, local) -> None:
    """A fit that an exception leaves is FAILED, once another one begins; that one is recorded."""

    class Breaking(Callback):
        def after_step(self) -> None:
            if self.learn.train_iter == 2:
                raise RuntimeError("broken")

    made = learner(digits(batches=4), [LRTrack(tracker="local")])
    with pytest.raises(RuntimeError, match="broken"):
        made.fit(1, cbs=Breaking())
    made.fit(1)

    found = [(history.state, len(history.steps)) for history in local()]
    assert found == [(State.FINISHED, 4), (State.FAILED, 3)]


def test_a_callback_is_pickled_without_its_run(digits, local) -> None:
    """A pickled callback has its options and no run, as an exported Learner needs it."""
    callback = LRTrack(tracker="local", seed=5)
    learner(digits(batches=2), [callback]).fit(1)
    callback.learn = None
    copied = pickle.loads(pickle.dumps(callback))

    assert callback.tracked is not None
    assert copied.tracked is None
    learner(digits(batches=2), [copied]).fit(1)
    assert [history.run.seed for history in local()] == [5, 5]


def test_wrong_options_are_refused_at_once() -> None:
    """A misspelt option and an invalid value are refused where the callback is made."""
    with pytest.raises(TypeError, match="experimnt"):
        LRTrack(experimnt="x")
    with pytest.raises(UsageError, match="at least 1"):
        LRTrack(total_steps=0)
