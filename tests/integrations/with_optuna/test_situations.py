"""Situations of Optuna's users; the truth is what the objective itself measured."""

from __future__ import annotations

import os
import signal
from typing import Any

import optuna
import pytest
import torch
from optuna.storages.journal import JournalFileBackend

from lrtrack.integrations.optuna import track
from lrtrack.records import State

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated in v4.9:FutureWarning"),
]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Silences Optuna's line for each trial."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)


class Objective:
    """A training of one weight, which notes the rates and losses of each trial.

    Args:
        broken: numbers of the trials that raise after three steps.
        killed: numbers of the trials whose process is killed after three steps.
    """

    def __init__(self, broken: tuple[int, ...] = (), killed: tuple[int, ...] = ()) -> None:
        self.broken, self.killed = broken, killed
        self.measured: dict[str, tuple[list[float], list[float]]] = {}

    def __call__(self, trial: optuna.Trial) -> float:
        """Trains five steps and returns the last loss."""
        weight = torch.nn.Parameter(torch.tensor(1.0 + trial.number))
        optimizer = torch.optim.SGD([weight], lr=trial.suggest_float("lr", 0.01, 0.1))
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        rates, losses = self.measured.setdefault(f"trial-{trial.number}", ([], []))
        with track(trial, optimizer, scheduler, tracker="local") as run:
            for step in range(5):
                if step == 3 and trial.number in self.broken:
                    raise RuntimeError("broken")
                if step == 3 and trial.number in self.killed:
                    run.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                optimizer.zero_grad()
                loss = weight.square()
                loss.backward()
                rates.append(optimizer.param_groups[0]["lr"])
                losses.append(loss.item())
                optimizer.step()
                scheduler.step()
        return losses[-1]

    def several(self, trial: optuna.Trial) -> tuple[float, float]:
        """Returns two values."""
        return self(trial), trial.params["lr"]

    def matches(self, histories: Any) -> None:
        """Asserts that each trial has one run, which holds what was measured."""
        assert sorted(history.run.name for history in histories) == sorted(self.measured)
        for history in histories:
            rates, losses = self.measured[history.run.name]
            assert history.steps.tolist() == list(range(len(rates)))
            assert history.metrics["lr"].tolist() == rates
            assert history.metrics["loss"].tolist() == losses


def study_of(**options: Any) -> optuna.Study:
    """A study with a fixed sampler."""
    return optuna.create_study(
        study_name="s", sampler=optuna.samplers.RandomSampler(seed=0), **options
    )


def test_trials_in_two_threads(local) -> None:
    """Trials that run at the same time have each their own rates and losses."""
    objective, study = Objective(), study_of()
    study.optimize(objective, n_trials=6, n_jobs=2)
    histories = local()

    objective.matches(histories)
    assert {history.state for history in histories} == {State.FINISHED}
    assert {t.user_attrs["lrtrack_run_id"] for t in study.trials} == {h.id for h in histories}


def test_a_trial_whose_error_is_caught(local) -> None:
    """With `catch`, a trial that raises is a FAILED run, and the others go on."""
    objective, study = Objective(broken=(1,)), study_of()
    study.optimize(objective, n_trials=3, catch=(RuntimeError,))
    histories = local()

    objective.matches(histories)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert {history.run.name: history.state.name for history in histories} == {
        "trial-0": "FINISHED", "trial-1": "FAILED", "trial-2": "FINISHED"
    }  # fmt: skip


def test_a_study_of_two_objectives(local) -> None:
    """The trials of a study with two objectives are runs like others."""
    objective, study = Objective(), study_of(directions=["minimize", "maximize"])
    study.optimize(objective.several, n_trials=3)

    objective.matches(local())
    ids = {history.id for history in local()}
    assert {trial.user_attrs["lrtrack_run_id"] for trial in study.best_trials} <= ids


def test_trials_that_are_asked_for_and_told(local) -> None:
    """A loop of one's own, with `ask` and `tell`, has a run for each trial."""
    objective, study = Objective(), study_of()
    for _ in range(2):
        trial = study.ask()
        study.tell(trial, objective(trial))

    objective.matches(local())


def test_two_processes_on_a_journal(local, clean_place, in_child) -> None:
    """Two processes, one after the other, share a study in a file: each trial has one run."""
    path = str(clean_place / "optuna.journal")
    storage = optuna.storages.JournalStorage(JournalFileBackend(path))
    study = study_of(storage=storage)

    def again() -> None:
        shared = optuna.storages.JournalStorage(JournalFileBackend(path))
        optuna.load_study(study_name="s", storage=shared).optimize(Objective(), n_trials=2)

    statuses = [in_child(again), in_child(again)]

    assert statuses == [0, 0]
    assert sorted(history.run.name for history in local()) == [f"trial-{n}" for n in range(4)]
    assert {history.run.group for history in local()} == {"s"}
    assert {t.user_attrs["lrtrack_run_id"] for t in study.trials} == {h.id for h in local()}
    assert [history.steps.tolist() for history in local()] == [list(range(5))] * 4


def test_two_processes_at_the_same_time(local, clean_place) -> None:
    """Two processes share a study in a database at the same time: each trial has one run."""
    url = f"sqlite:///{clean_place / 'optuna.db'}"
    study = study_of(storage=url)
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            try:
                own = Objective()
                optuna.load_study(study_name="s", storage=url).optimize(own, n_trials=2)
                own.matches([h for h in local() if h.run.name in own.measured])
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert statuses == [0, 0]
    assert sorted(history.run.name for history in local()) == [f"trial-{n}" for n in range(4)]
    assert {t.user_attrs["lrtrack_run_id"] for t in study.trials} == {h.id for h in local()}
    assert {history.state for history in local()} == {State.FINISHED}


def test_a_killed_trial_that_is_retried(local, clean_place, in_child) -> None:
    """A killed trial keeps its steps as a run; its retry, with the same values, is another run."""
    url = f"sqlite:///{clean_place / 'optuna.db'}"

    def storage() -> Any:
        return optuna.storages.RDBStorage(
            url,
            heartbeat_interval=60,
            failed_trial_callback=optuna.storages.RetryFailedTrialCallback(max_retry=1),
        )

    study_of(storage=storage())
    status = in_child(
        lambda: optuna.load_study(study_name="s", storage=storage()).optimize(
            Objective(killed=(0,)), n_trials=1
        )
    )
    study = optuna.load_study(study_name="s", storage=storage())
    engine = study._storage._backend.engine  # instead of a wait for the heart to have stopped
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'")
    objective = Objective()
    study.optimize(objective, n_trials=1)
    first, second = study.trials
    runs = {history.run.name: history for history in local()}

    assert (status, first.state.name, second.state.name) == (-signal.SIGKILL, "FAIL", "COMPLETE")
    assert sorted(runs) == ["trial-0", "trial-1"]
    assert runs["trial-0"].state is State.FAILED
    assert runs["trial-0"].steps.tolist() == [0, 1, 2]
    assert runs["trial-1"].run.config == runs["trial-0"].run.config == first.params
    assert second.user_attrs["lrtrack_run_id"] == runs["trial-1"].id
    objective.matches([runs["trial-1"]])
