"""How much of a credentials file counts, and which process a resumed run belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from lrtrack.journal.layout import Layout, host
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.authorization import Authorization
from lrtrack.shipping.credentials import Opener, hashes, note_opener, opener
from lrtrack.shipping.cursor import Cursor

RUN = Run("a" * 32, "r", host=host())


@pytest.mark.parametrize(("at", "counts"), [(0, True), (2**20 - 1, True), (2**20, False)])
def test_how_much_of_a_file_counts(tmp_path: Path, at: int, counts: bool) -> None:
    """The first mebibyte of a file decides, so that a huge file takes no time."""
    content, found = bytearray(2**20 + 1), []
    for value in b"ab":
        content[at] = value
        (tmp_path / ".netrc").write_bytes(content)
        found.append(hashes([], {"HOME": str(tmp_path)}))

    assert (found[0] != found[1]) is counts
    assert list(found[0]) == ["~/.netrc"]


def test_a_run_that_another_process_writes(clean_place: Path) -> None:
    """While a run is written it keeps its process; later another one may resume it."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    writer = JournalWriter(layout.journal(RUN.id), RUN)
    note_opener(layout, RUN, {"A": "1"})
    while_written = opener(layout, RUN)
    writer.close(State.FINISHED)
    note_opener(layout, RUN, {"A": "1"})

    assert while_written == Opener(host(), {})
    assert opener(layout, RUN) == Opener(host(), {"A": "1"})


def test_advice_for_a_run_that_was_opened_without_credentials(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses it gets the credentials here only if the user names the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    target = Target("mlflow", "http://server")
    run = Run("b" * 32, "r", targets=(target,), host=host())
    refused = Cursor(error="answers 401", refused="log in")
    authorization = Authorization(layout)

    assert authorization.trouble(run, target, refused, tried=True) == (
        "answers 401: MLFLOW_TRACKING_TOKEN is here, though the training did not have it. Fix: if "
        "that is for this server, run `MLFLOW_TRACKING_URI=http://server lrtrack sync`"
    )
    assert authorization.trouble(run, target, Cursor(error="away")) == "away"
