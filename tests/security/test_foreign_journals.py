"""A journal that this user did not write has no effect until the user accepts it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.errors import ForeignJournal, LRTrackWarning
from lrtrack.journal.framing import PREAMBLE, Kind, decode, encode
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.credentials import Snapshot
from lrtrack.shipping.undelivered import undelivered
from lrtrack.trackers import registry

RUN_ID = "feed" * 8
_SECRETS = {"MLFLOW_TRACKING_TOKEN": "t0ken-of-mine", "WANDB_API_KEY": "a" * 40}


@pytest.fixture
def recording_server() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that refuses everything; yields its address and the headers of all its requests."""
    requests: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_HEAD = do_PUT = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="recording-server")
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def planted(layout: Layout, clean_place: Path) -> Callable[..., Path]:
    """`planted(tracker, uri, **environment)` queues a foreign journal and returns its path."""

    def plant(tracker: str, uri: str | None = None, **environment: str) -> Path:
        target = Target(tracker, uri, experiment="x", environment=environment)
        run = Run(RUN_ID, "innocent", cwd=str(clean_place), targets=(target,)).to_dict()
        events = [{"event": "run", "time": 1.0, "run": run},
                  {"event": "end", "time": 2.0, "state": "FINISHED"}]  # fmt: skip
        frames = [encode(Kind.EVENT, json.dumps(event).encode()) for event in events]
        layout.journal(RUN_ID).write_bytes(PREAMBLE + b"".join(frames))
        layout.marker(RUN_ID).touch()
        return layout.journal(RUN_ID)

    return plant


@pytest.fixture
def code(clean_place: Path) -> tuple[Path, Path]:
    """A directory that runs code when it is on Python's path, and the file that the code
    creates.
    """
    folder, proof = clean_place / "evil", clean_place / "OWNED"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"open({str(proof)!r}, 'w')")
    return folder, proof


def train(steps: int = 3, **options: Any) -> lrtrack.TrackedRun:
    """Tracks a small training."""
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with lrtrack.track(optimizer, **options) as run:
        for _ in range(steps):
            optimizer.zero_grad()
            (weight * 2.0).backward()
            optimizer.step()
    return run


def test_sync_runs_no_code_that_a_journal_names(
    planted: Callable[..., Path], code: tuple[Path, Path], command_line: Any
) -> None:
    """sync and doctor name a foreign journal, leave it alone, and never run its code."""
    planted("wandb", PYTHONPATH=str(code[0]), WANDB_MODE="offline")

    synced, checked = command_line("sync", "--timeout", "30"), command_line("doctor")

    assert synced.returncode == 0
    assert "Skipped: 1 journal that you did not write ('innocent')" in synced.stderr
    assert "lrtrack sync --adopt" in synced.stderr
    assert "not yours" in checked.stdout
    assert not code[1].exists()
    assert not Path("wandb").exists()


