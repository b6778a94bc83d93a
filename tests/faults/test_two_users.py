"""Two users and one directory for journals: the second one is refused, with what to do."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lrtrack.cli import main
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader

from .training import train

GROUP = 12345
STEPS = 3


@pytest.fixture
def users() -> tuple[pwd.struct_passwd, pwd.struct_passwd]:
    """Two accounts that every system has."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return pwd.getpwnam("daemon"), pwd.getpwnam("nobody")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that a group may write to, as `chmod 2770` and `chgrp` make it."""
    folder = Path(tempfile.mkdtemp(prefix="lrtrack-users-"))
    folder.chmod(0o777)
    journals = folder / "journals"
    journals.mkdir()
    os.chown(journals, 0, GROUP)
    journals.chmod(0o2770)
    yield journals
    shutil.rmtree(folder)


def become(user: pwd.struct_passwd, work: Callable[[], list[str]]) -> list[str]:
    """Does `work` as another user, in a forked process, and returns the lines that it returned."""
    with tempfile.TemporaryFile("w+") as answer:
        child = os.fork()
        if child == 0:
            try:
                os.chdir("/")
                os.umask(0o002)
                os.setgroups([GROUP])
                os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
                os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
                os.environ["XDG_STATE_HOME"] = f"{os.environ['LRTRACK_DIR']}-{user.pw_uid}"
                lines = work()
            except BaseException:
                lines = traceback.format_exc().splitlines()
            answer.write("\n".join(lines))
            answer.flush()
            os._exit(0)
        os.waitpid(child, 0)
        answer.seek(0)
        return answer.read().splitlines()


def trained() -> list[str]:
    """Trains, and returns the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(STEPS, tracker="local")
    return [str(warning.message) for warning in caught]


def synced() -> list[str]:
    """Calls `lrtrack sync`; returns its exit status and what it prints."""
    result = CliRunner().invoke(main, ["sync"])
    return [str(result.exit_code), *result.output.splitlines()]


def test_a_directory_of_a_group(users, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first user of a shared directory has it alone; others are told whose it is.

    The variable `HOME` names a directory that neither may enter, as `setuid` programs leave it.
    """
    first, second = users
    home = shared.with_name("home")
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    trained(), synced()  # imports everything, which another user may not be able to read
    monkeypatch.setenv("LRTRACK_DIR", str(shared))
    recorded, refused = become(first, trained), become(second, trained)

    assert recorded == []
    assert refused == [
        f"lrtrack cannot write to the journal directory {shared}: {shared}/runs belongs to the "
        "user daemon. Training continues without a record. Fix: set LRTRACK_DIR to a writable "
        "directory."
    ]
    (path,) = Layout(shared).journals()
    assert JournalReader(path).table()[0].num_rows == STEPS
    assert become(second, synced) == [
        "1",
        f"Error: Cannot read {shared}: {shared}/queue belongs to the user daemon.",
    ]
