"""Situations of Stable-Baselines3's users, each with its own truth: what torch's hooks saw."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from lrtrack.records import State

pytest.importorskip("gymnasium", reason="needs stable-baselines3")
pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor

from lrtrack.integrations.stable_baselines3 import LRTrack

from .test_sb3 import Walk, algorithm, falling

pytestmark = pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
#: What a sound training must not have.
FALSE = {"LR002", "LR013", "LR030", "LR031"}
OFF = {"learning_starts": 10, "batch_size": 4}


def halved(progress_remaining: float) -> float:
    """A rate that is halved in the middle."""
    return 0.01 if progress_remaining > 0.5 else 0.005


class Truth:
    """The rate and the norm of each step of each of an algorithm's optimizers."""

    def __init__(self, model: Any) -> None:
        self.steps: dict[str, list[tuple[float, float]]] = {}
        owners = {"actor": model.policy, "critic": model.policy}
        for name, policy in owners.items():
            part = getattr(policy, name, None)
            if getattr(part, "optimizer", None) is not None:
                self._watch(name, part.optimizer)
        if getattr(model, "ent_coef_optimizer", None) is not None:
            self._watch("ent_coef", model.ent_coef_optimizer)
        if not self.steps:
            self._watch("", model.policy.optimizer)

    def _watch(self, name: str, optimizer: Any) -> None:
        seen = self.steps[name] = []

        def note(optimizer: Any, *_: Any) -> None:
            gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
            norm = torch.nn.utils.get_total_norm([g.double() for g in gradients if g is not None])
            seen.append((optimizer.param_groups[0]["lr"], float(norm)))

        optimizer.register_step_pre_hook(note)

    def matches(self, history: Any, start: int = 0) -> bool:
        """Whether a run holds them, from a step on."""
        for name, seen in self.steps.items():
            end = f"/{name}" if name else ""
            rates, norms = (history.series(f"{kind}{end}")[1] for kind in ("lr", "grad_norm"))
            assert rates.tolist()[start:] == [rate for rate, _ in seen], name
            assert norms.tolist()[start:] == pytest.approx([norm for _, norm in seen], rel=1e-5)
        return bool(self.steps)


@dataclass(frozen=True)
class Case:
    """One situation.

    Attributes:
        kind: the algorithm.
        options: its options.
        callbacks: makes further callbacks.
        timesteps: of the environment.
        steps: how many rounds of the optimizers there are.
    """

    kind: Any
    options: dict[str, Any]
    callbacks: Callable[[], list[Any]] = list
    timesteps: int = 40
    steps: int = 20


def evaluating() -> list[Any]:
    """Callbacks as most users have them."""
    return [
        EvalCallback(Monitor(Walk()), eval_freq=10, n_eval_episodes=1, verbose=0),
        CallbackList([CheckpointCallback(16, "kept")]),
    ]