def test_no_request_is_sent_to_a_server_that_a_journal_names(
    planted: Callable[..., Path],
    recording_server: tuple[str, list[dict[str, str]]],
    command_line: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither sync nor a training in the same directory contacts a foreign journal's MLflow
    server.
    """
    uri, requests = recording_server
    for name, value in _SECRETS.items():
        monkeypatch.setenv(name, value)
    planted("mlflow", uri)

    command_line("sync", "--timeout", "30")
    train(flush_timeout=60.0, tracker="mlflow")

    assert requests == []


def test_adopting_shows_where_it_sends_what(
    planted: Callable[..., Path],
    recording_server: tuple[str, list[dict[str, str]]],
    command_line: Any,
    layout: Layout,
) -> None:
    """`sync --adopt` prints each destination and delivers the journal like the user's own."""
    uri, requests = recording_server
    path = planted("mlflow", uri)

    adopted = command_line("sync", "--timeout", "30", "--adopt", str(layout.root.parent))

    assert f"to mlflow at {uri}, experiment x" in adopted.stderr
    assert "Accepted 1 journal." in adopted.stderr
    assert adopted.returncode == 1  # that server refuses everything
    assert requests != []
    assert JournalReader(path).run.name == "innocent"


def test_adopting_runs_no_code_either(
    planted: Callable[..., Path],
    code: tuple[Path, Path],
    command_line: Any,
    layout: Layout,
) -> None:
    """Variables of an accepted journal pass the same filter as when a journal is written."""
    planted("wandb", PYTHONPATH=str(code[0]), LD_PRELOAD="/x.so", WANDB_MODE="offline")

    command_line("sync", "--timeout", "60", "--adopt", str(layout.root))

    assert not code[1].exists()
    assert list(Path("wandb").glob("offline-run-*")) != []


def test_credentials_are_not_sent_to_the_server_of_an_accepted_journal(
    planted: Callable[..., Path],
    recording_server: tuple[str, list[dict[str, str]]],
    command_line: Any,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A token given for another server is never sent to the server that an accepted journal
    names.
    """
    uri, requests = recording_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for name, value in _SECRETS.items():
        monkeypatch.setenv(name, value)
    planted("mlflow", uri)

    command_line("sync", "--timeout", "30", "--adopt", str(layout.root))

    assert [request for request in requests if "authorization" in request] == []


@pytest.mark.parametrize("place", ["target", "name", "id"])
def test_a_signed_record_that_was_changed_does_not_count(layout: Layout, place: str) -> None:
    """The user's own journal is foreign after any change in its first record."""
    run = Run(RUN_ID, "mine", targets=(Target("mlflow", "http://127.0.0.1:9", "x"),))
    JournalWriter(layout.journal(RUN_ID), run).close(State.FINISHED)
    path = layout.journal(RUN_ID)
    first, *rest = decode(path.read_bytes())
    event = json.loads(first.payload)
    if place == "target":
        event["run"]["targets"][0]["uri"] = "http://127.0.0.1:10"
    else:
        event["run"][place] = "beef" * 8
    frames = [encode(Kind.EVENT, json.dumps(event).encode())]
    frames += [encode(frame.kind, frame.payload) for frame in rest]
    assert JournalReader(path).run == run

    path.write_bytes(PREAMBLE + b"".join(frames))

    with pytest.raises(ForeignJournal):
        _ = JournalReader(path).run


def test_a_later_record_does_not_redirect_a_journal(layout: Layout) -> None:
    """An unsigned record after a damaged signed one does not replace it."""
    path = layout.journal(RUN_ID)
    JournalWriter(path, Run(RUN_ID, "mine")).close(State.FINISHED)
    event = {"event": "resume", "time": 3.0, "run": Run(RUN_ID, "stranger's").to_dict()}
    content = bytearray(path.read_bytes()) + encode(Kind.EVENT, json.dumps(event).encode())

    path.write_bytes(content)
    assert JournalReader(path).run.name == "mine"

    content[len(PREAMBLE) + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(ForeignJournal):
        _ = JournalReader(path).run


def test_an_accepted_journal_that_changes_is_foreign_again(
    planted: Callable[..., Path],
) -> None:
    """Accepting a journal covers its current first record, not a later file at the same path."""
    path = planted("mlflow", "http://127.0.0.1:9")
    JournalReader(path).adopt()
    assert JournalReader(path).run.name == "innocent"

    planted("mlflow", "http://127.0.0.1:10")

    with pytest.raises(ForeignJournal):
        _ = JournalReader(path).run


def test_resuming_does_not_use_a_foreign_journal(planted: Callable[..., Path]) -> None:
    """Resuming by the id of a foreign journal leaves that journal unchanged."""
    path = planted("local")
    before = path.read_bytes()

    with pytest.warns(LRTrackWarning, match="was not written by you"):
        run = train(resume=RUN_ID, tracker="local")

    assert path.read_bytes() == before
    assert run.step == 2


def test_local_reports_leave_a_foreign_journal_out(
    planted: Callable[..., Path], command_line: Any
) -> None:
    """Local reports warn once about foreign journals and show the others."""
    train(tracker="local", experiment="x", name="mine")
    planted("local")

    listed = command_line("runs", "--tracker", "local", "--experiment", "x", "--format", "csv")

    assert listed.returncode == 0
    assert "mine" in listed.stdout
    assert "innocent" not in listed.stdout
    assert "was not written by you" in listed.stderr


def test_links_in_a_journal_directory_lead_nowhere(clean_place: Path, command_line: Any) -> None:
    """Links in a journal directory give no access to files outside it, for reading or writing."""
    victim = clean_place / "victim"
    victim.write_text("precious")
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    key = Snapshot.take([registry.get("mlflow")]).key
    names = (layout.shipper_log(key), layout.shipper_lock(key), layout.sync_lock, layout.wake)
    for path in (*names, layout.journal(RUN_ID)):
        path.symlink_to(victim)
    layout.marker(RUN_ID).touch()

    command_line("sync", "--timeout", "30")
    run = train(tracker="mlflow", flush_timeout=60.0)

    assert victim.read_text() == "precious"
    assert run.step == 2


def test_a_named_pipe_in_the_place_of_a_journal_stops_nobody(
    layout: Layout, command_line: Any
) -> None:
    """A named pipe in the place of a journal blocks no reader."""
    os.mkfifo(layout.journal(RUN_ID))
    os.mkfifo(layout.cursor(RUN_ID, "mlflow"))
    layout.marker(RUN_ID).touch()

    synced = command_line("sync", "--timeout", "30")

    assert synced.returncode == 1
    assert "not a regular file" in synced.stderr
    assert undelivered(layout)[0].error is not None


def test_a_journal_written_with_another_key_is_foreign(
    layout: Layout, clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journals signed with another user's key are foreign."""
    monkeypatch.setenv("XDG_STATE_HOME", str(clean_place / "somebody else"))
    JournalWriter(layout.journal(RUN_ID), Run(RUN_ID, "theirs")).close(State.FINISHED)
    assert JournalReader(layout.journal(RUN_ID)).run.name == "theirs"

    monkeypatch.setenv("XDG_STATE_HOME", str(clean_place / "mine"))

    with pytest.raises(ForeignJournal):
        _ = JournalReader(layout.journal(RUN_ID)).run


def test_a_directory_without_journals_is_refused(command_line: Any, clean_place: Path) -> None:
    """`--adopt` explains what kind of directory it needs."""
    refused = command_line("sync", "--adopt", str(clean_place))

    assert refused.returncode == 2
    assert "is not a journal directory" in refused.stderr
