"""`mlflow server --app-name basic-auth`: users, wrong passwords, and permissions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from fixtures.servers import Server

import lrtrack

from .training import train

STEPS = 3
ADMIN, ALICE, BOB = (
    ("admin", "admin-password-1"),
    ("alice", "alices-pw-22"),
    ("bob", "bobs-pw-3333"),
)
CONFIG = """
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder}/users.db
admin_username = admin
admin_password = admin-password-1
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[Server]:
    """A server with the users admin, alice and bob, who may not use each other's experiments."""
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    folder = tmp_path_factory.mktemp("guarded")
    server = Server(folder, mlflow_database)
    (folder / "auth.ini").write_text(CONFIG.format(folder=folder))
    server.options = ["--app-name", "basic-auth"]
    server.variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for-tests",
    }
    try:
        server.start()
        for user, password in (ALICE, BOB):
            requests.post(
                f"{server.uri}/api/2.0/mlflow/users/create",
                json={"username": user, "password": password},
                auth=ADMIN,
                timeout=60,
            ).raise_for_status()
        yield server
    finally:
        server.stop()


def log_in(monkeypatch: pytest.MonkeyPatch, user: tuple[str, str]) -> None:
    """Sets the variables of a user."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", user[1])


@pytest.mark.soak  # five deliveries to a server of its own
def test_users_of_a_server(
    guarded: Server,
    clean_place: Path,
    monkeypatch: pytest.MonkeyPatch,
    command_line: Callable[..., Any],
) -> None:
    """A user's run arrives; a wrong password, another user's experiment and a token, which this
    server does not take, are refused with what to do, and `sync` delivers once it is right.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded.uri)

    def warnings_of(experiment: str, folder: str) -> list[str]:
        monkeypatch.setenv("LRTRACK_DIR", str(clean_place / folder))
        with pytest.warns(lrtrack.LRTrackWarning) as caught:
            train(STEPS, experiment=experiment)
        return [str(warning.message) for warning in caught]

    log_in(monkeypatch, ALICE)
    train(STEPS, experiment="alices")
    log_in(monkeypatch, BOB)
    denied = warnings_of("alices", "denied")
    log_in(monkeypatch, (BOB[0], "wrong"))
    wrong = warnings_of("bobs", "wrong")
    log_in(monkeypatch, BOB)
    synced = command_line("sync", LRTRACK_DIR=str(clean_place / "wrong"))
    bobs = mlflow.MlflowClient(guarded.uri).search_experiments()
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token-of-another-server")
    token = warnings_of("tokens", "token")
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    log_in(monkeypatch, ADMIN)
    client = mlflow.MlflowClient(guarded.uri)
    names = [experiment.name for experiment in client.search_experiments()]
    runs = client.search_runs([client.get_experiment_by_name("bobs").experiment_id])
    points = client.get_metric_history(runs[0].info.run_id, "loss")

    both = (
        "replace the credentials in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD by ones"
    )
    for messages, status, fix in (
        (denied, "answers 403 (Forbidden)", f"{both} that may do this"),
        (wrong, "answers 401 (Unauthorized)", f"{both} that the server knows"),
        (token, "answers 401 (Unauthorized)", "credentials in MLFLOW_TRACKING_TOKEN by ones"),
    ):
        (message,) = messages
        assert status in message
        assert fix in message
    assert (synced.returncode, synced.stdout) == (0, "Delivered 1 of 1 runs.\n")
    assert sorted(names) == ["Default", "alices", "bobs"]
    assert [experiment.name for experiment in bobs] == ["bobs"]
    assert [(point.step, point.value) for point in points] == [(s, s + 1.0) for s in range(STEPS)]
