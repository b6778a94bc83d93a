"""Programs that change the schedule, the module or the Trainer in the middle."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, QUIET, Adversaries, Epochs, Module, codes, fit

pytestmark = [*NOISE, pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")]
#: Three epochs of four batches.
TASK = {"steps": 12, "batches": 4}


def test_a_scheduler_that_weight_averaging_replaces(digits, local) -> None:
    """Both schedulers are in the run's schedule, which differs from that without averaging."""
    make = lambda optimizer: CosineAnnealingLR(optimizer, 20)  # noqa: E731
    module = Epochs(digits(steps=80, batches=4), make)
    swa = StochasticWeightAveraging(0.01, swa_epoch_start=10, annealing_epochs=4)
    fit(module, callbacks=[swa], max_epochs=20)
    fit(Epochs(digits(steps=80, batches=4), make), max_epochs=20)
    plain, averaged = local()

    assert averaged.run.schedule.name == "CosineAnnealingLR -> SWALR"
    first, second = averaged.run.schedule.params["schedulers"]
    assert (first["name"], first["T_max"]) == ("CosineAnnealingLR", 20)
    assert (second["name"], second["swa_lr"]) == ("SWALR", 0.01)
    assert averaged.run.schedule.params["begin"] == [36]
    assert averaged.run.schedule.id != plain.run.schedule.id
    assert averaged.series("lr")[1].tolist() == module.rates[: averaged.steps.size]
    assert (codes(averaged), codes(plain)) == (set(), set())


def test_weight_averaging_that_is_resumed(digits, local) -> None:
    """A resumed training keeps the step at which the second scheduler began."""
    swa = lambda: StochasticWeightAveraging(0.01, swa_epoch_start=2)  # noqa: E731
    for epochs, path in ((3, None), (6, "swa.ckpt")):
        trainer = lightning.Trainer(
            **{**QUIET, "enable_checkpointing": True},
            max_epochs=epochs,
            callbacks=[LRTrack(tracker="local"), swa()],
        )
        module = Epochs(digits(steps=24, batches=4))
        trainer.fit(module, module.task.loader(), ckpt_path=path)
        trainer.save_checkpoint("swa.ckpt")
    (history,) = local()

    assert history.run.schedule.name == "StepLR -> SWALR"
    assert history.run.schedule.params["begin"] == [4]
    assert history.steps.tolist() == list(range(24))


def test_weight_averaging_with_batch_norms(digits, local) -> None:
    """The epoch in which Lightning updates batch norms makes one step, which `total_steps` has."""
    task = digits(**TASK)
    task.model.insert(1, torch.nn.BatchNorm1d(16))
    swa = StochasticWeightAveraging(0.01, swa_epoch_start=2)
    fit(Epochs(task), callbacks=[swa], max_epochs=3)
    (history,) = local()

    assert history.steps.tolist() == list(range(13))
    assert history.run.total_steps == 13


def test_a_second_fit(digits, local) -> None:
    """Another module, schedule or rate in the same Trainer is a new run from step 0."""
    callback = LRTrack(tracker="local")
    trainer = lightning.Trainer(**QUIET, max_epochs=1, callbacks=[callback])
    module, other = Epochs(digits(**TASK)), Epochs(digits(**TASK))
    later = lambda optimizer: StepLR(optimizer, 5)  # noqa: E731
    fits = [(module, module.make, 0.1)] * 2
    fits += [(module, later, 0.1), (module, later, 0.05), (other, later, 0.05)]
    for number, (own, make, rate) in enumerate(fits):
        own.make, own.lr = make, rate
        trainer.fit_loop.max_epochs = number + 1
        trainer.fit(own, own.task.loader())
    runs = list(reversed(local()))

    assert [history.steps.tolist() for history in runs] == [[*range(8)], *[[*range(4)]] * 3]
    assert [history.run.optimizer["lr"] for history in runs] == [0.1, 0.1, 0.05, 0.05]
    assert {history.state for history in runs} == {State.FINISHED}
    assert not {code for history in runs for code in codes(history)} & {"LR030"}


