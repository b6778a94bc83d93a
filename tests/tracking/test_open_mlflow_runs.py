"""Blocks inside an MLflow run that the user has open: names, phases and children."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, StepLR

import lrtrack
from lrtrack.errors import LRTrackNotice, LRTrackWarning
from lrtrack.records import History
from lrtrack.trackers.base import Query
from lrtrack.trackers.mlflow import MlflowTracker


@pytest.fixture
def opened(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Opens the user's run in the experiment `mine`."""
    monkeypatch.setattr("lrtrack.tracking.placement._reported", set())
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "3")  # the next block finds the same shipper
    mlflow.set_tracking_uri(store)
    try:
        mlflow.set_experiment("mine")
        with mlflow.start_run(run_name="parent") as run:
            yield run
    finally:
        mlflow.set_tracking_uri(None)


def train(
    steps: int,
    schedule: Callable[[Any], Any] = lambda optimizer: CosineAnnealingLR(optimizer, 100),
    rate: float = 0.5,
    during: Callable[[], None] = lambda: None,
    **options: Any,
) -> str:
    """Trains a block with the losses 1, 2, … and returns the id of its run."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=rate)
    scheduler = schedule(optimizer)
    with lrtrack.track(optimizer, scheduler, **{"flush_timeout": 60.0, **options}) as run:
        for step in range(steps):
            optimizer.zero_grad()
            (weight * 0.0 + float(step + 1)).backward()
            optimizer.step()
            scheduler.step()
        during()
        return run.id


def exponential(optimizer: Any) -> Any:
    """Returns a schedule to follow another one."""
    return ExponentialLR(optimizer, 0.5)


def stored(run_id: str) -> Any:
    """Returns the run's data as MLflow stores it."""
    return mlflow.MlflowClient().get_run(run_id).data


def histories(store: str) -> dict[str, History]:
    """Reads the histories of the experiment, by run id."""
    return {each.id: each for each in MlflowTracker().histories(Query("mine", store))}


def test_what_the_user_logs_never_collides(opened: Any, store: str) -> None:
    """Users can log params of any name but `lrtrack.…`, whatever was uploaded before."""
    train(3, seed=7, config={"lr": 0.5, "net": {"depth": 2}})
    mlflow.log_params({"optimizer": "mine", "scheduler": "mine", "seed": 1, "lr": 3, "net": "x"})
    data = stored(opened.info.run_id)
    ours = {k: v for k, v in data.params.items() if k.startswith("lrtrack.")}
    run = histories(store)[opened.info.run_id].run

    assert len(data.params) == len(ours) + 5
    assert {
        "lrtrack.optimizer": "SGD",
        "lrtrack.optimizer.lr": "0.5",
        "lrtrack.scheduler": "CosineAnnealingLR",
        "lrtrack.scheduler.T_max": "100",
        "lrtrack.seed": "7",
    }.items() <= ours.items()
    assert data.tags["lrtrack.config"] == '{"lr": 0.5, "net": {"depth": 2}}'
    assert (run.seed, run.optimizer["lr"], run.schedule.name) == (7, 0.5, "CosineAnnealingLR")
    assert run.config == {
        "optimizer": "mine", "scheduler": "mine", "seed": 1, "lr": 0.5, "net": {"depth": 2},
    }  # fmt: skip


def test_a_long_config_is_kept_in_several_tags(opened: Any, store: str) -> None:
    """A config too large for tags loses its largest entries and nothing else."""
    words = {f"word{number}": "x" * 90 for number in range(100)}
    train(1, config={**words, "huge": "y" * 100_000, "last": 1})

    assert histories(store)[opened.info.run_id].run.config == {**words, "last": 1}


def test_blocks_with_prefixes_have_names_of_their_own(opened: Any, store: str) -> None:
    """Two blocks with prefixes store both optimizers and schedules in one run."""
    train(3, lambda o: StepLR(o, 5), rate=0.25, prefix="D/", config={"depth": 2})
    train(3, exponential, prefix="G/", seed=None)
    data = stored(opened.info.run_id)
    of_d, of_g = (h.run for h in MlflowTracker().histories(Query("mine", store)))

    assert data.params["lrtrack.D.scheduler.step_size"] == "5"
    assert data.params["lrtrack.D.optimizer.lr"] == "0.25"
    assert data.params["lrtrack.G.scheduler.gamma"] == "0.5"
    assert data.params["lrtrack.G.optimizer.lr"] == "0.5"
    assert data.tags["lrtrack.D.scheduler.name"] == "StepLR"
    assert data.tags["lrtrack.G.scheduler.name"] == "ExponentialLR"
    assert data.tags["lrtrack.D.config"] == '{"depth": 2}'
    assert "lrtrack.scheduler.name" not in data.tags
    assert data.tags["lrtrack.schedule"].startswith("StepLR + ExponentialLR ")
    assert of_d.schedule.to_dict() == {"name": "StepLR", "step_size": 5, "gamma": 0.1}
    assert of_g.schedule.to_dict() == {"name": "ExponentialLR", "gamma": 0.5}
    assert (of_d.optimizer["lr"], of_g.optimizer["lr"]) == (0.25, 0.5)
    assert (of_d.prefix, of_d.config) == ("D/", {"depth": 2})
    assert (of_g.prefix, of_g.config) == ("G/", {})


