"""Searches for a learning rate or a batch size, before a training and in the middle of it."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning
import pytest
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.tuner import Tuner

from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, QUIET, Epochs, codes, fit

pytestmark = [
    *NOISE,
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    # Of Lightning 2.5.0, which goes on after the batch with which the search before ended.
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]
#: Three epochs of four batches.
TASK = {"steps": 12, "batches": 4}


class Searching(LearningRateFinder):
    """Searches for a rate before some epochs, as Lightning's documentation shows."""

    def __init__(self, epochs: tuple[int, ...]) -> None:
        super().__init__(num_training_steps=5, update_attr=False)
        self.epochs = epochs

    def on_fit_start(self, *_: Any) -> None:
        """Does not search at the start."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Searches."""
        if trainer.current_epoch in self.epochs:
            noted = len(pl_module.losses)
            self.lr_find(trainer, pl_module)
            del pl_module.losses[noted:], pl_module.rates[noted:]


@pytest.mark.parametrize("epochs", [(1,), (0, 2)])
@pytest.mark.parametrize("comes_first", [False, True])
def test_searches_in_mid_training(
    digits, local, steps_of, epochs: tuple[int, ...], comes_first: bool
) -> None:
    """The steps of a search for a learning rate are no part of the run, nor are its losses."""
    module = Epochs(digits(**TASK))
    callback = LRTrack(tracker="local")
    finders = (callback, Searching(epochs)) if comes_first else (Searching(epochs), callback)
    trainer = lightning.Trainer(
        **{**QUIET, "enable_checkpointing": True}, max_epochs=3, callbacks=list(finders)
    )
    trainer.fit(module, module.task.loader())
    (history,) = local()
    steps = steps_of(history)

    # Lightning 2.5.0 goes on after the batch with which a search in the first epoch ended.
    assert len(module.losses) in ((12, 11) if 0 in epochs else (12,))
    assert list(steps["loss"].values()) == module.losses
    assert list(steps["lr"].values()) == module.rates
    assert history.steps.tolist() == list(range(len(module.losses)))
    assert callback.state_dict()["global_step"] == len(module.losses)
    assert not {"LR030", "LR031"} & codes(history)


class Breaking(Epochs):
    """A module that breaks in a search, for which Lightning takes away the callbacks."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Raises, or trains."""
        if not any(isinstance(callback, LRTrack) for callback in self.trainer.callbacks):
            raise RuntimeError("broken")
        return super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("uses_it_again", [False, True])
def test_a_search_that_breaks(digits, local, uses_it_again: bool) -> None:
    """A search in mid-training that raises ends the run as FAILED, and later ones are recorded."""
    callback = LRTrack(tracker="local")
    module = Breaking(digits(**TASK))
    with pytest.raises(RuntimeError, match="broken"):
        fit(module, callback, callbacks=[Searching((1,))], max_epochs=3, enable_checkpointing=True)
    (broken,) = local()
    next_callback = callback if uses_it_again else LRTrack(tracker="local")
    fit(Epochs(digits(**TASK)), next_callback)

    assert (broken.state, broken.steps.tolist()) == (State.FAILED, list(range(4)))
    assert [h.steps.tolist() for h in local()] == [list(range(4))] * 2


class Forgetting:
    """A search before the training, whose steps the module forgets."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Searches."""
        super().on_fit_start(trainer, pl_module)  # type: ignore[misc]
        pl_module.searched = len(pl_module.losses)
        del pl_module.losses[:], pl_module.rates[:]


class FindsRate(Forgetting, LearningRateFinder):
    """Of a learning rate."""


class FindsSize(Forgetting, BatchSizeFinder):
    """Of a batch size."""


FINDERS = {
    "a rate": lambda: FindsRate(num_training_steps=5, update_attr=False),
    "a batch size": lambda: FindsSize("power", steps_per_trial=1, max_trials=1),
}


class Sized(Epochs):
    """A module with a batch size that can be searched, and its own loader."""

    batch_size = 16

    def train_dataloader(self) -> Any:
        """Returns the batches."""
        return self.task.loader()


@pytest.mark.parametrize("finder", FINDERS)
def test_a_search_before_the_training(digits, local, steps_of, finder: str) -> None:
    """A search before the training leaves no step in its run."""
    module = Sized(digits(**TASK))
    trainer = lightning.Trainer(
        **{**QUIET, "enable_checkpointing": True},
        max_epochs=2,
        callbacks=[LRTrack(tracker="local"), FINDERS[finder]()],
    )
    trainer.fit(module)
    (history,) = local()

    assert module.searched > 0
    # Lightning 2.5.0 goes on after the batch with which the search for a rate ended.
    assert len(module.losses) in ((8, 7) if finder == "a rate" else (8,))
    assert history.steps.tolist() == list(range(len(module.losses)))
    assert list(steps_of(history)["loss"].values()) == module.losses
    assert list(steps_of(history)["lr"].values()) == module.rates


def test_a_search_by_the_tuner(digits, local, steps_of) -> None:
    """`Tuner.lr_find` leaves no run, and the training after it is recorded from its first step."""
    module = Sized(digits(**TASK))
    trainer = lightning.Trainer(
        **{**QUIET, "enable_checkpointing": True},
        max_epochs=2,
        callbacks=[LRTrack(tracker="local")],
    )
    Tuner(trainer).lr_find(module, num_training=5, update_attr=False)
    searched = len(module.losses)
    runs = local()
    del module.losses[:], module.rates[:]
    trainer.fit(module)
    (history,) = local()

    assert (searched, runs) == (5, [])
    assert history.steps.tolist() == list(range(8))
    assert list(steps_of(history)["loss"].values()) == module.losses
    assert list(steps_of(history)["lr"].values()) == module.rates