class Copying(lightning.Callback):
    """Copies and pickles the Trainer and the callback in mid-training."""

    def __init__(self) -> None:
        self.copies: list[Any] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Does so after the second step."""
        if trainer.global_step == 2:
            callback = trainer.callbacks[0]
            copied = copy.deepcopy(callback)
            assert not {"log", "log_dict"} & vars(copied).keys()  # the module's, which it trains
            self.copies += [copied, pickle.loads(pickle.dumps(callback))]
            copy.deepcopy(trainer)
            pickle.dumps(trainer)


def test_copies(digits, local) -> None:
    """A Trainer and its callback can be copied and pickled before, during and after a fit."""
    callback, copying = LRTrack(tracker="local", norms="off"), Copying()
    trainer = lightning.Trainer(**QUIET, max_epochs=1, callbacks=[callback, copying])
    before = copy.deepcopy(trainer)
    module = Module(digits(**TASK))
    trainer.fit(module, module.task.loader())
    after = copy.deepcopy(trainer)
    copies = [*copying.copies, pickle.loads(pickle.dumps(callback))]
    states = [copied.state_dict() for copied in copies]
    module = Module(digits(**TASK))
    before.fit(module, module.task.loader())
    after.fit_loop.max_epochs = 2
    after.fit(module, module.task.loader())

    assert (states, [copied.runs for copied in copies]) == ([{}] * 3, [[]] * 3)
    runs = [history.steps.tolist() for history in reversed(local())]
    assert runs == [[*range(4)], [*range(4)], [*range(4, 8)]]
    assert not [history for history in local() if "grad_norm" in history.metrics]


def test_two_callbacks_of_one_trainer(digits, local) -> None:
    """Two callbacks record the same steps, each under its prefix, and both are resumed."""
    callbacks = [LRTrack(tracker="local", prefix=f"{name}/") for name in "ab"]
    trainer = lightning.Trainer(
        **{**QUIET, "enable_checkpointing": True}, max_epochs=1, callbacks=callbacks
    )
    module = Module(digits(**TASK))
    trainer.fit(module, module.task.loader())
    trainer.save_checkpoint("both.ckpt")
    again = [LRTrack(tracker="local", prefix=f"{name}/") for name in "ab"]
    trainer = lightning.Trainer(
        **{**QUIET, "enable_checkpointing": True}, max_epochs=3, callbacks=again
    )
    module = Module(digits(**TASK))
    trainer.fit(module, module.task.loader(), ckpt_path="both.ckpt")

    assert {history.run.prefix: history.steps.tolist() for history in local()} == {
        "a/": [*range(12)], "b/": [*range(12)]
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resumed_callback_with_other_options(
    digits, local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only callback of a checkpoint goes on although one of its options has changed."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    for epochs, options, path in ((1, {"tracker": "local"}, None), (2, {}, "one.ckpt")):
        callback = LRTrack(**options)
        trainer = lightning.Trainer(
            **{**QUIET, "enable_checkpointing": True}, max_epochs=epochs, callbacks=[callback]
        )
        module = Module(digits(**TASK))
        trainer.fit(module, module.task.loader(), ckpt_path=path)
        trainer.save_checkpoint("one.ckpt")

    assert [history.steps.tolist() for history in local()] == [[*range(8)]]


def test_several_optimizers_without_the_state_of_a_run(digits, local) -> None:
    """Without the state of a run, each optimizer goes on at the step that it has counted."""
    for epochs, path, callbacks in ((1, None, []), (2, "none.ckpt", [LRTrack(tracker="local")])):
        trainer = lightning.Trainer(
            **{**QUIET, "enable_checkpointing": True}, max_epochs=epochs, callbacks=callbacks
        )
        module = Adversaries(digits(steps=4))
        trainer.fit(module, module.task.loader(), ckpt_path=path)
        trainer.save_checkpoint("none.ckpt")

    assert [history.steps.tolist() for history in local()] == [[*range(4, 8)]] * 2
