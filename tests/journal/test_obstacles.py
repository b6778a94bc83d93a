"""Why a path cannot be used, in words."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

import pytest

from lrtrack.journal.obstacles import obstacle, stranger_of


def refused(kind: int, path: Path | None = None) -> OSError:
    """What the system says about a path."""
    return OSError(kind, os.strerror(kind), *([] if path is None else [str(path)]))


def test_what_is_in_the_way(tmp_path: Path) -> None:
    """A file in the place of a directory, a link to nowhere and other errors are named."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("")
    link.symlink_to(tmp_path / "nothing")

    assert obstacle(file / "a" / "b", refused(errno.ENOTDIR)) == f"{file} is not a directory"
    assert obstacle(file, refused(errno.EEXIST)) == "Not a directory"
    assert obstacle(file, refused(errno.ENOTDIR)) == "Not a directory"
    assert obstacle(file, refused(errno.EISDIR)) == "Is a directory"
    assert obstacle(link, refused(errno.EEXIST)) == (
        f"it is a symbolic link to {tmp_path / 'nothing'}, which does not exist"
    )
    assert obstacle(tmp_path, refused(errno.ENOSPC)) == "No space left on device"
    assert obstacle(tmp_path, refused(errno.ENOSPC, tmp_path)) == "No space left on device"
    assert obstacle(tmp_path, refused(errno.ENOSPC, tmp_path / "a")) == (
        f"No space left on device: {tmp_path / 'a'}"
    )
    assert obstacle(tmp_path, OSError("a reason")) == "a reason"


def test_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of another user is said to be theirs; one's own, and none, are not."""
    me, missing = os.getuid(), tmp_path / "missing"
    name, denied = pwd.getpwuid(me).pw_name, refused(errno.EACCES)
    assert (stranger_of(tmp_path), stranger_of(missing)) == (None, None)
    assert obstacle(tmp_path, denied) == "Permission denied"

    for other in (me - 1, me + 1):
        monkeypatch.setattr(os, "geteuid", lambda other=other: other)
        assert (stranger_of(tmp_path), stranger_of(missing)) == (name, None)
    assert obstacle(tmp_path, denied) == f"it belongs to the user {name}"
    assert obstacle(missing, denied) == f"{tmp_path} belongs to the user {name}"

    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert stranger_of(tmp_path) == f"with the id {me}"