def test_blocks_of_one_run_are_rows_of_their_own(opened: Any, store: str) -> None:
    """Each block of a run is a row of its own, which ends before the user's run does."""
    train(3, lambda o: StepLR(o, 5), prefix="D/")
    with pytest.raises(ZeroDivisionError):
        train(2, exponential, prefix="G/", during=lambda: 1 // 0)
    options = {"tracker": "mlflow", "tracking_uri": store}
    rows = {item.label: item for item in lrtrack.compare("mine", **options).schedules}
    finished = ["scheduler.name = StepLR", "state = FINISHED"]
    (only,) = lrtrack.compare("mine", filters=finished, **options).histories

    assert {
        label: (item.steps, item.unfinished, item.final.mean) for label, item in rows.items()
    } == {
        "StepLR(gamma=0.1, step_size=5), prefix=D/": (3, 0, 3.0),
        "ExponentialLR(gamma=0.5), prefix=G/": (2, 1, None),
    }
    assert (only.run.prefix, only.series("loss")[1].tolist()) == ("D/", [1.0, 2.0, 3.0])


@pytest.mark.parametrize("journals", ["known", "unknown"])
def test_phases_follow_each_other(opened: Any, store: str, journals: str, monkeypatch) -> None:
    """A second block continues after the first, even from another journal directory."""
    train(4, config={"a": 1})
    if journals == "unknown":
        monkeypatch.setenv("LRTRACK_DIR", "elsewhere")
    train(6, exponential, config={"b": 2})
    run_id = opened.info.run_id
    points = mlflow.MlflowClient().get_metric_history(run_id, "loss")
    data, history = stored(run_id), histories(store)[run_id]
    schedule = history.run.schedule

    assert [(p.step, p.value) for p in sorted(points, key=lambda p: p.step)] == [
        *enumerate([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    ]
    assert history.steps.tolist() == list(range(10))
    assert history.metrics["loss"].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]
    assert data.tags["lrtrack.history.rows"] == "10"
    assert schedule.name == "CosineAnnealingLR -> ExponentialLR"
    assert [each["name"] for each in schedule.params["schedulers"]] == [
        "CosineAnnealingLR", "ExponentialLR",
    ]  # fmt: skip
    assert [each["first"] for each in json.loads(data.tags["lrtrack.phases"])] == [0, 4]
    assert data.params["lrtrack.scheduler"] == "CosineAnnealingLR"
    assert data.params["lrtrack.phase2.scheduler"] == "ExponentialLR"
    assert history.run.config == {"a": 1, "b": 2}
    assert "lrtrack.scheduler.T_max" not in data.tags


def test_diagnoses_of_all_phases_are_kept_in_order(opened: Any, store: str) -> None:
    """The diagnoses of all phases of a run are stored in order: first LR003, then LR004."""
    with pytest.warns(LRTrackWarning) as found:
        train(40, lambda optimizer: CosineAnnealingLR(optimizer, 10))
        train(40, lambda optimizer: StepLR(optimizer, 2))
    told = [str(each.message)[:5] for each in found if "LR0" in str(each.message)]
    diagnoses = histories(store)[opened.info.run_id].run.diagnoses

    assert diagnoses is not None
    assert told[0] == "LR003"
    assert "LR004" in told
    assert [each["code"] for each in diagnoses] == told


def test_a_run_of_lrtracks_own_that_the_user_opens_again(store: str, monkeypatch) -> None:
    """A block in a reopened run of lrtrack continues after the steps in that run."""
    mlflow.set_tracking_uri(store)
    try:
        run_id = train(3, tracker="mlflow", experiment="mine")
        with mlflow.start_run(run_id=run_id):
            train(2, exponential)
            mlflow.log_params({"gamma": 1})
    finally:
        mlflow.set_tracking_uri(None)
    history = histories(store)[run_id]

    assert history.metrics["loss"].tolist() == [1, 2, 3, 1, 2]
    assert history.run.schedule.name == "CosineAnnealingLR -> ExponentialLR"


def test_a_checkpoint_says_where_a_block_is(opened: Any, store: str) -> None:
    """A block whose step was set by `load_state_dict` is not shifted by earlier steps."""
    train(4)
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with lrtrack.track(optimizer, flush_timeout=60.0) as run:
        run.load_state_dict({"step": 3})
        for _ in range(2):
            optimizer.step()

        assert run.step == 5
    assert histories(store)[opened.info.run_id].steps.tolist() == [0, 1, 2, 3, 4, 5]


def test_seeds_get_children_in_which_their_phases_follow(opened: Any, store: str, capfd) -> None:
    """The first seed uses the open run; each other seed gets one child run for its phases."""
    ids = [
        train(2, schedule, seed=seed, rate=0.5 + seed)
        for seed in (0, 1, 2)
        for schedule in (lambda o: CosineAnnealingLR(o, 100), exponential)
    ]
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("lrtrack:")]
    found = histories(store)
    parent, client = opened.info.run_id, mlflow.MlflowClient()
    children = [client.get_run(run_id) for run_id in ids[2::2]]

    assert said == [
        f"lrtrack: In the open mlflow run {parent}: seed 1 follows seed 0, so it is recorded in a "
        "child run of its own. To record blocks side by side in one run, give each a prefix."
    ]
    assert ids == [parent, parent, ids[2], ids[2], ids[4], ids[4]]
    assert len(found) == len(set(ids)) == 3
    assert [each.data.tags["mlflow.parentRunId"] for each in children] == [parent, parent]
    assert [each.info.status for each in children] == ["FINISHED", "FINISHED"]
    assert [each.data.params["seed"] for each in children] == ["1", "2"]
    assert client.get_run(parent).info.status == "RUNNING"
    for seed, run_id in enumerate(ids[::2]):
        assert found[run_id].run.seed == seed
        assert found[run_id].steps.tolist() == [0, 1, 2, 3]
        assert found[run_id].metrics["lr"].tolist() == [
            *found[run_id].metrics["lr"].tolist()[:2], 0.5 + seed, (0.5 + seed) / 2,
        ]  # fmt: skip
        assert found[run_id].run.schedule.name == "CosineAnnealingLR -> ExponentialLR"


def test_another_name_gets_a_child(opened: Any, store: str) -> None:
    """A block with another name gets a child run; a block without a name does not."""
    ids = [train(2, name=name) for name in ("a", None, "b", "a")]

    assert [run_id == opened.info.run_id for run_id in ids] == [True, True, False, True]
    assert histories(store)[opened.info.run_id].steps.tolist() == [0, 1, 2, 3, 4, 5]


def test_blocks_at_the_same_time_do_not_mix(opened: Any, store: str) -> None:
    """Of two simultaneous blocks, the second gets a child run.

    MLflow's open run belongs to one thread, so the other thread joins it by its id.
    """
    ids: list[str] = []
    entered, leave = threading.Event(), threading.Event()
    tracker = MlflowTracker(join=opened.info.run_id, uri=store)

    def first() -> None:
        def wait() -> None:
            entered.set()
            leave.wait(60)

        ids.append(train(3, tracker=tracker, during=wait))

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert entered.wait(60)
        other = train(2, exponential)
    finally:
        leave.set()
        thread.join()
    found = histories(store)

    assert ids == [opened.info.run_id] != [other]
    assert found[ids[0]].metrics["loss"].tolist() == [1, 2, 3]
    assert found[other].metrics["loss"].tolist() == [1, 2]
    assert mlflow.get_run(other).data.tags["mlflow.parentRunId"] == opened.info.run_id


def test_a_block_that_failed_to_begin_is_in_nobodys_way(opened: Any, store: str) -> None:
    """After a block that failed to begin, the next block joins the open run."""
    weight = torch.nn.Parameter(torch.ones(()))
    block = lrtrack.track(torch.optim.SGD([weight], lr=0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lrtrack.tracking.captures.StepCapture", None)
        with pytest.raises(TypeError):
            block.__enter__()

    assert train(2) == opened.info.run_id
    assert histories(store)[opened.info.run_id].steps.tolist() == [0, 1]


def test_where_a_run_goes_that_nobody_named_is_said_once(store: str, capfd, monkeypatch) -> None:
    """The default destination of runs is reported once, unless notices are silenced."""
    monkeypatch.setattr("lrtrack.tracking.placement._reported", set())
    monkeypatch.setenv("LRTRACK_TRACKER", "mlflow")
    train(1, flush_timeout=0.0)
    monkeypatch.delenv("LRTRACK_TRACKER")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            train(1, flush_timeout=0.0)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("lrtrack:")]
    monkeypatch.setattr("lrtrack.tracking.placement._reported", set())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LRTrackNotice)
        train(1)

    assert said == [
        "lrtrack: No tracker is chosen and no run is open, so runs go to mlflow (its default store "
        f"in {Path.cwd()}). To choose: track(tracker=…), LRTRACK_TRACKER, or [tool.lrtrack] in "
        "pyproject.toml."
    ]
    assert "lrtrack:" not in capfd.readouterr().err
