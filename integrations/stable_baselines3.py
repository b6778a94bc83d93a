"""Stable-Baselines3: `model.learn(…, callback=LRTrack())`."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch

from lrtrack._optional import load
from lrtrack.integrations._callback_options import Copied, with_signature
from lrtrack.integrations._callback_runs import CallbackRuns
from lrtrack.integrations._wrapping import end_when_left
from lrtrack.tracking import TrackedRun

_PACKAGE = {"extra": "sb3", "package": "stable-baselines3", "at_least": "2.6"}
_callbacks: Any = load("stable_baselines3.common.callbacks", **_PACKAGE)
_on_policy: Any = load("stable_baselines3.common.on_policy_algorithm", **_PACKAGE)
_off_policy: Any = load("stable_baselines3.common.off_policy_algorithm", **_PACKAGE)
_frequency: Any = load("stable_baselines3.common.type_aliases", **_PACKAGE).TrainFrequencyUnit

#: Settings of an algorithm that become `config`, where it has them.
_SETTINGS = (
    "n_envs", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef",
    "max_grad_norm", "target_kl", "buffer_size", "learning_starts", "tau", "gradient_steps",
    "policy_delay", "target_update_interval", "exploration_fraction",
)  # fmt: skip
#: What an algorithm's logger has besides measurements of the update.
_RECORDED = ("train/learning_rate", "train/n_updates", "train/loss")


class LRTrack(Copied, _callbacks.BaseCallback):  # type: ignore[misc]
    """Records learning rate, gradient norms and loss at each optimizer step of an algorithm.

    A step is one update with one minibatch. Actor, critic and entropy coefficient with optimizers
    of their own are recorded as several optimizers of one run. After each update, the number of
    `timesteps`, the mean reward and length of the last episodes and what the algorithm's own logger
    has under `train/` are logged at its last step: `lrtrack compare --x timesteps` compares by
    them. The algorithm sets its rate without a scheduler object, so the schedule is the one that
    the recorded rates show.

    `learn(reset_num_timesteps=False)` continues the run of the same callback. Callbacks are not
    told about exceptions, so the first `LRTrack` wraps `learn` of the on-policy and off-policy
    algorithms: if one leaves it, Ctrl-C included, the run ends as FAILED.

    Attributes:
        run: the run of the current or the last training; None before the first.

    Args:
        verbose: as for every callback there.
        **options: options of `lrtrack.track()`. By default `seed`, `total_steps`, if it can be
            known, and `config` are taken from the algorithm.

    Raises:
        TypeError: an option does not exist.
        UsageError: an option has an invalid value.
    """

    OF_RUNS: ClassVar[Mapping[str, Any]] = {
        "run": None, "_episode": None, "model": None, "locals": {}, "globals": {}, "parent": None
    }  # fmt: skip

    @with_signature()
    def __init__(self, verbose: int = 0, **options: Any) -> None:
        super().__init__(verbose)
        self._blocks = CallbackRuns("LRTrack", options)
        self._episode: Any = None
        self.run: TrackedRun | None = None
        self._wrap()

    def _wrap(self) -> None:
        for kind in (_on_policy.OnPolicyAlgorithm, _off_policy.OffPolicyAlgorithm):
            end_when_left(kind, "learn", _ends_of)

    def _on_training_start(self) -> None:
        last = self.run if self.model.num_timesteps else None
        _begun.add(self)
        self.run = None
        self.run = self._blocks.enter_again(
            (_optimizers(self.model), None, ""),
            last,
            _steps(self.model),
            seed=self.model.seed,
            config=_config(self.model),
        )

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._log()  # of the update before

    def _on_training_end(self) -> None:
        self._log()
        _begun.discard(self)
        self._blocks.leave()

    def _log(self) -> None:
        """Log what is known after an update, at its last step."""
        run = next(iter(self._blocks.runs), None)
        if run is None or run.step < 0:
            return
        metrics: dict[str, Any] = {"timesteps": self.model.num_timesteps}
        episodes = self.model.ep_info_buffer
        if episodes and episodes[-1] is not self._episode:
            self._episode = episodes[-1]
            for name, key in (("ep_rew_mean", "r"), ("ep_len_mean", "l")):
                metrics[name] = sum(float(episode[key]) for episode in episodes) / len(episodes)
        if hasattr(self.model, "rollout_buffer"):
            recorded = self.model.logger.name_to_value
            metrics |= {
                name: value
                for name, value in recorded.items()
                if name.startswith("train/") and name not in _RECORDED
            }
        run.log(metrics)


#: The callbacks whose training has begun.
_begun: weakref.WeakSet[LRTrack] = weakref.WeakSet()


def _ends_of(model: Any) -> list[Callable[[], object]]:
    """What ends the open runs of an algorithm's callbacks as FAILED."""
    own = [callback._blocks for callback in list(_begun) if callback.model is model]
    return [partial(blocks.leave, failed=True) for blocks in own]


def _optimizers(model: Any) -> Any:
    """The algorithm's optimizers: one, or several by the names of what they train."""
    named: dict[str, torch.optim.Optimizer] = {}
    for name, module in model.policy.named_modules():
        optimizer = getattr(module, "optimizer", None)
        if isinstance(optimizer, torch.optim.Optimizer) and optimizer not in named.values():
            named[name or "policy"] = optimizer
    optimizer = getattr(model, "ent_coef_optimizer", None)
    if optimizer is not None:
        named["ent_coef"] = optimizer
    return named if len(named) != 1 else next(iter(named.values()))


def _config(model: Any) -> dict[str, Any]:
    settings = {name: getattr(model, name, None) for name in _SETTINGS}
    config = {n: v for n, v in settings.items() if isinstance(v, int | float | str)}
    config["algorithm"] = type(model).__name__
    with contextlib.suppress(Exception):  # an environment of the user's may have no name
        config["env"] = str(model.get_env().get_attr("spec")[0].id)
    return config


def _steps(model: Any) -> int | None:
    """How many steps the training makes that has just begun; None where that is open."""
    timesteps = model._total_timesteps - model.num_timesteps
    if timesteps < 1:
        return None
    if hasattr(model, "rollout_buffer"):
        rollout = model.n_steps * model.n_envs
        per_rollout: int | None = None
        if type(model).__name__ == "A2C":
            per_rollout = 1
        elif type(model).__name__ == "PPO" and model.target_kl is None:
            per_rollout = model.n_epochs * math.ceil(rollout / model.batch_size)
        return None if per_rollout is None else per_rollout * math.ceil(timesteps / rollout)
    frequency: Any = getattr(model, "train_freq", None)
    if getattr(frequency, "unit", None) is not _frequency.STEP:
        return None
    rollout = frequency.frequency * model.n_envs
    rollouts = math.ceil(timesteps / rollout)
    # The first updates wait until enough of the environment is known.
    idle = max((model.learning_starts - model.num_timesteps) // rollout, 0)
    steps = model.gradient_steps if model.gradient_steps >= 0 else rollout
    return int(max(rollouts - idle, 0) * steps)
