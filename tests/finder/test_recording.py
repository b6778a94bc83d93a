"""A range test as a run: the same curve in every tracker, separate from trainings."""

from __future__ import annotations

import json
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from wandb_loopback.clients import script

import lrtrack
from lrtrack.errors import NothingFound, UsageError
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import FIND, Run, State, Target
from lrtrack.schedules import Schedule
from lrtrack.shipping.sync import drain
from lrtrack.trackers.base import Query
from lrtrack.trackers.memory import MemorySink, MemoryTracker
from lrtrack.trackers.mlflow import MlflowTracker
from lrtrack.trackers.mlflow.sink import MlflowSink
from lrtrack.trackers.wandb import WandbTracker

NOTE = "mlflow.note.content"


def find(training: Any, record: bool = True, **track: Any) -> lrtrack.LRFinderResult:
    """Run a short range test on the training and wait for its upload."""
    return lrtrack.find_lr(
        training.model,
        training.optimizer,
        training.step,
        num_steps=40,
        record=record,
        track={"flush_timeout": 300, **track},
    )


def curve_of(history: Any) -> dict[str, list[float]]:
    """Returns the metrics of a run that was read back."""
    return {name: history.series(name)[1].tolist() for name in history.metrics}


def curve(result: lrtrack.LRFinderResult) -> dict[str, list[float]]:
    """Returns the metrics that a result should have in trackers."""
    return {
        "lr": result.lrs.tolist(),
        "loss": result.losses.tolist(),
        "loss_smoothed": result.smoothed.tolist(),
    }


def test_the_journal(training, local) -> None:
    """The journal has one row per rate, and the kind and suggestions of the run."""
    result = find(
        training, tracker="local", seed=7, group="g", config={"width": 16}, tags={"who": "me"}
    )

    (history,) = local()
    assert history.steps.tolist() == list(range(len(result.lrs)))
    assert curve_of(history) == curve(result)
    run = history.run
    assert (run.kind, history.state, run.suggestions) == ("find", "FINISHED", result.suggestions)
    assert (run.name, run.seed, run.group) == ("LRFinder-seed7", 7, "g")
    assert (run.config, run.tags, run.experiment) == ({"width": 16}, {"who": "me"}, "lrtrack")
    assert run.schedule.name == "LRFinder"
    assert run.schedule.params == {
        "start": 1e-7,
        "end": 10,
        "num_steps": 40,
        "mode": "exp",
        "smoothing": 0.8,
        "stop_factor": 4,
    }


def test_a_test_that_fails(training, local) -> None:
    """A range test that fails leaves a FAILED run with its rows and without suggestions."""
    rates = iter(range(5))

    def step() -> torch.Tensor:
        next(rates)
        return training.step()

    with pytest.raises(StopIteration):
        lrtrack.find_lr(training.model, training.optimizer, step, track={"tracker": "local"})

    (history,) = local()
    assert (history.state, history.run.kind, history.run.suggestions) == ("FAILED", "find", {})
    assert history.steps.tolist() == [0, 1, 2, 3, 4]


def test_switched_off(training, clean_place) -> None:
    """`record=False` stores nothing, whatever the settings are."""
    find(training, record=False, tracker="mlflow")

    assert list(clean_place.iterdir()) == []


def test_mlflow(training, store) -> None:
    """MLflow gets tags, params, curve and description, but no final loss."""
    result = find(training, experiment="digits", seed=1)

    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id])
    tags = run.data.tags
    assert (run.info.status, tags["lrtrack.kind"]) == ("FINISHED", "find")
    assert tags["lrtrack.scheduler.name"] == "LRFinder"
    prefix = "lrtrack.suggestion."
    found = {k.removeprefix(prefix): float(v) for k, v in tags.items() if k.startswith(prefix)}
    assert found == result.suggestions
    assert run.data.params["scheduler.end"] == "10"
    assert sorted(run.data.metrics) == ["loss", "loss_smoothed", "lr"]
    points = client.get_metric_history(run.info.run_id, "loss")
    assert [point.value for point in points] == result.losses.tolist()
    assert f"suggests a learning rate of **{result.suggestion:.4g}**" in tags[NOTE]
    assert "| **Suggestion (valley)** |" in tags[NOTE]
    (history,) = MlflowTracker().histories(Query("digits", uri=store))
    assert (history.run.kind, history.run.suggestions) == ("find", result.suggestions)
    assert curve_of(history) == curve(result)


