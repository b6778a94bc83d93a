"""Where the files of a journal directory are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lrtrack.errors import JournalError
from lrtrack.journal import layout as layout_module
from lrtrack.journal.layout import Layout, open_regular, read_json, touch, write_json

RUN, OTHER = "a" * 32, "b" * 32


def test_the_names_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file has its place, and no name of a run, tracker or machine leads out of it."""
    monkeypatch.setattr(layout_module, "host", lambda: "node-1")
    root = Path("/journals")
    layout = Layout(root)

    assert layout.journal(RUN) == root / f"runs/{RUN}.journal"
    assert layout.opener(RUN) == root / f"runs/{RUN}.opener"
    assert layout.cursor(RUN, "a/b") == root / f"runs/{RUN}.a_b.cursor"
    assert layout.gate(RUN, "../b") == root / f"runs/{RUN}.___b.gate"
    assert layout.delivery_lock(RUN, "b") == root / f"runs/{RUN}.b.lock"
    assert layout.marker(RUN) == root / f"queue/{RUN}"
    assert layout.shipper_lock("k/1") == root / "shipper-node-1-k_1.lock"
    assert layout.shipper_lock("k", "../n") == root / "shipper-___n-k.lock"
    assert layout.shipper_log("k") == root / "shipper-node-1-k.log"
    assert (layout.sync_lock, layout.temporary, layout.wake) == (
        root / "sync.lock", root / "tmp", root / "wake",
    )  # fmt: skip
    with pytest.raises(JournalError, match="not an lrtrack run id"):
        layout.journal("../../etc/passwd")


def test_a_new_directory_is_private(tmp_path: Path) -> None:
    """A journal directory is made once, for its user alone, and git leaves it alone."""
    layout = Layout(tmp_path / "a" / "b")
    layout.create()
    layout.create()
    folders = [layout.root, *(layout.root / name for name in ("runs", "queue", "joined"))]

    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 4
    assert (layout.root / ".gitignore").read_text() == "*\n"


def test_links_are_removed(tmp_path: Path) -> None:
    """Links in a journal directory are replaced, and what they lead to stays."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    layout = Layout(tmp_path / "journals")
    layout.remove_links()  # there is none yet
    layout.create()
    (layout.root / "runs").rmdir()
    for name in ("runs", "wake"):
        (layout.root / name).symlink_to(elsewhere)
    layout.remove_links()

    assert (layout.root / "runs").is_dir()
    assert not any(path.is_symlink() for path in layout.root.iterdir())
    assert not (layout.root / "wake").exists()
    assert elsewhere.is_dir()


def test_what_is_queued(tmp_path: Path) -> None:
    """Runs wait in the order in which they were queued, and other files are none."""
    layout = Layout(tmp_path / "journals")
    assert layout.markers() == {}
    layout.create()
    for name, time in ((RUN, 2), (OTHER, 1), ("other", 0)):
        touch(layout.root / "queue" / name)
        os.utime(layout.root / "queue" / name, ns=(time, time))

    assert list(layout.markers().items()) == [(OTHER, 1), (RUN, 2)]
    assert layout.queued() == [OTHER, RUN]


def test_journals_come_newest_first(tmp_path: Path) -> None:
    """The journal that was written last is the first one; other files are none."""
    layout = Layout(tmp_path / "journals")
    layout.create()
    for at, name in enumerate((RUN, "other", OTHER)):
        path = layout.root / "runs" / f"{name}.journal"
        path.write_bytes(b"")
        os.utime(path, (at, at))

    assert list(layout.journals()) == [layout.journal(OTHER), layout.journal(RUN)]


def test_touching_a_file(tmp_path: Path) -> None:
    """A file is created for its user alone, gets the time of now, and is no link any more."""
    path, victim = tmp_path / "file", tmp_path / "victim"
    touch(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.utime(path, (1.0, 1.0))
    touch(path)
    assert path.stat().st_mtime > 1.0

    victim.write_text("precious")
    path.unlink()
    path.symlink_to(victim)
    os.utime(victim, (1.0, 1.0))
    touch(path)
    assert (path.is_symlink(), path.read_bytes(), victim.stat().st_mtime) == (False, b"", 1.0)
    with pytest.raises(OSError, match="No such file"):
        touch(tmp_path / "missing" / "file")


def test_mappings_in_files(tmp_path: Path) -> None:
    """A mapping is written as a whole and read back; anything else counts as nothing."""
    path = tmp_path / "file"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})

    assert read_json(path) == {"a": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.glob("*file*")) == [path]
    for text in ("[1]", "{", "[" * 100_000, "\udcff"):
        path.write_bytes(text.encode(errors="surrogateescape"))
        assert read_json(path) is None
    assert read_json(tmp_path / "missing") is None
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path)
