"""Which variables and files count as credentials, how they are stored, and who may use them."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

import lrtrack
from lrtrack.journal.layout import Layout, host
from lrtrack.records import Run, Target
from lrtrack.shipping.authorization import Authorization, Difference, Verdict, without_credentials
from lrtrack.shipping.credentials import (
    Opener,
    Snapshot,
    absolute,
    hashes,
    key_of,
    note_opener,
    opener,
)
from lrtrack.shipping.cursor import Cursor
from lrtrack.trackers import registry

RUN = "c" * 32
MLFLOW, WANDB = registry.get("mlflow"), registry.get("wandb")
EVIL = "http://evil.example:5000"


@pytest.fixture
def home(clean_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory."""
    path = clean_place.parent / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    for name in ("NETRC", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def layout(home: Path, clean_place: Path) -> Layout:
    """The journals of the working directory."""
    made = Layout(clean_place / ".lrtrack")
    made.create()
    return made


def run_to(uri: str | None, tracker: str = "mlflow", **variables: str) -> tuple[Run, Target]:
    """Returns a run that was opened with these variables, and its target."""
    target = Target(tracker, uri)
    environ = {"HOME": os.environ["HOME"], **variables}
    found = hashes([registry.get(tracker)], environ)
    return Run(RUN, "r", host=host(), targets=(target,), credentials=found), target


@pytest.mark.parametrize(
    ("name", "value", "counts"),
    [
        ("MLFLOW_TRACKING_TOKEN", "t", True),
        ("MLFLOW_ALLOW_FILE_STORE", "true", True),
        ("MLFLOW_TRACKING_INSECURE_TLS", "true", True),
        ("MLFLOW_S3_ENDPOINT_URL", "http://s3", True),
        ("AWS_SECRET_ACCESS_KEY", "k", True),
        ("AZURE_CLIENT_SECRET", "k", True),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/k.json", True),
        ("DATABRICKS_TOKEN", "k", True),
        ("PGPASSWORD", "k", True),
        ("MYSQL_PWD", "k", True),
        ("https_proxy", "http://proxy", True),
        ("NO_PROXY", "localhost", True),
        ("SSL_CERT_FILE", "/ca.pem", True),
        ("REQUESTS_CA_BUNDLE", "/ca.pem", True),
        ("MLFLOW_TRACKING_URI", "http://bob:pw@server", True),
        ("MLFLOW_TRACKING_URI", "http://server", False),
        ("MLFLOW_RUN_ID", "1", False),
        ("MLFLOW_EXPERIMENT_NAME", "x", False),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true", False),
        ("AWS_BATCH_JOB_ID", "1", False),
        ("MLFLOW_TRACKING_TOKEN", "", False),
        ("WANDB_API_KEY", "k", False),
        ("TMPDIR", "/job", False),
        ("PATH", "/bin", False),
        ("PGO_LEVEL", "2", False),
    ],
)
def test_variables_that_count_for_mlflow(home: Path, name: str, value: str, counts: bool) -> None:
    """Variables that decide how a delivery connects to MLflow are hashed; recorded settings are
    not.
    """
    found = hashes([MLFLOW], {"HOME": str(home), name: value})

    assert list(found) == ([name] if counts else [])


def test_variables_that_count_for_wandb(home: Path) -> None:
    """API keys, headers and proxies of W&B are hashed; settings that a run records are not."""
    ours = {"WANDB_API_KEY": "k", "WANDB__EXTRA_HTTP_HEADERS": "{}", "WANDB_HTTPS_PROXY": "p"}
    others = {"WANDB_RUN_ID": "1", "WANDB_PROJECT": "p", "WANDB_MODE": "offline"}
    found = hashes([WANDB], {"HOME": str(home), **ours, **others, "MLFLOW_TRACKING_TOKEN": "t"})

    assert sorted(found) == sorted(ours)


def test_files_that_count(home: Path) -> None:
    """The contents of the files in which clients look for credentials are hashed."""
    files = {".netrc": "a", ".mlflow/credentials": "b", ".aws/credentials": "c", ".aws/config": "d"}
    for name, text in files.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    first = hashes([MLFLOW], {"HOME": str(home)})
    (home / ".netrc").write_text("another")
    second = hashes([MLFLOW], {"HOME": str(home)})

    assert sorted(first) == sorted(f"~/{name}" for name in files)
    assert [name for name in first if first[name] != second[name]] == ["~/.netrc"]


def test_a_pipe_in_the_place_of_a_file(home: Path) -> None:
    """Hashing does not block on a named pipe in place of a credentials file."""
    os.mkfifo(home / ".netrc")

    assert hashes([MLFLOW], {"HOME": str(home)}) == {}


def test_hashes_tell_nothing(home: Path, clean_place: Path, monkeypatch) -> None:
    """The same value has a different hash under another name and with another user's key."""
    environ = {"MLFLOW_TRACKING_TOKEN": "secret", "MLFLOW_TRACKING_PASSWORD": "secret"}
    mine = hashes([MLFLOW], environ)
    again = hashes([MLFLOW], environ)
    monkeypatch.setenv("XDG_STATE_HOME", str(clean_place / "another"))
    theirs = hashes([MLFLOW], environ)

    assert mine == again
    assert len({*mine.values(), *theirs.values()}) == 4
    assert key_of(mine) != key_of(theirs)
    assert {len(text) for text in mine.values()} == {16}


def test_a_user_whose_key_cannot_be_kept(home: Path, clean_place: Path, monkeypatch) -> None:
    """Without a stored key, hashes within one process agree, so its own shipper serves its runs."""
    monkeypatch.setattr("lrtrack.user_state._candidates", lambda: iter(()))
    first = hashes([MLFLOW], {"MLFLOW_TRACKING_TOKEN": "secret"})
    second = hashes([MLFLOW], {"MLFLOW_TRACKING_TOKEN": "secret"})

    assert first == second
    assert list(first) == ["MLFLOW_TRACKING_TOKEN"]


def test_relative_paths_are_made_absolute(home: Path, clean_place: Path) -> None:
    """Relative paths of certificates and credentials files are made absolute for the shipper."""
    relative = {
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "ca.pem",
        "REQUESTS_CA_BUNDLE": "certs/ca.pem",
        "NETRC": "../netrc",
        "MLFLOW_TRACKING_URI": "sqlite:///x.db",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH": "/etc/client.pem",
        "WANDB_DIR": "not mlflow's",
    }
    found = absolute(relative, [MLFLOW])

    assert found == {
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(clean_place / "ca.pem"),
        "REQUESTS_CA_BUNDLE": str(clean_place / "certs" / "ca.pem"),
        "NETRC": str(clean_place / ".." / "netrc"),
        "MLFLOW_TRACKING_URI": "sqlite:///x.db",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH": "/etc/client.pem",
        "WANDB_DIR": "not mlflow's",
    }


def test_what_a_snapshot_holds(home: Path, monkeypatch) -> None:
    """A snapshot keeps the environment as it was, whatever changes afterwards."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "first")
    snapshot = Snapshot.take([MLFLOW])
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "second")

    assert snapshot.variables["MLFLOW_TRACKING_TOKEN"] == "first"
    assert snapshot.key == key_of(snapshot.credentials) != Snapshot.take([MLFLOW]).key


def test_a_snapshot_has_only_what_its_trackers_need(home: Path, monkeypatch) -> None:
    """It has no other tracker's key, and those that the user passes on decide who delivers."""
    for name in ("MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY", "PLUGIN_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    snapshot = Snapshot.take([MLFLOW], ["PLUGIN_*"])
    secrets = {name for name, value in snapshot.variables.items() if value == "secret"}

    assert secrets == {"MLFLOW_TRACKING_TOKEN", "PLUGIN_TOKEN"}
    assert secrets <= snapshot.credentials.keys()
    assert snapshot.key != Snapshot.take([MLFLOW]).key


def test_who_opened_a_run_last(layout: Layout) -> None:
    """A resumed run belongs to its new process, and a tampered note is ignored."""
    run, _ = run_to("http://server", MLFLOW_TRACKING_TOKEN="first")
    before = opener(layout, run)
    second = hashes([MLFLOW], {"MLFLOW_TRACKING_TOKEN": "second"})
    note_opener(layout, run, second)
    noted = opener(layout, run)
    data = json.loads(layout.opener(RUN).read_text())
    layout.opener(RUN).write_text(json.dumps({**data, "credentials": {}}))
    changed = opener(layout, run)
    note_opener(layout, run, run.credentials)

    assert before == changed == Opener(host(), run.credentials)
    assert noted == Opener(host(), second)
    assert not layout.opener(RUN).exists()


def test_records_keep_hashes_and_refuse_anything_else(home: Path) -> None:
    """A journal returns the hashes it was given, and anything that is not a hash is rejected."""
    run, _ = run_to("http://server", MLFLOW_TRACKING_TOKEN="t")
    data = run.to_dict()

    assert Run.from_dict(data).credentials == run.credentials
    assert Run.from_dict({**data, "credentials": {}}).credentials == {}
    for wrong in ([], {"a": 1}, {"a": None}, "a"):
        with pytest.raises(TypeError):
            Run.from_dict({**data, "credentials": wrong})


TOKEN = {"MLFLOW_TRACKING_TOKEN": "t"}


@pytest.mark.parametrize(
    ("uri", "theirs", "mine", "verdict"),
    [
        (EVIL, {}, {}, Verdict.OWN),
        (EVIL, TOKEN, TOKEN, Verdict.OWN),
        (EVIL, {}, TOKEN, Verdict.ANONYMOUS),
        (EVIL, TOKEN, {}, Verdict.NOT),
        (EVIL, TOKEN, {"MLFLOW_TRACKING_TOKEN": "u"}, Verdict.NOT),
        (EVIL, TOKEN, {**TOKEN, "MLFLOW_TRACKING_USERNAME": "bob"}, Verdict.NOT),
        (EVIL, {}, {**TOKEN, "MLFLOW_TRACKING_URI": f"{EVIL}/path"}, Verdict.OWN),
        (EVIL, {}, {**TOKEN, "MLFLOW_TRACKING_URI": "http://evil.example"}, Verdict.ANONYMOUS),
        (EVIL, {}, {**TOKEN, "MLFLOW_TRACKING_URI": "https://evil.example:5000"}, "anonymous"),
        (EVIL, {}, {"MLFLOW_TRACKING_URI": "http://bob:pw@server"}, Verdict.OWN),
        (EVIL, {}, {"AWS_SECRET_ACCESS_KEY": "k", "HTTP_PROXY": "http://p"}, Verdict.OWN),
        (" HTTP://evil.example", {}, TOKEN, Verdict.ANONYMOUS),
        ("plugin://evil.example", {}, TOKEN, Verdict.ANONYMOUS),
        ("postgresql+psycopg://evil.example/db", {}, {"PGPASSWORD": "k"}, Verdict.ANONYMOUS),
        ("postgresql://evil.example/db", {}, TOKEN, Verdict.OWN),
        ("sqlite:///mlflow.db", TOKEN, {}, Verdict.OWN),
        ("file:///mlruns", TOKEN, {}, Verdict.OWN),
        ("databricks", {}, {"DATABRICKS_TOKEN": "k"}, Verdict.OWN),
        (None, {}, TOKEN, Verdict.OWN),
    ],
)
def test_who_may_deliver_to_mlflow(
    layout: Layout, monkeypatch, uri: str | None, theirs: dict, mine: dict, verdict: str
) -> None:
    """Credentials go only to the server they were set for, or where this process's settings
    point.
    """
    run, target = run_to(uri, **theirs)
    for name, text in mine.items():
        monkeypatch.setenv(name, text)
    found = Authorization(layout).verdict(run, target)

    assert found is (Verdict.ANONYMOUS if verdict == "anonymous" else verdict)


@pytest.mark.parametrize(
    ("uri", "mine", "verdict"),
    [
        (None, {"WANDB_API_KEY": "k"}, Verdict.OWN),
        (EVIL, {"WANDB_API_KEY": "k"}, Verdict.ANONYMOUS),
        (EVIL, {"WANDB_API_KEY": "k", "WANDB_BASE_URL": EVIL}, Verdict.OWN),
        (None, {"WANDB_API_KEY": "k", "WANDB_BASE_URL": EVIL}, Verdict.ANONYMOUS),
        (EVIL, {"WANDB_MODE": "online"}, Verdict.OWN),
    ],
)
def test_who_may_deliver_to_wandb(
    layout: Layout, monkeypatch, uri: str | None, mine: dict, verdict: Verdict
) -> None:
    """An API key goes only to the server that W&B's own settings name."""
    run, target = run_to(uri, "wandb")
    for name, text in mine.items():
        monkeypatch.setenv(name, text)

    assert Authorization(layout).verdict(run, target) is verdict


@pytest.mark.parametrize(
    ("logins", "verdict"),
    [
        ("default login bob password pw\n", Verdict.ANONYMOUS),
        ("machine evil.example login bob password pw\n", Verdict.OWN),
        ("machine another.example login bob password pw\n", Verdict.OWN),
    ],
)
def test_logins_by_host_name(layout: Layout, home: Path, logins: str, verdict: Verdict) -> None:
    """A `~/.netrc` login applies to the server with exactly its name; the default entry does
    not.
    """
    run, target = run_to(EVIL)
    (home / ".netrc").write_text(logins)

    assert Authorization(layout).verdict(run, target) is verdict


def test_a_process_without_credentials(layout: Layout, home: Path, monkeypatch) -> None:
    """Removing credentials leaves nothing that could be sent and changes nothing else."""
    _, target = run_to(EVIL)
    (home / ".mlflow").mkdir()
    (home / ".mlflow" / "credentials").write_text("[mlflow]")
    (home / ".aws").mkdir()
    (home / ".netrc").write_text(
        "machine evil.example login a password b\nmachine other login c password d\n"
        "default login e password f\n"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k")
    with without_credentials(layout, [target]) as environ:
        folder = Path(environ["HOME"])
        entries = sorted(path.name for path in folder.iterdir())
        logins = Path(environ["NETRC"]).read_text().split()
        private = (folder / ".netrc").stat().st_mode & 0o777

    assert "MLFLOW_TRACKING_TOKEN" not in environ
    assert environ["AWS_SECRET_ACCESS_KEY"] == "k"
    assert entries == [".aws", ".netrc"]
    assert logins == ["machine", "evil.example", "login", "a", "password", "b"]
    assert private == 0o600
    assert not layout.temporary.exists()


def test_advice_names_nothing_that_is_there(layout: Layout, monkeypatch) -> None:
    """A refused delivery is reported with how the credentials have changed since the run
    started.
    """
    run, target = run_to("http://server", MLFLOW_TRACKING_USERNAME="bob")
    refused = Cursor(error="answers 401", refused="set MLFLOW_TRACKING_PASSWORD, too")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    same = Authorization(layout).trouble(run, target, refused)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw")
    added = Authorization(layout).trouble(run, target, refused)
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    missing = Authorization(layout).trouble(run, target, refused)

    assert same == "answers 401: set MLFLOW_TRACKING_PASSWORD, too"
    assert added == (
        "answers 401: MLFLOW_TRACKING_PASSWORD is here, though the training did not have it. "
        "Fix: run `lrtrack sync`"
    )
    assert missing == (
        "answers 401: MLFLOW_TRACKING_USERNAME is not here, though the training had it; "
        "MLFLOW_TRACKING_PASSWORD is here, though the training did not have it. "
        "Fix: set what is missing, then run `lrtrack sync`"
    )


def test_differences_in_words() -> None:
    """A difference lists each name once, as added, changed or removed."""
    found = Difference.between({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1"})

    assert found == Difference(("a",), ("b",), ("d",))
    assert str(found) == (
        "a is not here, though the training had it; b is not what the training had; "
        "d is here, though the training did not have it"
    )
    assert str(Difference.between({"a": "1"}, {"a": "1"})) == ""


def test_wandb_settings_of_another_process(layout: Layout, monkeypatch) -> None:
    """The run's destination and name come from the run; connection settings come from this
    process.
    """
    recorded = {
        "WANDB_BASE_URL": "http://elsewhere",
        "WANDB_NAME": "mine",
        "WANDB_TAGS": "a,b",
        "WANDB_MODE": "offline",
        "WANDB_INSECURE_DISABLE_SSL": "true",
        "WANDB__EXECUTABLE": "/tmp/evil",
        "WANDB_API_KEY": "k",
        "PYTHONPATH": "/tmp/evil",
        "LD_PRELOAD": "/tmp/evil.so",
    }
    target = Target("wandb", "http://server", "team/project", environment=recorded)
    monkeypatch.setenv("WANDB_NAME", "another")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "9")
    renewed = WANDB.renew_target(target)  # type: ignore[attr-defined]
    monkeypatch.setenv("WANDB_MODE", "online")
    online = WANDB.renew_target(target)  # type: ignore[attr-defined]

    kept = {
        "WANDB_BASE_URL": "http://server",
        "WANDB_NAME": "mine",
        "WANDB_TAGS": "a,b",
        "WANDB_INIT_TIMEOUT": "9",
    }
    assert renewed.environment == kept | {"WANDB_MODE": "offline"}
    assert online.environment == kept | {"WANDB_MODE": "online"}
    assert dataclasses.replace(renewed, environment=recorded) == target


def test_wandb_that_is_switched_off_here(layout: Layout, monkeypatch) -> None:
    """A run is not marked as delivered because the delivering process has W&B disabled."""
    monkeypatch.setenv("WANDB_MODE", "disabled")

    with pytest.raises(lrtrack.LRTrackError, match="switched off by WANDB_MODE"):
        WANDB.renew_target(Target("wandb"))  # type: ignore[attr-defined]
