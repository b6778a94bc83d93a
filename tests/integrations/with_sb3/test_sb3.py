"""Algorithms of Stable-Baselines3 with the callback, compared with what their losses were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lrtrack.errors import UsageError
from lrtrack.records import State

pytest.importorskip("gymnasium", reason="needs stable-baselines3")
pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
import gymnasium
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback

from lrtrack.integrations.stable_baselines3 import LRTrack


class Walk(gymnasium.Env):
    """A walk of 10 steps on a line, with either kind of action; its reward is its place."""

    observation_space = gymnasium.spaces.Box(-10, 10, (1,), np.float32)

    def __init__(self, continuous: bool = False) -> None:
        discrete, box = gymnasium.spaces.Discrete(2), gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = box if continuous else discrete
        self.at, self.steps = 0.0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begins again."""
        super().reset(seed=seed)
        self.at, self.steps = 0.0, 0
        return np.array([self.at], np.float32), {}

    def step(self, action: Any) -> Any:
        """Makes a step."""
        self.at = float(np.clip(self.at + float(np.sum(action)), -10, 10))
        self.steps += 1
        return np.array([self.at], np.float32), self.at, False, self.steps == 10, {}


def algorithm(kind: Any, **options: Any) -> Any:
    """A small algorithm on the CPU."""
    given = {"policy_kwargs": {"net_arch": [4]}, "seed": 0, "device": "cpu", **options}
    return kind("MlpPolicy", Walk(continuous=kind in (SAC, TD3)), **given)


def falling(progress_remaining: float) -> float:
    """A linear schedule, from 0.1 to 0."""
    return 0.1 * progress_remaining


def measured_steps(optimizer: Any) -> list[tuple[float, float]]:
    """The rate and the gradient norm of each later step, as torch's own hooks see them."""
    seen = []

    def note(optimizer: Any, args: Any, kwargs: Any) -> None:
        gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
        norm = torch.nn.utils.get_total_norm([g for g in gradients if g is not None])
        seen.append((optimizer.param_groups[0]["lr"], float(norm)))

    optimizer.register_step_pre_hook(note)
    return seen


def test_ppo(local) -> None:
    """PPO's updates are steps with its own rates and norms, and the schedule is found in them."""
    model = algorithm(PPO, learning_rate=falling, n_steps=32, batch_size=16, n_epochs=2)
    seen = measured_steps(model.policy.optimizer)
    callback = LRTrack(tracker="local")
    model.learn(32 * 5, callback=callback)
    (history,) = local()

    assert history.steps.tolist() == list(range(5 * 2 * 2))
    assert history.series("lr")[1].tolist() == [rate for rate, _ in seen]
    assert history.series("grad_norm")[1].tolist() == pytest.approx([n for _, n in seen], rel=1e-5)
    assert history.series("loss")[1][-1] == model.logger.name_to_value["train/loss"]
    assert history.series("timesteps")[0].tolist() == [3, 7, 11, 15, 19]
    assert history.series("timesteps")[1].tolist() == [32, 64, 96, 128, 160]
    assert history.series("ep_len_mean")[1].tolist() == [10.0] * 5
    assert history.series("train/value_loss")[0].tolist() == [3, 7, 11, 15, 19]
    assert (history.state, history.run.seed, history.run.total_steps) == (State.FINISHED, 0, 20)
    assert history.run.config["algorithm"] == "PPO"
    assert history.run.config["n_epochs"] == 2


@pytest.mark.parametrize(
    ("kind", "options", "timesteps"),
    [
        (A2C, {"n_steps": 8}, 20),
        (DQN, {"learning_starts": 10, "train_freq": 4, "gradient_steps": 2, "batch_size": 4}, 41),
        (DQN, {"learning_starts": 8, "train_freq": 4, "gradient_steps": -1, "batch_size": 4}, 20),
        (SAC, {"learning_starts": 10, "batch_size": 4}, 16),
        (TD3, {"learning_starts": 10, "batch_size": 4}, 17),
    ],
    ids=["A2C", "DQN", "DQN, as many as timesteps", "SAC", "TD3"],
)
def test_the_number_of_steps_is_known_before(local, kind: Any, options: Any, timesteps: int):
    """As many steps are made as the run says in advance; SAC's and TD3's optimizers are one run."""
    algorithm(kind, **options).learn(timesteps, callback=LRTrack(tracker="local"))
    (history,) = local()
    several = {"SAC": {"actor", "critic", "ent_coef"}, "TD3": {"actor", "critic"}}
    names = {name.partition("/")[2] for name in history.metrics if name.startswith("lr/")}

    assert history.run.total_steps == len(history.steps) > 0
    assert names == several.get(kind.__name__, set())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (PPO, {"n_steps": 8, "batch_size": 8, "target_kl": 0.1}),
        (DQN, {"train_freq": (1, "episode"), "learning_starts": 0, "batch_size": 4}),
    ],
    ids=["PPO that may stop early", "DQN by episodes"],
)
def test_a_number_that_is_open_is_not_guessed(local, kind: Any, options: Any) -> None:
    """Where episodes or early stopping decide on the number of steps, the run names none."""
    algorithm(kind, **options).learn(16, callback=LRTrack(tracker="local"))

    assert local()[0].run.total_steps is None


def test_weights_are_the_same_without() -> None:
    """Weights are bit-equal with and without lrtrack."""
    states = []
    for callback in (None, LRTrack(tracker="local", norms="group")):
        model = algorithm(PPO, learning_rate=falling, n_steps=16, batch_size=8)
        model.learn(32, callback=callback)
        states.append(torch.cat([p.detach().flatten() for p in model.policy.parameters()]))

    assert torch.equal(*states)


def test_a_training_that_goes_on_continues_its_run(local) -> None:
    """Without a reset of the timesteps the run goes on, else a new one begins."""
    model, callback = algorithm(A2C, n_steps=8), LRTrack(tracker="local")
    model.learn(16, callback=callback)
    model.learn(24, callback=callback, reset_num_timesteps=False)
    assert [(h.steps.tolist(), h.run.total_steps) for h in local()] == [(list(range(5)), 5)]
    model.learn(8, callback=callback)

    assert [len(history.steps) for history in local()] == [1, 5]


def test_a_training_that_breaks_is_failed(local) -> None:
    """A training that an exception leaves is FAILED, once another one begins."""

    class Breaking(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps == 20:
                raise RuntimeError("broken")
            return True

    model, callback = algorithm(A2C, n_steps=8), LRTrack(tracker="local")
    with pytest.raises(RuntimeError, match="broken"):
        model.learn(32, callback=[callback, Breaking()])
    model.learn(8, callback=callback)

    found = [(history.state, len(history.steps)) for history in local()]
    assert found == [(State.FINISHED, 1), (State.FAILED, 2)]


def test_wrong_options_are_refused_at_once() -> None:
    """A misspelt option and an invalid value are refused where the callback is made."""
    with pytest.raises(TypeError, match="experimnt"):
        LRTrack(experimnt="x")
    with pytest.raises(UsageError, match="at least 1"):
        LRTrack(every=0)
