"""Credentials stay where the user put them: in no file, tag, message or page of lrtrack's."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lrtrack.journal.layout import Layout

PASSWORD, TOKEN, USER = "hunter2-pass", "t0ken-of-mine", "alice-the-user"
#: Trains three steps; a fault in the training is a warning.
_TRAINS = """
import torch, lrtrack
weight = torch.nn.Parameter(torch.ones(()))
optimizer = torch.optim.SGD([weight], lr=0.5)
with lrtrack.track(optimizer, tracker=TRACKER, experiment="secrets", flush_timeout=WAIT) as run:
    for step in range(3):
        optimizer.zero_grad(); (weight * 2.0).backward(); optimizer.step()
print(run.id, run.url, repr(run))
"""


@pytest.fixture
def trained(clean_place: Path) -> Callable[..., str]:
    """`trained(tracker, wait)` returns everything that a small training printed."""

    def train(tracker: str, wait: float) -> str:
        code = _TRAINS.replace("TRACKER", repr(tracker)).replace("WAIT", str(wait))
        process = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout + process.stderr

    return train


@pytest.fixture
def outputs(command_line, clean_place: Path) -> Callable[..., str]:
    """`outputs(tracker)` returns the output of each command, and the report that one of them
    writes.
    """

    def collect(tracker: str) -> str:
        arguments = ("--tracker", tracker, "--experiment", "secrets")
        commands = [
            ("doctor",),
            ("sync", "--timeout", "20"),
            ("compare", *arguments, "-o", "r.html"),
        ]
        text = ""
        for command in commands:
            process = command_line(*command)
            text += process.stdout + process.stderr
        return text

    return collect


def kept(folder: Path) -> dict[str, bytes]:
    """Returns every file below `folder`."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leaks(secrets: tuple[str, ...], said: str, files: dict[str, bytes]) -> list[str]:
    """Returns the places where a secret is visible."""
    places = {"what was printed": said.encode(), **files}
    return [
        f"{secret} in {place}"
        for secret in secrets
        for place, content in places.items()
        if secret.encode() in content
    ]


def test_a_server_that_is_up(
    server, trained, outputs, clean_place: Path, monkeypatch, living_shippers, within_seconds
):
    """A password in the URI and one in the environment reach MLflow's requests and nothing else."""
    server.start()
    uri = server.uri.replace("http://", f"http://{USER}:{PASSWORD}@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    printed = trained("mlflow", 60.0)
    within_seconds(60, lambda: living_shippers() == [])
    printed += outputs("mlflow")
    server.stop()
    with sqlite3.connect(server.folder / "server.db") as database:
        runs = database.execute("SELECT count(*) FROM runs").fetchone()[0]
    database.close()

    assert runs == 1, printed
    assert (clean_place / "r.html").exists(), printed
    files = kept(clean_place) | kept(server.folder)
    assert leaks((PASSWORD, TOKEN, USER), printed, files) == []


@pytest.mark.parametrize(
    ("uri", "environment"),
    [
        pytest.param(
            f"http://{USER}:{PASSWORD}@127.0.0.1:9",
            {"MLFLOW_TRACKING_TOKEN": TOKEN},
            marks=pytest.mark.soak,
        ),
        (
            "http://127.0.0.1:9",
            {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD},
        ),
        pytest.param(
            f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:9/runs?sslpassword={TOKEN}",
            {},
            marks=pytest.mark.soak,
        ),
    ],
    ids=["a URI", "variables", "a database"],
)
def test_a_server_that_is_down(
    uri: str, environment: dict[str, str], trained, outputs, clean_place: Path, monkeypatch,
    living_shippers, kill_shippers, within_seconds, cold_start,
):  # fmt: skip
    """Errors name the server, never its credentials, on the terminal and in the shipper's log."""
    if "psycopg2" in uri:
        pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    printed = trained("mlflow", 3.0)
    within_seconds(60, lambda: living_shippers() != [])
    kill_shippers()
    printed += outputs("mlflow")

    assert "127.0.0.1" in printed
    assert Layout(clean_place / ".lrtrack").queued() != []
    assert "Traceback" not in printed
    assert leaks((PASSWORD, TOKEN, USER), printed, kept(clean_place)) == []


def test_wandb_keeps_its_key(
    wandb_server, trained, outputs, clean_place: Path, living_shippers, within_seconds
):
    """W&B's key is in no journal, log, run or report, whether its server answers or not."""
    key = os.environ["WANDB_API_KEY"]
    printed = trained("wandb", 60.0)
    within_seconds(60, lambda: living_shippers() == [])
    printed += outputs("wandb")

    assert len(key) > 10
    assert (clean_place / "r.html").exists(), printed
    assert leaks((key,), printed, kept(clean_place)) == []


def test_the_shipper_listens_on_no_port(store: str, living_shippers, within_seconds):
    """The shipper listens on no port."""
    import torch

    import lrtrack

    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with lrtrack.track(optimizer, tracker="mlflow", experiment="secrets") as run:
        for _ in range(3):
            optimizer.zero_grad()
            (weight * 2.0).backward()
            optimizer.step()
        run.flush()
        (shipper,) = living_shippers()
        family = [psutil.Process(shipper), *psutil.Process(shipper).children(recursive=True)]
        states = [c.status for process in family for c in process.net_connections(kind="inet")]

    assert psutil.CONN_LISTEN not in states
    assert psutil.CONN_NONE not in states  # a UDP port
