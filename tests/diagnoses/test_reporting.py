"""Where a diagnosis is told: on stderr, in each tracker, in `lrtrack runs`, in every report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from typing import Any

import pytest
from torch.optim.lr_scheduler import ExponentialLR, StepLR

import lrtrack
from lrtrack.comparing import fetch
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader

NEVER = "StepLR was never stepped: the learning rate stayed at 0.01 for all 6 optimizer steps."
HINT = (
    "call scheduler.step() after optimizer.step(), or once per epoch if the schedule counts epochs"
)
FOUND = {"code": "LR001", "message": NEVER, "hint": HINT}
LINE = f"LR001: {NEVER} Fix: {HINT}."

SCRIPT = """
import torch, lrtrack, sys
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
with lrtrack.track(optimizer, scheduler, tracker="local"):
    for _ in range(6):
        optimizer.zero_grad(); weight.square().sum().backward(); optimizer.step()
        if sys.argv[1:] == ["sound"]: scheduler.step()
    if sys.argv[1:] == ["nan"]:
        (weight.sum() * float("nan")).backward(); optimizer.step()
        raise KeyError("mine")
"""


def script(*arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """What a user sees of such a program."""
    command = [sys.executable, "-P", *options, "-c", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def never(training: Any, **options: Any) -> Any:
    """A run that forgets its scheduler, delivered; returns the run."""
    task = training()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LR0", lrtrack.LRTrackWarning)
        with lrtrack.track(task.optimizer, StepLR(task.optimizer, 2), **options) as run:
            task.run(6)
    return run


def stepped(training: Any, **options: Any) -> Any:
    """The same without the mistake."""
    task = training()
    scheduler = StepLR(task.optimizer, 2)
    with lrtrack.track(task.optimizer, scheduler, **options) as run:
        task.run(6, lambda step: scheduler.step())
    return run


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), [f"lrtrack:0: LRTrackWarning: {LINE}"]),
        (("-W", "error"), [f"lrtrack: {LINE}"]),
        (("-W", "ignore:LR0"), []),
        (("-W", "ignore:LR001"), []),
    ],
    ids=["as it is", "warnings are errors", "all off", "one off"],
)
def test_one_line_on_stderr(clean_place, options: tuple[str, ...], shown: list[str]) -> None:
    """Told once at the end, never raised, and switched off like any warning."""
    done = script(options=options)

    assert (done.returncode, done.stderr.splitlines()) == (0, shown)


def test_a_sound_run_is_silent(clean_place) -> None:
    """Nothing on stderr where there is nothing to tell."""
    done = script("sound")

    assert (done.returncode, done.stderr) == (0, "")


def test_an_exception_keeps_its_place(clean_place) -> None:
    """The user's exception goes on unchanged, below what is told."""
    done = script("nan")
    lines = done.stderr.splitlines()

    assert done.returncode == 1
    assert lines[0].startswith("lrtrack:0: LRTrackWarning: LR006: the loss is nan from step 6 on; ")
    assert lines[-1] == "KeyError: 'mine'"


def test_a_failing_diagnosis_costs_one_line(training, clean_place, monkeypatch) -> None:
    """Whatever goes wrong in it, the run ends well and is delivered as ever."""
    from lrtrack.tracking import live_diagnoses

    monkeypatch.setattr(live_diagnoses.LiveDiagnoses, "at_end", lambda self, state: 1 / 0)
    with pytest.warns(lrtrack.LRTrackWarning, match="could not diagnose the run: ZeroDivision"):
        stepped(training, tracker="local")
    (history,) = fetch("lrtrack", tracker="local")

    assert (str(history.state), history.run.diagnoses) == ("FINISHED", None)


@pytest.mark.parametrize("tracker", ["mlflow", "wandb", "local"])
def test_read_back(training, request, monkeypatch, tracker: str) -> None:
    """Each tracker gives back what was told, and that a sound run was looked at."""
    if tracker == "mlflow":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("store"))
    if tracker == "wandb":
        request.getfixturevalue("wandb_server")
    never(training, tracker=tracker, experiment="x", name="never", flush_timeout=300)
    stepped(training, tracker=tracker, experiment="x", name="stepped", flush_timeout=300)
    found = {history.run.name: history for history in fetch("x", tracker=tracker)}

    assert found["never"].run.diagnoses == (FOUND,)
    assert found["stepped"].run.diagnoses == ()
    assert lrtrack.compare("x", tracker=tracker).diagnoses == (
        {**FOUND, "run_id": found["never"].id},
    )


