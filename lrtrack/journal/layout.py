"""File names under the journal directory, and who may read the files.

    .lrtrack/
      .gitignore                  keeps journals out of version control
      runs/<id>.journal           one run, append-only, mode 0600
      runs/<id>.segments/         the rest of a long one: see `segments.py`
      runs/<id>.<tracker>.cursor  how far that run is delivered to that tracker (JSON)
      runs/<id>.<tracker>.gate    exists while the training process holds deliveries back
      runs/<id>.<tracker>.lock    held by the process that delivers that run to that tracker
      runs/<id>.opener            of a resumed run: the process that has it open now (JSON)
      queue/<id>                  empty; exists while something of the run is undelivered
      shipper-<host>-<key>.lock   held by the shipper of this machine with those credentials
      shipper-<host>-<key>.log    the messages of that shipper
      joined/<digest>             the blocks in one open run of the user's, one per line (JSON)
      sync.lock                   held by `lrtrack sync`, to which shippers leave finished runs
      tmp/<host>-<pid>-<token>/   temporary files of one process's deliveries
      wake                        touched to make the shippers try again immediately

<key> is a short hash that identifies a shipper's credentials without revealing them.

File names are made from lrtrack's own hexadecimal ids only, never from a run's name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import stat
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lrtrack.errors import JournalError
from lrtrack.journal.obstacles import obstacle, stranger_of

_ID = re.compile(r"[0-9a-f]{32}")
_SAFE = re.compile(r"[^A-Za-z0-9_-]")


_FOLDERS = ("runs", "queue", "joined")


@dataclass(frozen=True)
class Layout:
    """The names of all files below one journal directory.

    Attributes:
        root: the journal directory, absolute.
    """

    root: Path

    def create(self) -> None:
        """Creates the directories, private to the user.

        Links among lrtrack's own files there are removed: only lrtrack creates these files, and it
        creates no links.

        Raises:
            JournalError: the directory cannot be created or written.
        """
        try:
            for folder in (self.root, *(self.root / name for name in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.remove_links()
            self._require_access()
            with contextlib.suppress(FileExistsError), (self.root / ".gitignore").open("x") as file:
                file.write("*\n")
        except OSError as error:
            raise JournalError(
                f"cannot write to the journal directory {self.root}: {obstacle(self.root, error)}"
            ) from error

    def _require_access(self) -> None:
        """Refuses directories that another user keeps private, in one that a group may write to.

        Raises:
            PermissionError: one of them is.
        """
        for folder in (self.root / name for name in _FOLDERS):
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK) and stranger_of(folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def trouble(self) -> str | None:
        """Returns why this cannot be a journal directory, now or later; None if it can."""
        if self.root.is_dir() or not os.path.lexists(self.root):
            return None
        return obstacle(self.root, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))

    def remove_links(self) -> None:
        """Removes links among lrtrack's own files in the directory, which may be missing.

        Raises:
            OSError: that is impossible.
        """
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root) as entries:
            for link in [Path(entry.path) for entry in entries if entry.is_symlink()]:
                link.unlink()
                if link.name in _FOLDERS:
                    link.mkdir(mode=0o700)

    def journal(self, run_id: str) -> Path:
        """Returns the journal of one run."""
        return self.root / "runs" / f"{checked_id(run_id)}.journal"

    def cursor(self, run_id: str, tracker: str) -> Path:
        """Returns the delivery state of one run for one tracker."""
        return self.root / "runs" / f"{checked_id(run_id)}.{_SAFE.sub('_', tracker)}.cursor"

    def gate(self, run_id: str, tracker: str) -> Path:
        """Returns the file that holds deliveries back while a process has it locked."""
        return self.root / "runs" / f"{checked_id(run_id)}.{_SAFE.sub('_', tracker)}.gate"

    def delivery_lock(self, run_id: str, tracker: str) -> Path:
        """Returns the lock of the process that delivers the run to the tracker."""
        return self.root / "runs" / f"{checked_id(run_id)}.{_SAFE.sub('_', tracker)}.lock"

    def opener(self, run_id: str) -> Path:
        """Returns the file that names the process that opened the run last, if its first record
        does not.
        """
        return self.root / "runs" / f"{checked_id(run_id)}.opener"

    def joined(self, *place: str | None) -> Path:
        """Returns the list of the blocks in one open run of the user's; `place` identifies the
        run.
        """
        digest = hashlib.sha256(json.dumps(place).encode()).hexdigest()
        return self.root / "joined" / digest[:32]

    def marker(self, run_id: str) -> Path:
        """Returns the file that exists while something of the run is undelivered."""
        return self.root / "queue" / checked_id(run_id)

    def shipper_lock(self, key: str, machine: str | None = None) -> Path:
        """Returns the lock of a machine's shipper for the credentials with that key.

        Its name contains the machine's, because a network may share journal directories.

        Args:
            key: a short name of the credentials.
            machine: the machine's name, as `host` returns it; None: this machine.
        """
        name = host() if machine is None else _SAFE.sub("_", machine)
        return self.root / f"shipper-{name}-{_SAFE.sub('_', key)}.lock"

    def shipper_log(self, key: str) -> Path:
        """Returns the log of this machine's shipper for the credentials with that key."""
        return self.shipper_lock(key).with_suffix(".log")

    def shipper_locks(self) -> list[Path]:
        """Returns the locks of this machine's shippers, whether held or not."""
        return sorted(self.root.glob(f"shipper-{host()}-*.lock"))

    def shipper_logs(self) -> list[Path]:
        """Returns the logs of this machine's shippers, past and present."""
        return sorted(self.root.glob(f"shipper-{host()}-*.log"))

    @property
    def sync_lock(self) -> Path:
        """The lock that `lrtrack sync` holds while it delivers finished runs itself."""
        return self.root / "sync.lock"

    @property
    def temporary(self) -> Path:
        """The directory for temporary files: a job's own one may be removed at any time."""
        return self.root / "tmp"

    @property
    def wake(self) -> Path:
        """The file that is touched to make a shipper try again immediately."""
        return self.root / "wake"

    def queued(self) -> list[str]:
        """Returns the ids of runs with something undelivered, oldest first."""
        return list(self.markers())

    def markers(self) -> dict[str, int]:
        """Returns when the undelivered runs were queued, in nanoseconds, oldest first."""
        times = []
        try:
            with os.scandir(self.root / "queue") as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # delivered meanwhile
                        if _ID.fullmatch(entry.name):
                            times.append((entry.stat().st_mtime_ns, entry.name))
        except FileNotFoundError:
            return {}
        return {name: queued for queued, name in sorted(times)}

    def journals(self) -> Iterator[Path]:
        """Returns all journals, newest first."""
        journals = [(p.stat().st_mtime, p) for p in (self.root / "runs").glob("*.journal")]
        yield from (path for _, path in sorted(journals, reverse=True) if _ID.fullmatch(path.stem))


