"""What the callback takes from the user and the Trainer, and what it reports as not observed."""

from __future__ import annotations

import copy
import inspect
import math
import subprocess
import sys
import time
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch

import lrtrack
from lrtrack.errors import LRTrackWarning, TrainingStopped, UsageError
from lrtrack.integrations.lightning import LRTrack
from lrtrack.records import State

from .modules import NOISE, QUIET, Module, fit

pytestmark = NOISE


def test_what_a_user_logs_himself(digits, local) -> None:
    """Metrics logged through `callback.run` go into the open run."""

    class Logging(Module):
        def on_train_batch_end(self, *_: Any) -> None:
            callback.run.log(mine=callback.run.step)

    callback = LRTrack(tracker="local", seed=7, name="mine")
    fit(Logging(digits(steps=3)), callback)
    (history,) = local()

    assert history.metrics["mine"].tolist() == [0, 1, 2]
    assert (history.run.seed, history.run.name, callback.run) == (7, "mine", None)


def test_the_seed_is_that_of_seed_everything(digits, local, monkeypatch) -> None:
    """The seed is the one of `seed_everything`, and `norms="layer"` needs no model."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "")  # restored after the test
    lightning.seed_everything(11, verbose=False)
    fit(Module(digits(steps=1)), LRTrack(tracker="local", norms="layer"))
    (history,) = local()

    assert history.run.seed == 11
    assert "grad_norm/model.2.bias" in history.metrics


def test_fast_dev_run_records_nothing(digits, local) -> None:
    """`fast_dev_run` records nothing, like Lightning's own loggers."""
    fit(Module(digits()), fast_dev_run=True)

    assert local() == []


def test_a_trainer_without_an_optimizer_says_that_nothing_is_observed(digits, local) -> None:
    """A Trainer without an optimizer is reported as not observed, and trains."""

    class Idle(Module):
        def configure_optimizers(self) -> None:
            return None

    with pytest.warns(LRTrackWarning, match="no optimizer.*nothing is recorded"):
        with pytest.warns(UserWarning, match="will run with no optimizer"):
            fit(Idle(digits(steps=2)))

    assert local() == []


def test_an_engine_that_steps_by_itself_is_said_not_to_be_observed(digits, local) -> None:
    """An engine that steps by itself, such as DeepSpeed's, is reported as not observed."""

    class EngineStrategy(lightning.strategies.SingleDeviceStrategy):
        handles_gradient_accumulation = True

    with pytest.warns(LRTrackWarning, match="Under EngineStrategy .* nothing is recorded"):
        fit(Module(digits(steps=2)), strategy=EngineStrategy("cpu"))

    assert local() == []


def test_a_mistake_is_said_before_the_training(digits) -> None:
    """A mistake is an error where the callback is made, or before the first step."""
    with pytest.raises(TypeError, match=r"LRTrack\(\).*experiment"):
        LRTrack(experimnt="x")
    task = digits()
    before = copy.deepcopy(task.model.state_dict())
    with pytest.raises(UsageError, match="config"):
        fit(Module(task), LRTrack(tracker="local", resume="x", config=3))
    torch.testing.assert_close(task.model.state_dict(), before)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("sys.modules['lightning'] = None", "pip install 'lrtrack[lightning]'"),
        ("lrtrack._optional.version = lambda package: '2.4.9'", "lrtrack needs 2.5 or later"),
    ],
    ids=["none", "an old one"],
)
def test_without_a_lightning_that_is_supported(setting: str, said: str) -> None:
    """Without a supported Lightning, the import says which package to install."""
    program = f"""
import sys
import lrtrack._optional
sys.modules["pytorch_lightning"] = None
{setting}
try:
    import lrtrack.integrations.lightning
except lrtrack.LRTrackError as error:
    print(error)
"""
    process = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)

    assert (process.returncode, process.stderr) == (0, "")
    assert said in process.stdout


def test_a_diagnosis_ends_the_fit(digits, local) -> None:
    """A diagnosis in `stop_on` ends the fit by an exception, and the run has failed."""

    class Broken(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            while batch_idx == 60 and not callback.run.diagnoses:
                time.sleep(0.01)
            return super().training_step(batch, batch_idx) * (1.0 if batch_idx < 20 else math.nan)

    callback = LRTrack(tracker="local", stop_on="LR006")
    with pytest.warns(LRTrackWarning, match="LR006 in run "):
        with pytest.raises(TrainingStopped, match="LR006") as stopped:
            fit(Broken(digits(steps=100)), callback)
    (history,) = local()

    assert stopped.value.step == history.steps[-1] < 99
    assert (history.state, callback.run) == (State.FAILED, None)


def test_the_signature_lists_all_options() -> None:
    """The constructor's signature has the options of `track()`, so that LightningCLI knows them."""
    parameters = inspect.signature(LRTrack.__init__).parameters
    expected = inspect.signature(lrtrack.track).parameters

    assert list(parameters)[1:] == list(expected)[2:]
    assert (parameters["norms"].default, parameters["norms"].annotation) == ("global", str)
    assert parameters["loss_over"].default == "mean"


def test_a_command_line(digits, local, monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI takes the options in `init_args`."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # those are Lightning's own
    from lightning.pytorch.cli import LightningCLI

    task = digits(steps=4)

    class FromCli(Module):
        def __init__(self) -> None:
            super().__init__(task)

        def train_dataloader(self) -> Any:
            return task.loader()

    options = {"tracker": "local", "seed": 7, "updates": 2, "stop_on": ["LR006"]}
    callback = {"class_path": "lrtrack.integrations.lightning.LRTrack", "init_args": options}
    settings = {**QUIET, "max_epochs": 1, "callbacks": [callback]}
    LightningCLI(
        FromCli,
        args={"fit": {"trainer": settings}},
        save_config_callback=None,
        seed_everything_default=3,
    )
    (history,) = local()

    assert (history.run.seed, history.steps.size) == (7, 4)
    assert "update_norm" in history.metrics
