"""Situations of Ray Tune's users; the truth is what each trial itself measured.

Trials run in this process, in the class that Ray's workers run, because a worker takes seconds to
start. `test_ray.py` has sweeps on a cluster.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch.optim import optimizer as torch_optimizer

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported

from ray.train._internal.session import get_session
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from ray.tune.experiment.trial import _TrialInfo
from ray.tune.result import RESULT_DUPLICATE, TRIAL_INFO
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.trainable.function_trainable import wrap_function

from lrtrack.integrations.ray import with_tracking
from lrtrack.records import State

from . import situations_program

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@dataclass(frozen=True)
class Situation:
    """A sweep, and what becomes of it.

    Attributes:
        expected: for each run, in the order in which they began: seed, steps and state.
        stops: whether Ray stops a trial after a result, as its schedulers do; made anew for each
            sweep.
        seeds: of the trials.
        retries: how often Ray repeats a failed trial, from its last checkpoint.
        config: further keys of the trials' configs.
    """

    expected: list[tuple[int, int, State]]
    stops: Callable[[], Callable[[Trial, dict[str, Any]], bool]] = lambda: lambda *_: False
    seeds: tuple[int, ...] = (0,)
    retries: int = 0
    config: tuple[tuple[str, Any], ...] = ()


def asha() -> Callable[[Trial, dict[str, Any]], bool]:
    """Ray's own decisions for trials of twelve steps, of which it compares the first four."""
    scheduler = ASHAScheduler(time_attr="step", max_t=12, grace_period=4, reduction_factor=3)
    scheduler.set_search_properties("loss", "min")

    def stops(trial: Trial, result: dict[str, Any]) -> bool:
        scheduler.on_trial_add(None, trial)
        return bool(scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP)

    return stops


def after(steps: int) -> Callable[[], Callable[[Trial, dict[str, Any]], bool]]:
    """Ray's stopping criterion `{"step": steps}`."""
    return lambda: lambda trial, result: result["step"] >= steps


FINISHED, FAILED = State.FINISHED, State.FAILED
STUMBLE = ("stumble", True)
SITUATIONS = {
    "nothing happens": Situation([(0, 12, FINISHED), (1, 12, FINISHED)], seeds=(0, 1)),
    # The first trial trains to `max_t`, where ASHA stops it, too; the second one is worse.
    "ASHA": Situation([(0, 12, FINISHED), (1, 4, FAILED)], asha, seeds=(0, 1)),
    "stopped early": Situation([(0, 8, FAILED)], after(8)),
    "stopped early, without checkpoints": Situation(
        [(0, 8, FAILED)], after(8), config=(("keep", False),)
    ),
    "stopped at the last step": Situation([(0, 12, FINISHED)], after(12)),
    "an endless loop, stopped at its total": Situation(
        [(0, 8, FINISHED)], after(8), config=(("total_steps", 8),)
    ),
    "an endless loop, stopped before its total": Situation(
        [(0, 8, FAILED)], after(8), config=(("total_steps", 16),)
    ),
    "a failure": Situation([(0, 9, FAILED)], config=(STUMBLE,)),
    "a retry from a checkpoint": Situation([(0, 12, FINISHED)], retries=1, config=(STUMBLE,)),
    "a retry without a checkpoint": Situation(
        [(0, 9, FAILED), (0, 12, FINISHED)], retries=1, config=(STUMBLE, ("keep", False))
    ),
}


class Storage(StorageContext):  # type: ignore[misc]  # Ray has no types here
    """A sweep's folder, with what Ray keeps in its cluster's temporary folder beside it."""

    def _get_session_path(self) -> str:
        return str(Path(self.storage_fs_path, "session"))


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restores what a worker changes for good, and checks that no optimizer's hook is left."""
    monkeypatch.setattr("lrtrack.shipping.spawn._detach", False)
    monkeypatch.setattr("lrtrack.tracking.report_hint._silent", False)
    before = dict(torch_optimizer._global_optimizer_pre_hooks)
    yield
    assert before == torch_optimizer._global_optimizer_pre_hooks


def attempt(trial: Trial, function: Any, checkpoint: Any, stops: Any) -> Any:
    """Runs a trial as Ray's controller does, and returns its checkpoint, and whether it failed."""
    config = {**trial.config, TRIAL_INFO: _TrialInfo(trial)}
    trainable = wrap_function(function)(config=config, storage=trial.storage)
    thread = get_session().training_thread
    if checkpoint is not None:
        trainable.load_checkpoint(checkpoint)
    try:
        failed = False
        while not failed:
            try:
                result = trainable.train()
            except RuntimeError:  # the program's
                failed = True
            else:
                if RESULT_DUPLICATE in result or stops(trial, result):
                    break
                if trainable._last_training_result.checkpoint is not None:
                    checkpoint = trainable._last_training_result
    finally:
        trainable.stop()
        threading.Thread.join(thread)  # Ray's own raises the thread's error again
    return checkpoint, failed


def measured(place: Path, name: str, steps: int) -> dict[str, list[float]]:
    """Returns what the trial noted of its first steps; a step that was repeated as it was last."""
    lines = map(json.loads, (place / f"{name}.jsonl").read_text().splitlines())
    by_step = {line["step"]: line for line in lines}
    metrics = ("lr", "loss", "grad_norm")
    return {name: [by_step[step][name] for step in range(steps)] for name in metrics}


@pytest.mark.parametrize("name", SITUATIONS)
def test_trials(name: str, local, clean_place) -> None:
    """Each attempt that did not go on in another's run is a run with what the trial measured, and
    is FINISHED if it made all its steps.
    """
    situation = SITUATIONS[name]
    function = with_tracking(situations_program.train, tracker="local")
    stops = situation.stops()
    names = {}
    for seed in situation.seeds:
        defaults = {"seed": seed, "keep": True, "stumble": False, "total_steps": None}
        config = {**defaults, "place": str(clean_place), **dict(situation.config)}
        storage = Storage(clean_place / "ray", "s", trial_dir_name=str(seed))
        trial = Trial("train", config=config, storage=storage, stub=True)
        names[seed], checkpoint = str(trial), None
        for _ in range(1 + situation.retries):
            checkpoint, failed = attempt(trial, function, checkpoint, stops)
            if not failed:
                break
    histories = sorted(local(), key=lambda history: history.run.started)
    shown = [(h.run.seed, h.steps.size, h.state) for h in histories]

    assert situation.expected == shown
    for history in histories:
        assert (names[history.run.seed], "s") == (history.run.name, history.run.group)
        truth = measured(clean_place, history.run.name, history.steps.size)
        assert list(range(history.steps.size)) == history.steps.tolist()
        assert truth == {metric: history.metrics[metric].tolist() for metric in truth}
