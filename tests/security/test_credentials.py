"""Credentials belong to the process that opened a run and to the server they were given for."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import mlflow
import psutil
import pytest
import torch
from click.testing import CliRunner, Result

import lrtrack
from lrtrack.cli import main
from lrtrack.errors import LRTrackWarning
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping import courier, spawn
from lrtrack.shipping.credentials import Snapshot, hashes
from lrtrack.shipping.lock import Lock
from lrtrack.shipping.spawn import launch
from lrtrack.trackers import registry

from .gatekeeper import Gatekeeper

TOKEN, PASSWORD = "token-of-alice", "password-of-bob"
BEARER = f"Bearer {TOKEN}"
BASIC = "Basic " + base64.b64encode(f"bob:{PASSWORD}".encode()).decode()
BOB = {"MLFLOW_TRACKING_USERNAME": "bob", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
NAMES = "MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_USERNAME"
#: Trains until the file `stop` exists: `python -c TRAINING EXPERIMENT`.
TRAINING = """
import sys, time, pathlib, torch, lrtrack
weight = torch.nn.Parameter(torch.ones(()))
optimizer = torch.optim.SGD([weight], lr=0.5)
with lrtrack.track(optimizer, tracker="mlflow", experiment=sys.argv[1], flush_timeout=60):
    while not pathlib.Path("stop").exists():
        optimizer.zero_grad(); (weight * 2.0).backward(); optimizer.step(); time.sleep(0.05)
"""


@pytest.fixture
def layout(clean_place: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """The journals of the working directory; the home directory has no credentials."""
    home = clean_place.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    journals = Layout(clean_place / ".lrtrack")
    journals.create()
    return journals


@pytest.fixture
def gate(served) -> Iterator[Callable[[str | None], Gatekeeper]]:
    """`gate(accepts)` is a server that demands that `Authorization` header, or none for None."""
    with ExitStack() as stack:
        yield lambda accepts: stack.enter_context(Gatekeeper(served.port, accepts).listening())


@pytest.fixture
def left(layout: Layout, clean_place: Path) -> Callable[..., str]:
    """`left(uri, **variables)` is a finished, undelivered run that was opened with these
    variables.
    """

    def leave(uri: str, experiment: str, **variables: str) -> str:
        environ = {"HOME": os.environ["HOME"], **variables}
        run = Run(
            "a" * 32,
            "left",
            cwd=str(clean_place),
            version="1.0",
            targets=(Target("mlflow", uri, experiment=experiment),),
            credentials=hashes([registry.get("mlflow")], environ),
        )
        writer = JournalWriter(layout.journal(run.id), run)
        writer.append(0, 100.0, {"loss": 1.0, "lr": 0.1})
        writer.close(State.FINISHED)
        layout.marker(run.id).touch()
        return run.id

    return leave


@pytest.fixture
def cli() -> Callable[..., Result]:
    """`cli(command, NAME=value, …)` runs `lrtrack command` with these variables as well."""
    return lambda *arguments, **variables: CliRunner().invoke(main, arguments, env=variables)


def statuses(uri: str, experiment: str) -> list[str]:
    """Returns the states of an experiment's runs, read from the store itself."""
    client = mlflow.MlflowClient(uri)
    experiment_found = client.get_experiment_by_name(experiment)
    runs = (
        client.search_runs([experiment_found.experiment_id]) if experiment_found is not None else []
    )
    return [run.info.status for run in runs]