def checked_id(run_id: str) -> str:
    """Returns `run_id` if lrtrack made it: nothing else ever becomes a file name."""
    if not _ID.fullmatch(run_id):
        raise JournalError(f"not an lrtrack run id: {run_id!r}")
    return run_id


def host() -> str:
    """Returns this machine's name in a form that fits into a file name."""
    return _SAFE.sub("_", socket.gethostname()) or "localhost"


def open_regular(path: Path) -> BinaryIO:
    """Opens a file of the journal directory for reading.

    Anyone who can write to the directory may have put anything there: a link out of it, or a named
    pipe on which a reader would wait forever.

    Raises:
        OSError: there is no such file, or it is not a regular file.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")  # an object immediately, so that Ctrl-C leaves no descriptor behind


def private_directory(path: Path) -> Path:
    """Creates a directory that only the user can enter, unless it is there; returns its path.

    A link in its place is removed, and not followed.

    Raises:
        OSError: that is impossible, or something else is there, or another user's directory.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if not stat.S_ISDIR(path.lstat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if (stranger := stranger_of(path)) is not None:
        raise PermissionError(errno.EACCES, f"belongs to the user {stranger}", str(path))
    return path


def touch(path: Path) -> None:
    """Creates an empty file, private to the user, or sets the time of an existing one to now.

    A link in its place is removed, and not followed.

    Raises:
        OSError: that is impossible.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        path.unlink()
        file = os.open(path, flags, 0o600)
    try:
        os.utime(file)
    finally:
        os.close(file)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replaces `path` atomically, private to the user: a reader sees the old text or the new
    one.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns the mapping in `path`; None if there is none that can be read."""
    try:
        with open_regular(path) as file:
            data = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