UPDATES = {"n_steps": 8, "batch_size": 4, "n_epochs": 2}
CASES = {
    "PPO, linear": Case(PPO, {**UPDATES, "learning_rate": falling}),
    "A2C, linear": Case(A2C, {"n_steps": 8, "learning_rate": falling}, steps=5),
    "PPO, clipped": Case(PPO, {**UPDATES, "max_grad_norm": 0.01}),
    "PPO, halved": Case(PPO, {**UPDATES, "learning_rate": halved}),
    "PPO, callbacks": Case(PPO, {**UPDATES, "learning_rate": falling}, evaluating),
    "PPO, SGD": Case(
        PPO, {**UPDATES, "policy_kwargs": {"optimizer_class": torch.optim.SGD, "net_arch": [4]}}
    ),
    "DQN": Case(DQN, {**OFF, "train_freq": 4, "learning_rate": falling}, steps=8),
    "SAC": Case(SAC, {**OFF, "learning_rate": halved}, steps=30),
    "SAC, fixed entropy": Case(SAC, {**OFF, "ent_coef": 0.1}, steps=30),
    "TD3, delayed": Case(TD3, {**OFF, "policy_delay": 3, "learning_rate": halved}, steps=30),
    "stopped": Case(PPO, UPDATES, lambda: [StopTrainingOnMaxEpisodes(2)], steps=8),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_run_holds(local, name: str) -> None:
    """A run holds the rates and norms of each optimizer's steps, and no false diagnosis."""
    case = CASES[name]
    model = algorithm(case.kind, **case.options)
    truth = Truth(model)
    model.learn(case.timesteps, callback=[LRTrack(tracker="local"), *case.callbacks()])
    (history,) = local()

    assert history.steps.tolist() == list(range(case.steps))
    assert truth.matches(history)
    assert history.state is State.FINISHED
    assert not {d["code"] for d in history.run.diagnoses} & FALSE


def test_several_environments(local) -> None:
    """Environments that run side by side count in the timesteps, and make no further steps."""
    model = PPO(
        "MlpPolicy",
        make_vec_env(Walk, 2, seed=0),
        **UPDATES,
        policy_kwargs={"net_arch": [4]},
        device="cpu",
    )
    truth = Truth(model)
    model.learn(32, callback=LRTrack(tracker="local"))
    (history,) = local()

    assert truth.matches(history)
    assert history.run.total_steps == len(history.steps) == 16
    assert history.series("timesteps")[1].tolist() == [16, 32]


@pytest.mark.parametrize("kind", [PPO, SAC], ids=["one optimizer", "several"])
def test_a_model_that_is_loaded_goes_on(local, clean_place, kind: Any) -> None:
    """A loaded model goes on in a run of its own, or in the one that `resume` names."""
    options = UPDATES if kind is PPO else OFF
    model = algorithm(kind, learning_rate=halved, **options)
    truths, first = [Truth(model)], LRTrack(tracker="local")
    model.learn(24, callback=first)
    model.save("model")
    for resume in (None, first.run.id):
        loaded = kind.load("model", env=model.get_env())
        truths.append(Truth(loaded))
        callback = LRTrack(tracker="local", resume=resume)
        loaded.learn(16, callback=callback, reset_num_timesteps=False)
    runs = {history.run.id: history for history in local()}
    before = runs.pop(first.run.id)
    (own,) = runs.values()
    made = len(next(iter(truths[0].steps.values())))
    added = len(own.steps)

    assert own.steps.tolist() == list(range(added))
    assert truths[1].matches(own)
    assert before.steps.tolist() == list(range(made + added))
    assert truths[2].matches(before, start=made)
    assert own.run.total_steps == added


class Killed(BaseCallback):
    """Kills the process in the third rollout."""

    def _on_step(self) -> bool:
        if self.num_timesteps == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return True


def test_a_killed_training_goes_on(local, in_child, clean_place) -> None:
    """A killed training that goes on from a checkpoint has a run for each part."""

    def killed() -> None:
        callbacks = [LRTrack(tracker="local"), CheckpointCallback(16, "kept"), Killed()]
        algorithm(PPO, **UPDATES).learn(40, callback=callbacks)

    status = in_child(killed)
    model = PPO.load("kept/rl_model_16_steps", env=Walk())
    truth = Truth(model)
    model.learn(24, callback=LRTrack(tracker="local"), reset_num_timesteps=False)
    history, earlier = local()

    assert (status, earlier.state) == (-signal.SIGKILL, State.FAILED)
    assert truth.matches(history)
    assert (history.state, history.run.total_steps) == (State.FINISHED, len(history.steps))


def test_another_rate_in_the_middle(local) -> None:
    """A rate that the user changes between two trainings is that of the second one's steps."""
    model, callback = algorithm(A2C, n_steps=8, learning_rate=0.01), LRTrack(tracker="local")
    truth = Truth(model)
    model.learn(24, callback=callback)
    model.learning_rate = 0.001
    model._setup_lr_schedule()
    model.learn(24, callback=callback, reset_num_timesteps=False)
    (history,) = local()

    assert truth.matches(history)
    assert sorted(set(history.series("lr")[1])) == [0.001, 0.01]
    assert history.run.schedule.name != "constant"