def optimizer() -> torch.optim.Optimizer:
    """An optimizer with one parameter."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)


def test_two_servers_and_two_users(
    gate, served, layout: Layout, living_shippers, within_seconds, clean_place: Path
) -> None:
    """With two trainings in one directory, each server receives only the credentials given for
    it.
    """
    alices, bobs = gate(BEARER), gate(BASIC)
    own = {
        "alice": {"MLFLOW_TRACKING_URI": alices.uri, "MLFLOW_TRACKING_TOKEN": TOKEN},
        "bob": {"MLFLOW_TRACKING_URI": bobs.uri.replace("//", f"//bob:{PASSWORD}@")},
    }
    trainings = [
        subprocess.Popen([sys.executable, "-P", "-c", TRAINING, who], env={**os.environ, **these})
        for who, these in own.items()
    ]
    within_seconds(120, lambda: alices.shown.count(BEARER) > 3 and bobs.shown.count(BASIC) > 3)
    shippers = living_shippers()
    (clean_place / "stop").touch()
    codes = [training.wait(120) for training in trainings]
    within_seconds(60, lambda: layout.queued() == [])
    files = [path.read_bytes() for path in layout.root.rglob("*") if path.is_file()]

    assert (codes, len(shippers)) == ([0, 0], 2)
    assert (set(alices.shown), set(bobs.shown)) == ({BEARER}, {BASIC})
    assert [statuses(served.uri, who) for who in own] == [["FINISHED"], ["FINISHED"]]
    assert not any(text.encode() in file for text in (TOKEN, PASSWORD) for file in files)


def test_a_key_that_is_set_in_a_notebook(gate, served, layout: Layout, cli, monkeypatch) -> None:
    """A new key is used by the next block; the run before waits for `sync` and is reported."""
    bobs = gate(BASIC)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bobs.uri)
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "5")  # so that the first shipper is still running
    first, second = optimizer(), optimizer()
    with (
        pytest.warns(LRTrackWarning, match=f"{NAMES} were set since the run began"),
        lrtrack.track(first, tracker="mlflow", experiment="notebook", name="early"),
    ):
        first.step()
        for name, text in BOB.items():
            monkeypatch.setenv(name, text)
    refused = layout.queued()
    with lrtrack.track(second, tracker="mlflow", experiment="notebook", flush_timeout=60):
        second.step()
    delivered = statuses(served.uri, "notebook")
    doctor = cli("doctor")
    synced = cli("sync")

    assert (len(refused), delivered) == (1, ["FINISHED"])
    assert (
        f"answers 401 (Unauthorized): {NAMES} are here, though the training did not have them. "
        "Fix: run `lrtrack sync`"
    ) in doctor.stdout
    assert (synced.exit_code, synced.stdout) == (0, "Delivered 1 of 1 runs.\n")
    assert statuses(served.uri, "notebook") == ["FINISHED"] * 2
    assert set(bobs.shown) == {None, BASIC}


def test_a_run_whose_credentials_are_gone(gate, served, layout, left, cli) -> None:
    """A run whose credentials are gone waits; other credentials are used only for a named
    server.
    """
    bobs = gate(None)
    left(bobs.uri, "gone", **BOB)
    busy = Lock(layout.shipper_lock("another key"))  # a shipper that does not serve this run
    busy.acquire()
    start = time.monotonic()
    without = cli("sync")
    took = time.monotonic() - start
    busy.release()
    others = cli("sync", MLFLOW_TRACKING_TOKEN=TOKEN)
    headers = list(bobs.shown)
    doctor = cli("doctor").stdout
    named_server = cli("sync", MLFLOW_TRACKING_TOKEN=TOKEN, MLFLOW_TRACKING_URI=bobs.uri)

    assert (without.exit_code, others.exit_code, headers) == (1, 1, [])
    assert took < 200  # of the 300 s that it would wait for a shipper that serves it
    missing = f"{NAMES} are not here, though the training had them"
    fix = (
        "Fix: restore what the training had, or, if these are for that server, run "
        f"`MLFLOW_TRACKING_URI={bobs.uri} lrtrack sync`"
    )
    here = f"the credentials here may not be meant for {bobs.uri}: {missing}"
    added = "MLFLOW_TRACKING_TOKEN is here, though the training did not have it"
    assert f"{here}. {fix}" in without.stderr
    assert f"{here}. {fix}" in doctor
    assert f"{here}; {added}. {fix}" in others.stderr
    assert (named_server.exit_code, set(bobs.shown)) == (0, {BEARER})
    assert statuses(served.uri, "gone") == ["FINISHED"]


def test_the_same_credentials_need_no_word(gate, served, layout, left, cli) -> None:
    """A process with the training's own credentials delivers, whichever server its settings
    name.
    """
    bobs = gate(BASIC)
    left(bobs.uri, "same", **BOB)
    sync = cli("sync", **BOB, MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert (sync.exit_code, sync.stderr) == (0, "")
    assert (set(bobs.shown), statuses(served.uri, "same")) == ({BASIC}, ["FINISHED"])


def test_a_run_without_credentials_gets_nobody_elses(gate, served, layout, left, cli) -> None:
    """A run opened without credentials is delivered without variables or files of the home
    directory.
    """
    open_to_all = gate(None)
    left(open_to_all.uri, "anonymous")
    home = Path(os.environ["HOME"])
    (home / ".mlflow").mkdir()
    (home / ".mlflow" / "credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = bob\nmlflow_tracking_password = {PASSWORD}\n"
    )
    (home / ".netrc").write_text(f"default login bob password {PASSWORD}\n")
    (home / ".netrc").chmod(0o600)
    sync = cli("sync", MLFLOW_TRACKING_TOKEN=TOKEN)

    assert (sync.exit_code, sync.stderr) == (0, "")
    assert set(open_to_all.shown) == {None}
    assert statuses(served.uri, "anonymous") == ["FINISHED"]
    assert not layout.temporary.exists()


def test_a_proxy_that_was_wrong(
    served, layout, within_seconds, living_shippers, cli, monkeypatch
) -> None:
    """After a wrong proxy is corrected, `sync` delivers although a shipper still uses the wrong
    one.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "60")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    behind = optimizer()
    with (
        pytest.warns(LRTrackWarning, match="lrtrack"),
        lrtrack.track(behind, tracker="mlflow", experiment="proxied", flush_timeout=2),
    ):
        behind.step()
    (shipper,) = living_shippers()
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name)
    synced = cli("sync")
    alive = living_shippers()
    psutil.Process(shipper).terminate()
    within_seconds(60, lambda: not living_shippers())

    assert (synced.exit_code, synced.stderr) == (0, "")
    assert alive == [shipper]
    assert statuses(served.uri, "proxied") == ["FINISHED"]


