"""The line at the end of a block that names the command for a report with its run."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import lrtrack
from lrtrack import settings
from lrtrack.cli import main
from lrtrack.records import Run, State, Target
from lrtrack.settings import Settings
from lrtrack.trackers import registry
from lrtrack.trackers.memory import MemoryTracker
from lrtrack.tracking import report_hint

BEFORE = "lrtrack: To compare this run with the experiment's others: "


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of a user's, which has named no command yet."""
    monkeypatch.delenv("LRTRACK_QUIET")
    monkeypatch.setattr(report_hint, "_named", set())
    monkeypatch.setattr(report_hint, "_silent", False)


def train(steps: int = 2, error: Exception | None = None, **options: Any) -> None:
    """Train for some steps, and then raise `error`."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with lrtrack.track(optimizer, **{"tracker": "local", "experiment": "digits"} | options):
        for _ in range(steps):
            (weight * 2).sum().backward()
            optimizer.step()
        if error is not None:
            raise error


def command(*targets: Target, configured: Settings | None = None, **run: Any) -> str | None:
    """The command for a run with these targets."""
    trackers = {target.tracker: registry.get(target.tracker) for target in targets}
    fields = {"id": "1", "name": "run", "experiment": "digits", "targets": targets, **run}
    return report_hint.command_for(Run(**fields), trackers, configured or settings.read())


def test_one_line_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Many runs of one experiment name the command once, and the command reads the run."""
    for seed in range(2):
        train(seed=seed)
    train(experiment="my digits")
    lines = capsys.readouterr().err.splitlines()
    words = shlex.split(lines[0].removeprefix(BEFORE))[1:]

    assert lines == [
        f"{BEFORE}lrtrack compare --tracker local digits",
        f"{BEFORE}lrtrack compare --tracker local 'my digits'",
    ]
    assert CliRunner().invoke(main, words).exit_code == 0


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({"LRTRACK_QUIET": "1"}, {}),
        ({"CI": "true"}, {}),
        ({}, {"steps": 0}),
        ({}, {"error": ValueError("stop")}),
    ],
)
def test_when_nothing_is_said(
    variables: dict[str, str],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No command is named in CI, if the user says so, without a step, and after an exception."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with contextlib.suppress(ValueError):
        train(**options)

    assert "To compare this run" not in capsys.readouterr().err


def test_variables_that_do_not_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`LRTRACK_QUIET=0` counts more than `CI`, and `CI=false` is no CI."""
    assert settings.read({"CI": "false"}).quiet is False
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("LRTRACK_QUIET", "0")
    train()

    assert "To compare this run" in capsys.readouterr().err


def test_a_switch_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value of the variable is an error where the block begins."""
    monkeypatch.setenv("LRTRACK_QUIET", "maybe")
    with pytest.raises(lrtrack.LRTrackError, match="LRTRACK_QUIET must be one of"):
        train()


def test_processes_of_lrtrack_and_workers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo, and workers of a sweep, name no command."""
    run = Run(id="1", name="run", experiment="x", targets=(Target("local", experiment="x"),))
    local = {"local": registry.get("local")}
    monkeypatch.setattr(settings, "_own_process", True)
    report_hint.show(run, State.FINISHED, local, settings.read())
    monkeypatch.setattr(settings, "_own_process", False)
    report_hint.silence()
    report_hint.show(run, State.FINISHED, local, settings.read())

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target("mlflow", experiment="digits"), "lrtrack compare digits"),
        (Target("mlflow", experiment="-x y"), "lrtrack compare -- '-x y'"),
        (Target("mlflow", "http://me:secret@host/a?token=abc", "digits"),
         "lrtrack compare --tracking-uri 'http://host/a?token=***' digits"),
        (Target("mlflow", "sqlite:///my store.db", experiment_id="12"),
         "lrtrack compare --tracking-uri 'sqlite:///my store.db' 12"),
        (Target("mlflow", run_id="a", joined=True), "lrtrack compare --tracker local digits"),
        (Target("wandb", experiment="me/digits"), "lrtrack compare --tracker wandb me/digits"),
        (Target("wandb", "https://own.host", "me/digits"),
         "lrtrack compare --tracker wandb --tracking-uri https://own.host me/digits"),
        (Target("wandb", experiment="digits", environment={"WANDB_MODE": "offline"}),
         "lrtrack compare --tracker local digits"),
        (Target("wandb", experiment="x", environment={"WANDB_MODE": "disabled"}, delivers=False),
         None),
    ],
)  # fmt: skip
def test_the_command(target: Target, expected: str | None) -> None:
    """It names what the shell needs, quoted and without credentials."""
    assert command(target) == expected


def test_an_open_run_of_mlflow(store: str) -> None:
    """A joined run is found by the id of its experiment, which needs no request."""
    import mlflow

    mlflow.set_tracking_uri(store)
    number = mlflow.create_experiment("theirs")
    try:
        with mlflow.start_run(experiment_id=number) as run:
            joined = Target("mlflow", store, run_id=run.info.run_id, joined=True)
            child = Target("mlflow", store, parent=run.info.run_id)

            assert command(joined) == f"lrtrack compare --tracking-uri {store} {number}"
            assert command(child) == f"lrtrack compare --tracking-uri {store} {number}"
    finally:
        mlflow.set_tracking_uri(None)
    found = CliRunner().invoke(main, ["runs", "--tracking-uri", store, str(number)])

    assert (found.exit_code, f"{number} · 1 run" in found.stdout) == (0, True)


def test_the_journal_directory(clean_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that only a variable names is set before the command."""
    local = Target("local", experiment="digits", delivers=False)
    monkeypatch.setenv("LRTRACK_DIR", "my journals")
    below = command(local)
    monkeypatch.setenv("LRTRACK_DIR", "/elsewhere")

    assert below == "LRTRACK_DIR='my journals' lrtrack compare --tracker local digits"
    assert command(local) == "LRTRACK_DIR=/elsewhere lrtrack compare --tracker local digits"
    (clean_place / "pyproject.toml").write_text(
        '[tool.lrtrack]\ntracker = "local"\ndir = "/elsewhere"\n'
    )
    assert command(local) == "lrtrack compare digits"


def test_a_tracker_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs in a tracker object that no command can name are read from their journals."""
    train(tracker=MemoryTracker())

    assert capsys.readouterr().err == f"{BEFORE}lrtrack compare --tracker local digits\n"


def test_text_that_would_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with line breaks is not named, because no one line can."""
    train(experiment="two\nlines")

    assert capsys.readouterr().err == ""
