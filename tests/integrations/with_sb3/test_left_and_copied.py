"""Stable-Baselines3's trainings that an exception leaves, and copies of their callbacks."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from lrtrack.records import State

pytest.importorskip("gymnasium", reason="needs stable-baselines3")
pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from lrtrack.integrations.stable_baselines3 import LRTrack

from .test_sb3 import algorithm
from .test_situations import OFF, UPDATES, Truth


class Acting(BaseCallback):
    """Does something at the 20th step of the environment, when some updates are made."""

    def __init__(self, action: Any) -> None:
        super().__init__()
        self.action = action
        self.made: Any = None

    def _on_step(self) -> bool:
        if self.num_timesteps == 20:
            self.made = self.action()
        return True


def interrupt() -> None:
    """Presses Ctrl-C."""
    raise KeyboardInterrupt


def pickled(callback: Any) -> Any:
    """A copy by way of a pickle."""
    return pickle.loads(pickle.dumps(callback))


@pytest.mark.parametrize("kind", [PPO, DQN], ids=["on-policy", "off-policy"])
def test_ctrl_c_ends_the_run(local, kind: Any) -> None:
    """A training that is interrupted is FAILED at once, and the next one with the model is not."""
    model = algorithm(kind, **(UPDATES if kind is PPO else OFF))
    truth = Truth(model)
    with pytest.raises(KeyboardInterrupt):
        model.learn(40, callback=[LRTrack(tracker="local"), Acting(interrupt)])
    (history,) = local()
    assert history.state is State.FAILED
    assert truth.matches(history)
    model.learn(24, callback=LRTrack(tracker="local"))

    assert [history.state for history in local()] == [State.FINISHED, State.FAILED]


def test_an_unpickled_callback_in_another_process(local, monkeypatch) -> None:
    """A callback that was unpickled in a process where none was made ends its run like others."""
    content = pickle.dumps(LRTrack(tracker="local"))
    monkeypatch.setattr(OnPolicyAlgorithm, "learn", OnPolicyAlgorithm.learn.__wrapped__)
    with pytest.raises(KeyboardInterrupt):
        algorithm(PPO, **UPDATES).learn(40, callback=[pickle.loads(content), Acting(interrupt)])

    assert [history.state for history in local()] == [State.FAILED]


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_copies_of_a_callback(local, copied: Any) -> None:
    """Copies of a callback before, during and after a training have its options and no run."""
    callback = LRTrack(tracker="local", seed=5)
    before, acting = copied(callback), Acting(lambda: copied(callback))
    model = algorithm(PPO, **UPDATES)
    truth = Truth(model)
    model.learn(24, callback=[callback, acting])
    assert truth.matches(local()[0])
    for each in (before, acting.made, copied(callback)):
        assert each.run is None
        algorithm(PPO, **UPDATES).learn(8, callback=each)

    assert [len(history.steps) for history in local()] == [4, 4, 4, 12]
    assert {history.run.seed for history in local()} == {5}


def test_two_callbacks_in_one_training(local) -> None:
    """Two callbacks record the same steps, each in a run of its own."""
    model = algorithm(PPO, **UPDATES)
    truth = Truth(model)
    model.learn(24, callback=[LRTrack(tracker="local", name=name) for name in ("a", "b")])
    histories = local()

    assert {history.run.name for history in histories} == {"a", "b"}
    assert all(map(truth.matches, histories))


def test_a_model_that_is_saved_in_mid_training(local) -> None:
    """A model that a callback saves and loads in mid-training goes on in its run."""
    model = algorithm(PPO, **UPDATES)
    truth = Truth(model)
    saving = Acting(lambda: (model.save("model"), PPO.load("model"))[1])
    model.learn(24, callback=[LRTrack(tracker="local"), saving])
    (history,) = local()
    loaded = [parameter.detach() for parameter in saving.made.policy.parameters()]

    assert truth.matches(history)
    assert history.state is State.FINISHED
    assert all(torch.isfinite(parameter).all() for parameter in loaded)