def test_a_mode_that_was_wrong(wandb_server, layout, clean_place: Path, cli) -> None:
    """`sync` uses its own `WANDB_MODE` instead of an invalid one in the journal."""
    recorded = {"WANDB_MODE": "onlien", "WANDB_TAGS": "mine", "WANDB__EXECUTABLE": "/bin/false"}
    target = Target("wandb", wandb_server.url, "team/modes", environment=recorded)
    run = Run("b" * 32, "mode", cwd=str(clean_place), version="1.0", targets=(target,))
    writer = JournalWriter(layout.journal(run.id), run)
    writer.append(0, 100.0, {"loss": 1.0, "lr": 0.1})
    writer.close(State.FINISHED)
    layout.marker(run.id).touch()
    sync = cli("sync")

    assert (sync.exit_code, sync.stderr) == (0, "")
    assert layout.queued() == []


@pytest.mark.parametrize("by", ["a process", "a thread"])
def test_a_temporary_directory_that_is_removed(
    by: str, store, layout: Layout, clean_place: Path, monkeypatch, within_seconds
) -> None:
    """A run whose `TMPDIR` is removed before it ends is still delivered completely."""
    job = clean_place / "job"
    job.mkdir()
    monkeypatch.setenv("TMPDIR", str(job))
    monkeypatch.setattr("tempfile.tempdir", None)
    if by == "a thread":
        monkeypatch.setattr(spawn, "launch", lambda layout, snapshot: False)
        monkeypatch.setattr(courier, "warn", lambda message: None)
    training = optimizer()
    with lrtrack.track(training, tracker="mlflow", experiment="job", flush_timeout=60) as run:
        training.step()
        run.flush()
        shutil.rmtree(job)
    client = mlflow.MlflowClient(store)
    names = [file.path for file in client.list_artifacts(run.id, "lrtrack")]

    assert statuses(store, "job") == ["FINISHED"]
    assert names == ["lrtrack/history.parquet"]
    within_seconds(60, lambda: not layout.temporary.exists())


def test_a_resumed_run_is_its_new_process_s(
    gate, layout: Layout, left, monkeypatch, within_seconds, living_shippers, served
) -> None:
    """A run resumed with other credentials is delivered with those of the new process."""
    bobs = gate(BASIC)
    run_id = left(bobs.uri, "resumed", MLFLOW_TRACKING_TOKEN=TOKEN)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bobs.uri)
    for name, text in BOB.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "60")
    first = JournalReader(layout.journal(run_id)).run
    variables = {**os.environ, "MLFLOW_TRACKING_TOKEN": TOKEN}
    for name in BOB:
        del variables[name]
    assert launch(layout, Snapshot(variables, first.credentials))
    within_seconds(60, lambda: BEARER in bobs.shown)
    training = optimizer()
    with lrtrack.track(training, tracker="mlflow", resume=run_id, flush_timeout=60):
        training.step()
        training.step()
    within_seconds(60, lambda: layout.queued() == [])
    states = statuses(served.uri, "resumed")
    for shipper in living_shippers():
        psutil.Process(shipper).terminate()
    within_seconds(60, lambda: not living_shippers())

    assert (states, layout.queued()) == (["FINISHED"], [])
