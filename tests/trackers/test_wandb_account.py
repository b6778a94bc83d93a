"""The account at a W&B server, asked without importing W&B."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from lrtrack.trackers.wandb import account, api


@pytest.fixture
def without_wandb(monkeypatch) -> None:
    """As in a process that has not imported W&B."""
    monkeypatch.setattr(account, "sys", type("Without", (), {"modules": {}}))


@pytest.fixture
def server(wandb_server, without_wandb, monkeypatch):
    """A W&B server that is asked, and never by W&B's client."""
    monkeypatch.setattr(api, "load", lambda name: pytest.fail("W&B's client was asked"))
    return wandb_server


def test_the_account(server):
    """The status names the server and the account of the key in the variable."""
    assert api.status() == f"{server.url} answers, as {server.store.viewer}"


def test_the_key_in_the_file_of_logins(server, monkeypatch, tmp_path: Path):
    """A key in the file of logins counts for its server alone, port included."""
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("WANDB_API_KEY")
    host = server.url.removeprefix("http://")
    netrc.write_text(f"machine {host}\n  login user\n  password {server.api_key}\n")
    assert account.name_at(server.url) == server.store.viewer
    netrc.write_text(f"machine other\n  login user\n  password {server.api_key}\n")

    assert account.name_at(server.url) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WANDB_IDENTITY_TOKEN_FILE", "/token"),
        ("WANDB_HTTPS_PROXY", "http://proxy"),
        ("WANDB__EXTRA_HTTP_HEADERS", "{}"),
        ("WANDB_INSECURE_DISABLE_SSL", "true"),
        ("https_proxy", "http://proxy"),
        ("WANDB_API_KEY", "schlüssel"),
    ],
)
def test_variables_that_only_the_client_follows(server, monkeypatch, variable, value):
    """Where a variable changes how W&B connects or logs in, its client is asked."""
    monkeypatch.setenv(variable, value)

    assert account.name_at(server.url) is None
    assert server.requests == []


def test_settings_that_only_the_client_follows(server, monkeypatch, tmp_path: Path):
    """The same holds for W&B's settings files."""
    (tmp_path / "settings").write_text("[default]\nhttp_proxy = http://proxy\n")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))

    assert account.name_at(server.url) is None
    assert server.requests == []


def test_a_program_that_has_imported_wandb(wandb_server, monkeypatch):
    """A program that has imported W&B may have logged in, so that its client is asked."""
    monkeypatch.setattr(account, "sys", type("With", (), {"modules": {"wandb": None}}))

    assert account.name_at(wandb_server.url) is None
    assert wandb_server.requests == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (302, b""),
        (401, b""),
        (500, b"{}"),
        (200, b""),
        (200, b"[]"),
        (200, b'{"data": {"viewer": null}}'),
        (200, b'{"data": {"viewer": {"username": 7, "entity": "x"}}}'),
        (200, b'{"data": {"viewer": {"username": "", "entity": ""}}}'),
    ],
)
def test_answers_that_are_none(answering, without_wandb, monkeypatch, status, body):
    """Anything but an account is left to W&B's client, and the key goes to no other address."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    answering.append((status, {"Location": answering[0] + "/elsewhere"}, body))

    assert account.name_at(answering[0] + "/prefix/") is None
    assert answering[2:] == [
        ("/prefix/graphql", f"Basic {base64.b64encode(b'api:' + b'k' * 40).decode()}")
    ]


@pytest.mark.parametrize("uri", ["ftp://h", "http://me@h", "http://h/?a=b", "http://127.0.0.1:9"])
def test_addresses_without_an_answer(without_wandb, monkeypatch, uri):
    """Addresses that are not plain ones, and servers that are down, are left to W&B's client."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)

    assert account.name_at(uri) is None


def test_authorities_of_the_user(answering, without_wandb, monkeypatch):
    """Certificates are verified by the authorities that the user names, and by no others."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no such file")

    assert account.name_at(answering[0].replace("http:", "https:")) is None
    assert answering[1:] == []