def test_mlflow_can_be_searched(training, store, monkeypatch) -> None:
    """The tag is JSON with the codes in it, and goes again when a resumed run is sound."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = mlflow.MlflowClient(store)
    run = never(training, tracker="mlflow", experiment="x", flush_timeout=300)
    number = client.get_experiment_by_name("x").experiment_id
    wanted = "tags.`lrtrack.diagnoses` LIKE '%LR001%'"
    hit = client.search_runs([number], wanted)
    stepped(training, tracker="mlflow", experiment="x", resume=run.id, flush_timeout=300)

    assert [each.info.run_id for each in hit] == [run.id]
    assert json.loads(hit[0].data.tags["lrtrack.diagnoses"]) == [FOUND]
    assert client.search_runs([number], wanted) == []
    assert client.get_run(run.id).data.tags["lrtrack.diagnoses"] == "[]"


def test_blocks_in_one_mlflow_run(training, store, monkeypatch) -> None:
    """Two blocks with prefixes in the user's own run: the later one leaves the other's alone."""
    import mlflow

    mlflow.set_tracking_uri(store)
    try:
        mlflow.set_experiment("x")
        with mlflow.start_run() as mine:
            never(training, prefix="g/", flush_timeout=300)
            stepped(training, prefix="d/", flush_timeout=300)
    finally:
        mlflow.set_tracking_uri(None)
    tags = mlflow.MlflowClient(store).get_run(mine.info.run_id).data.tags

    assert json.loads(tags["lrtrack.diagnoses"]) == [{**FOUND, "prefix": "g/"}]


def test_wandb_can_be_filtered(training, wandb_server) -> None:
    """The codes are in the summary, the whole of it in the config; both go when it is no more."""
    run = never(training, tracker="wandb", experiment="x", flush_timeout=300)
    (found,) = wandb_server.runs("tester/x")
    before = found.summary["lrtrack/diagnoses"], found.config["lrtrack"]["diagnoses"]
    stepped(training, tracker="wandb", experiment="x", resume=run.id, flush_timeout=300)
    (found,) = wandb_server.runs("tester/x")

    assert before == ("LR001", [FOUND])
    assert found.summary["lrtrack/diagnoses"] == ""
    assert found.tags == ["StepLR", "cpu"]
    assert found.config["lrtrack"]["diagnoses"] == []


def test_in_runs_and_reports(training, command_line) -> None:
    """A column of codes, a line for all runs of a schedule, and the whole of it as JSON."""
    for seed in range(2):
        never(training, tracker="local", experiment="x", seed=seed)
    runs = command_line("runs", "--tracker", "local", "--experiment", "x")
    listed = command_line("runs", "--tracker", "local", "--experiment", "x", "--format", "json")
    shown = command_line("compare", "--tracker", "local", "--experiment", "x")
    line = f"! LR001 in 2 runs of StepLR: e.g. {NEVER} → {HINT}."

    assert len(re.findall(r"\d\.\d+ +LR001 *\n", runs.stdout)) == 2
    assert " ".join(line.split()) in " ".join(runs.stdout.split())
    assert " ".join(line.split()) in " ".join(shown.stdout.split())
    assert [run["diagnoses"] for run in json.loads(listed.stdout)["runs"]] == [[FOUND]] * 2


def test_range_tests_are_not_diagnosed(training, clean_place) -> None:
    """The finder's losses explode on purpose."""
    task = training()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrtrack.find_lr(
            task.model, task.optimizer, task.backward, end=1e6, track={"tracker": "local"}
        )
    (history,) = fetch("lrtrack", tracker="local")

    assert history.run.kind == "find"
    assert history.run.diagnoses is None


def test_a_killed_run_is_diagnosed_by_its_records(training, clean_place, command_line) -> None:
    """Without a word of its end, its records tell what they can, and each thing once."""
    task = training(lr=1e6)
    scheduler = ExponentialLR(task.optimizer, 0.99)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LR0", lrtrack.LRTrackWarning)
        with lrtrack.track(task.optimizer, scheduler, tracker="local", experiment="x"):
            task.run(40)
    (path,) = Layout(clean_place / ".lrtrack").journals()
    end = [e for e in JournalReader(path).entries() if e.event and e.event["event"] == "end"]
    whole = lrtrack.compare("x", tracker="local").diagnoses
    path.write_bytes(path.read_bytes()[: end[0].start])
    killed = lrtrack.compare("x", tracker="local").diagnoses

    assert [each["code"] for each in whole] == ["LR001", "LR006"]
    assert [each["code"] for each in killed] == ["LR006"]
    assert killed[0]["message"] == whole[1]["message"]
