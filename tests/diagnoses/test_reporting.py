"""Where diagnoses appear: on stderr, in each tracker, in `lrtrack runs`, in every report."""

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
LINE = f"LR001 in run StepLR: {NEVER} Fix: {HINT}."

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
    """Run a program and return what the user sees."""
    command = [sys.executable, "-P", *options, "-c", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def never(training: Any, **options: Any) -> Any:
    """Deliver a run that forgets its scheduler, and return it."""
    task = training()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LR0", lrtrack.LRTrackWarning)
        with lrtrack.track(task.optimizer, StepLR(task.optimizer, 2), **options) as run:
            task.run(6)
    return run


def stepped(training: Any, **options: Any) -> Any:
    """Deliver the same run without the mistake, and return it."""
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
    """A diagnosis is one line at the end, and can be filtered like any warning."""
    process = script(options=options)

    assert (process.returncode, process.stderr.splitlines()) == (0, shown)


def test_a_sound_run_is_silent(clean_place) -> None:
    """A run without diagnoses prints nothing on stderr."""
    process = script("sound")

    assert (process.returncode, process.stderr) == (0, "")


def test_an_exception_keeps_its_place(clean_place) -> None:
    """The user's exception is unchanged and comes after the diagnoses."""
    process = script("nan")
    lines = process.stderr.splitlines()

    assert process.returncode == 1
    assert lines[0].startswith(
        "lrtrack:0: LRTrackWarning: LR006 in run StepLR: the loss is nan from step 6 on; "
    )
    assert lines[-1] == "KeyError: 'mine'"


def test_a_failing_diagnosis_costs_one_line(training, clean_place, monkeypatch) -> None:
    """If a diagnosis fails, the run still ends normally and is delivered."""
    from lrtrack.tracking import live_diagnoses

    monkeypatch.setattr(live_diagnoses.LiveDiagnoses, "at_end", lambda self, *_: 1 / 0)
    with pytest.warns(lrtrack.LRTrackWarning, match="could not diagnose the run: ZeroDivision"):
        stepped(training, tracker="local")
    (history,) = fetch("lrtrack", tracker="local")

    assert (str(history.state), history.run.diagnoses) == ("FINISHED", None)


@pytest.mark.parametrize("tracker", ["mlflow", "wandb", "local"])
def test_read_back(training, request, monkeypatch, tracker: str) -> None:
    """Each tracker returns the diagnoses, and an empty list for a run that has none."""
    if tracker == "mlflow":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("store"))
    if tracker == "wandb":
        request.getfixturevalue("wandb_server")
    never(training, tracker=tracker, experiment="x", name="never", flush_timeout=300)
    stepped(training, tracker=tracker, experiment="x", name="stepped", flush_timeout=300)
    runs = {history.run.name: history for history in fetch("x", tracker=tracker)}

    assert runs["never"].run.diagnoses == (FOUND,)
    assert runs["stepped"].run.diagnoses == ()
    assert lrtrack.compare("x", tracker=tracker).diagnoses == (
        {**FOUND, "run_id": runs["never"].id},
    )


def test_mlflow_can_be_searched(training, store, monkeypatch) -> None:
    """The tag is JSON with the codes, and disappears when a resumed run has no diagnosis."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = mlflow.MlflowClient(store)
    run = never(training, tracker="mlflow", experiment="x", flush_timeout=300)
    number = client.get_experiment_by_name("x").experiment_id
    condition = "tags.`lrtrack.diagnoses` LIKE '%LR001%'"
    hit = client.search_runs([number], condition)
    stepped(training, tracker="mlflow", experiment="x", resume=run.id, flush_timeout=300)

    assert [each.info.run_id for each in hit] == [run.id]
    assert json.loads(hit[0].data.tags["lrtrack.diagnoses"]) == [FOUND]
    assert client.search_runs([number], condition) == []
    assert client.get_run(run.id).data.tags["lrtrack.diagnoses"] == "[]"


def test_blocks_in_one_mlflow_run(training, store, monkeypatch) -> None:
    """The later of two blocks with prefixes in one run keeps the diagnoses of the earlier."""
    import mlflow

    mlflow.set_tracking_uri(store)
    try:
        mlflow.set_experiment("x")
        with mlflow.start_run() as user_run:
            never(training, prefix="g/", flush_timeout=300)
            stepped(training, prefix="d/", flush_timeout=300)
    finally:
        mlflow.set_tracking_uri(None)
    tags = mlflow.MlflowClient(store).get_run(user_run.info.run_id).data.tags

    assert json.loads(tags["lrtrack.diagnoses"]) == [{**FOUND, "prefix": "g/"}]


def test_wandb_can_be_filtered(training, wandb_server) -> None:
    """The codes are in the summary and the diagnoses in the config; both go when there are none."""
    run = never(training, tracker="wandb", experiment="x", flush_timeout=300)
    (stored,) = wandb_server.runs("tester/x")
    before = stored.summary["lrtrack/diagnoses"], stored.config["lrtrack"]["diagnoses"]
    stepped(training, tracker="wandb", experiment="x", resume=run.id, flush_timeout=300)
    (stored,) = wandb_server.runs("tester/x")

    assert before == ("LR001", [FOUND])
    assert stored.summary["lrtrack/diagnoses"] == ""
    assert stored.tags == ["StepLR", "cpu"]
    assert stored.config["lrtrack"]["diagnoses"] == []


def test_in_runs_and_reports(training, command_line) -> None:
    """Reports have a column of codes, one line for all runs of a schedule, and the full JSON."""
    for seed in range(2):
        never(training, tracker="local", experiment="x", seed=seed)
    runs = command_line("runs", "--tracker", "local", "--experiment", "x")
    listed = command_line("runs", "--tracker", "local", "--experiment", "x", "--format", "json")
    process = command_line("compare", "--tracker", "local", "--experiment", "x")
    line = f"! LR001 in 2 runs of StepLR: e.g. {NEVER} → {HINT}."

    assert len(re.findall(r"\d\.\d+ +LR001 *\n", runs.stdout)) == 2
    assert " ".join(line.split()) in " ".join(runs.stdout.split())
    assert " ".join(line.split()) in " ".join(process.stdout.split())
    assert [run["diagnoses"] for run in json.loads(listed.stdout)["runs"]] == [[FOUND]] * 2


def test_range_tests_are_not_diagnosed(training, clean_place) -> None:
    """A range test is not diagnosed, because its losses explode on purpose."""
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
    """A killed run is diagnosed from its records alone, with each diagnosis once."""
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

    assert [diagnosis["code"] for diagnosis in whole] == ["LR001", "LR006"]
    assert [diagnosis["code"] for diagnosis in killed] == ["LR006"]
    assert killed[0]["message"] == whole[1]["message"]