def test_a_training_has_no_kind_in_mlflow(training, store) -> None:
    """Runs of `track()` have no kind tag in MLflow and are read back as trainings."""
    with lrtrack.track(training.optimizer, experiment="digits", flush_timeout=300):
        training.train(2)

    (history,) = MlflowTracker().histories(Query("digits", uri=store))
    assert (history.run.kind, dict(history.run.suggestions)) == ("train", {})
    run = mlflow.MlflowClient(tracking_uri=store).get_run(history.id)
    strange = [tag for tag in run.data.tags if "kind" in tag or "suggestion" in tag]
    assert strange == []


def test_a_note_that_somebody_wrote_stays(store) -> None:
    """The description is only updated while it is lrtrack's own."""
    run = Run("a" * 32, "n", kind=FIND, experiment="x", targets=(Target("mlflow", store),))
    sink = MlflowSink(run, Target("mlflow", store, experiment="x"), None)
    run_id = sink.open().id
    client = mlflow.MlflowClient(tracking_uri=store)
    client.set_tag(run_id, NOTE, "mine")
    whole = Run("a" * 32, "n", kind=FIND, experiment="x", suggestions={"minimum": 0.25})
    for _ in range(2):  # a shipper may die in between and do it again
        sink.complete(whole)

    tags = client.get_run(run_id).data.tags
    assert (tags[NOTE], tags["lrtrack.suggestion.minimum"]) == ("mine", "0.25")


def test_beside_an_active_mlflow_run(training, store) -> None:
    """A range test beside an open run is a run of its own in the same experiment."""
    mlflow.set_tracking_uri(store)
    try:
        mlflow.set_experiment("his")
        with mlflow.start_run() as mine:
            result = find(training)
            assert mlflow.active_run().info.run_id == mine.info.run_id
        runs = mlflow.MlflowClient().search_runs([mine.info.experiment_id])
    finally:
        mlflow.set_tracking_uri(None)

    by_id = {run.info.run_id: run for run in runs}
    his = by_id.pop(mine.info.run_id)
    (own,) = by_id.values()
    assert (his.data.metrics, his.data.params) == ({}, {})
    assert own.data.tags["lrtrack.kind"] == "find"
    assert own.data.metrics["lr"] == result.lrs[-1]


WANDB = """
import json, torch, wandb, lrtrack
torch.manual_seed(0)
weight = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(weight.parameters(), lr=0.1)
inputs = torch.randn(16, 3)
def step():
    loss = weight(inputs).square().mean()
    loss.backward()
    return loss
BEFORE
track = {"tracker": "wandb", "seed": 3, "flush_timeout": 300}
result = lrtrack.find_lr(weight, optimizer, step, track=track)
AFTER
print("RESULT", json.dumps([result.lrs.tolist(), result.losses.tolist(), result.suggestions]))
"""


@pytest.mark.parametrize("active", [False, True])
def test_wandb(wandb_server, command_line, active: bool) -> None:
    """W&B gets config, notes and every row, in a run of its own beside an open run."""
    before = "run = wandb.init(project='p', name='his')\nrun.log({'his': 1})" if active else ""
    code = WANDB.replace("BEFORE", before).replace("AFTER", "run.finish()" if active else "")
    variables = {} if active else {"WANDB_PROJECT": "p", "WANDB_RUN_ID": "taken"}
    done = script(wandb_server, code, **variables)
    assert done.returncode == 0, done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    lrs, losses, suggestions = json.loads(told.removeprefix("RESULT"))
    runs = {run.name: run for run in wandb_server.runs("tester/p")}
    listed = command_line("runs", "--tracker", "wandb", "--experiment", "p", "--format", "json")

    own = runs.pop("LRFinder-seed3")
    assert sorted(runs) == (["his"] if active else [])
    if active:
        assert [row["his"] for row in runs["his"].history] == [1]
        assert "lrtrack" not in runs["his"].config
    config = own.config["lrtrack"]
    assert (config["kind"], config["suggestion"]) == ("find", suggestions)
    assert own.tags == ["LRFinder", "cpu"]
    assert f"suggests a learning rate of {suggestions['steepest']:.4g} (steepest)" in own.notes
    assert [(row["lr"], row["loss"]) for row in own.history] == list(zip(lrs, losses, strict=True))
    assert own.state == "finished"
    assert "loss_final" not in own.summary
    (row,) = json.loads(listed.stdout)["runs"]
    assert (row["kind"], row["suggestion"]) == ("find", suggestions["minimum"])


def test_wandbs_variables_of_another_run(monkeypatch) -> None:
    """Name, notes and sweep in W&B's variables are not applied to the range test."""
    given = {"MODE": "offline", "PROJECT": "p", "ENTITY": "e", "RUN_ID": "taken", "NAME": "his",
             "NOTES": "his", "SWEEP_ID": "s", "SWEEP_PARAM_PATH": "x"}  # fmt: skip
    for name, text in given.items():
        monkeypatch.setenv(f"WANDB_{name}", text)
    target = WandbTracker().separate_target(None, "lrtrack")

    assert (target.experiment, target.run_id, target.joined) == ("e/p", None, False)
    assert sorted(target.environment) == ["WANDB_ENTITY", "WANDB_MODE", "WANDB_PROJECT"]


