"""Where things lie under the journal directory, and who may read them.

    .lrtrack/
      .gitignore                  keeps journals out of version control
      runs/<id>.journal           one run, append-only, mode 0600
      runs/<id>.<tracker>.cursor  how far that run is delivered to that tracker (JSON)
      runs/<id>.<tracker>.gate    there while the training process keeps deliveries back
      runs/<id>.<tracker>.lock    held by whoever delivers that run to that tracker
      runs/<id>.opener            of a resumed run: the process that has it open now (JSON)
      queue/<id>                  empty; there while something of the run is undelivered
      shipper-<host>-<key>.lock   held by the shipper of this machine with those credentials
      shipper-<host>-<key>.log    what that shipper had to say
      joined/<digest>             the blocks in one open run of the user's, one a line (JSON)
      sync.lock                   held by `lrtrack sync`, to which shippers leave finished runs
      tmp/<host>-<pid>/           temporary files of one process's deliveries
      wake                        touched to make the shippers try again at once

<key> is a short hash that says which credentials a shipper has, without telling them.

File names come from lrtrack's own hexadecimal ids only, never from a run's name.
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

_ID = re.compile(r"[0-9a-f]{32}")
_SAFE = re.compile(r"[^A-Za-z0-9_-]")


_FOLDERS = ("runs", "queue", "joined")


@dataclass(frozen=True)
class Layout:
    """Names of all files below one journal directory.

    Attributes:
        root: the journal directory, absolute.
    """

    root: Path

    def create(self) -> None:
        """Make the directories, private to the user.

        Links among lrtrack's own files there are removed: nobody but lrtrack makes these files,
        and it makes no links.

        Raises:
            JournalError: the directory cannot be made or written.
        """
        try:
            for folder in (self.root, *(self.root / name for name in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.scandir(self.root) as entries:
                links = [Path(entry.path) for entry in entries if entry.is_symlink()]
            for link in links:
                link.unlink()
                if link.name in _FOLDERS:
                    link.mkdir(mode=0o700)
            with contextlib.suppress(FileExistsError), (self.root / ".gitignore").open("x") as file:
                file.write("*\n")
        except OSError as error:
            raise JournalError(f"cannot write to the journal directory {self.root}: {error}") from (
                error
            )

    def journal(self, run_id: str) -> Path:
        """The journal of one run."""
        return self.root / "runs" / f"{checked_id(run_id)}.journal"

    def cursor(self, run_id: str, tracker: str) -> Path:
        """The delivery state of one run towards one tracker."""
        return self.root / "runs" / f"{checked_id(run_id)}.{_SAFE.sub('_', tracker)}.cursor"

    def gate(self, run_id: str, tracker: str) -> Path:
        """The file that keeps deliveries back; it holds the id of the process that wants it so."""
        return self.root / "runs" / f"{checked_id(run_id)}.{_SAFE.sub('_', tracker)}.gate"

    def delivery_lock(self, run_id: str, tracker: str) -> Path:
        """Held by whoever delivers the run to the tracker."""
        return self.root / "runs" / f"{checked_id(run_id)}.{_SAFE.sub('_', tracker)}.lock"

    def opener(self, run_id: str) -> Path:
        """Says which process has opened the run last, where that is not in its first record."""
        return self.root / "runs" / f"{checked_id(run_id)}.opener"

    def joined(self, *place: str | None) -> Path:
        """The list of the blocks in one open run of the user's; `place` says which run."""
        digest = hashlib.sha256(json.dumps(place).encode()).hexdigest()
        return self.root / "joined" / digest[:32]

    def marker(self, run_id: str) -> Path:
        """The file whose presence says that something of the run is undelivered."""
        return self.root / "queue" / checked_id(run_id)

    def shipper_lock(self, key: str) -> Path:
        """Held by this machine's shipper for the credentials with that key.

        Its name has the machine's: journal directories may be shared over a network.
        """
        return self.root / f"shipper-{host()}-{_SAFE.sub('_', key)}.lock"

    def shipper_log(self, key: str) -> Path:
        """Where this machine's shipper for the credentials with that key writes."""
        return self.shipper_lock(key).with_suffix(".log")

    def shipper_locks(self) -> list[Path]:
        """The locks of this machine's shippers, whether held or not."""
        return sorted(self.root.glob(f"shipper-{host()}-*.lock"))

    def shipper_logs(self) -> list[Path]:
        """The logs of this machine's shippers, past and present."""
        return sorted(self.root.glob(f"shipper-{host()}-*.log"))

    @property
    def sync_lock(self) -> Path:
        """Held by `lrtrack sync` while it delivers finished runs itself."""
        return self.root / "sync.lock"

    @property
    def temporary(self) -> Path:
        """Where deliveries keep temporary files: a job's own directory may be removed any time."""
        return self.root / "tmp"

    @property
    def wake(self) -> Path:
        """Touched to make a shipper try again at once, whatever it waits for."""
        return self.root / "wake"

    def queued(self) -> list[str]:
        """Ids of runs with something undelivered, oldest first."""
        return list(self.markers())

    def markers(self) -> dict[str, int]:
        """When the runs with something undelivered were queued, in nanoseconds, oldest first."""
        found = []
        try:
            with os.scandir(self.root / "queue") as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # delivered meanwhile
                        if _ID.fullmatch(entry.name):
                            found.append((entry.stat().st_mtime_ns, entry.name))
        except FileNotFoundError:
            return {}
        return {name: queued for queued, name in sorted(found)}

    def journals(self) -> Iterator[Path]:
        """All journals, newest first."""
        found = [(p.stat().st_mtime, p) for p in (self.root / "runs").glob("*.journal")]
        yield from (path for _, path in sorted(found, reverse=True) if _ID.fullmatch(path.stem))


def checked_id(run_id: str) -> str:
    """Return `run_id` if it is one of ours: anything else never becomes a file name."""
    if not _ID.fullmatch(run_id):
        raise JournalError(f"not an lrtrack run id: {run_id!r}")
    return run_id


def host() -> str:
    """This machine's name, fit for a file name."""
    return _SAFE.sub("_", socket.gethostname()) or "localhost"


def open_regular(path: Path) -> BinaryIO:
    """Open a file of the journal directory to read it.

    Whoever made the directory may have put anything there: a link that leads out of it, or a named
    pipe on which a reader would wait forever.

    Raises:
        OSError: there is no such file, or it is something else than a regular file.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")  # an object from the beginning: Ctrl-C leaves no descriptor behind


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace `path` in one step, private to the user: a reader sees the old text or the new."""
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
    """The mapping in `path`; None where there is none, or none that can be read."""
    try:
        with open_regular(path) as file:
            data = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