def test_a_tracker_object(training) -> None:
    """Tracker objects in this process get the suggestions if they can store them."""

    class Old(MemorySink):
        complete = None

    class OldTracker(MemoryTracker):
        name = "old"

        def sink(self, run: Run, target: Target, remote_id: str | None) -> Any:
            return Old(self, run, target)

    new, old = MemoryTracker(), OldTracker()
    result = find(training, tracker=[new, old])

    (stored,), (rest,) = new.stored.values(), old.stored.values()
    assert (stored.run.suggestions, rest.run.suggestions) == (result.suggestions, {})
    assert [stored.state, rest.state] == [State.FINISHED] * 2
    assert [len(each.steps) for each in (stored, rest)] == [len(result.lrs)] * 2


def test_a_tracker_that_can_only_join(training, equal) -> None:
    """A tracker that can only join the user's run gives an error that says what to do."""

    class Joining(MemoryTracker):
        def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
            return Target(self.name, run_id="his", joined=True, portable=False)

    before = training.state()
    with pytest.raises(UsageError, match="'memory' has a run of yours open and cannot open"):
        find(training, tracker=Joining())
    assert equal(training.state(), before)


def test_delivered_later(training, store, clean_place) -> None:
    """A journal that is uploaded later contains everything that the tracker needs."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    target = Target("mlflow", store, experiment="x")
    run = Run(
        "b" * 32, "later", Schedule("LRFinder"), experiment="x", version="1", kind=FIND,
        targets=(target,),
    )  # fmt: skip
    writer = JournalWriter(layout.journal(run.id), run)
    writer.append(0, 1.0, {"lr": 0.1, "loss": 2.0})
    writer.close(State.FINISHED, suggestions={"minimum": 0.5, "broken": "?"})
    layout.marker(run.id).touch()
    drain(layout, 60, lambda line: None)

    (found,) = MlflowTracker().histories(Query("x", uri=store))
    assert (found.run.kind, found.run.suggestions) == ("find", {"minimum": 0.5})


def test_the_list_of_runs(training, command_line) -> None:
    """The list of runs shows the suggestion of a range test and never calls it diverged."""
    result = find(training, tracker="local", experiment="digits", seed=1)
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local", seed=1,
                       experiment="digits"):  # fmt: skip
        training.train(4)
    shown = command_line("runs", "--tracker", "local", "--experiment", "digits")

    lines = shown.stdout.splitlines()
    assert result.stopped == "diverged"
    assert (lines[0], shown.returncode) == ("digits · 2 runs", 0)
    assert "diverged" not in shown.stdout
    assert max(map(len, lines)) <= 80
    (line,) = (line for line in lines if line.startswith("LRFinder-seed1"))
    words = line.split("  ")
    cells = [word.strip() for word in words if word.strip()]
    rate = float(cells[1].removeprefix("LR finder → "))
    assert rate == pytest.approx(result.suggestion, rel=1e-3)
    assert cells[2:] == ["1", "finished", str(len(result.lrs)), "–"]
    only = command_line("runs", "--tracker", "local", "--experiment", "digits",
                        "--filter", "kind=find", "--format", "json")  # fmt: skip
    (row,) = json.loads(only.stdout)["runs"]
    assert (row["kind"], row["suggestion"], row["diverged"], row["final"]) == (
        "find", result.suggestion, False, None,
    )  # fmt: skip


def test_comparisons_leave_it_out(training, command_line) -> None:
    """Comparisons ignore range tests, and there is none of range tests alone."""
    find(training, tracker="local", experiment="digits")
    with pytest.raises(NothingFound, match="no runs to compare"):
        lrtrack.compare("digits", tracker="local")
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local",
                       experiment="digits"):  # fmt: skip
        training.train(4)

    compared = lrtrack.compare("digits", tracker="local")
    assert [(each.schedule, each.runs) for each in compared.schedules] == [("StepLR", 1)]
    assert command_line("compare", "--tracker", "local", "--experiment", "digits").returncode == 0


def test_old_journals(clean_place, local) -> None:
    """A run from before kinds existed is read as a training."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    run = Run("c" * 32, "old")
    data = {k: v for k, v in run.to_dict().items() if k not in ("kind", "suggestions")}
    JournalWriter(layout.journal(run.id), run).close(State.FINISHED)

    assert Run.from_dict(data) == run
    (history,) = local()
    assert (history.run.kind, dict(history.run.suggestions)) == ("train", {})
    assert np.size(history.steps) == 0
