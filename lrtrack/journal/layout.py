"""Where things lie under the journal directory, and who may read them.

    .lrtrack/
      .gitignore                  keeps journals out of version control
      runs/<id>.journal           one run, append-only, mode 0600
      runs/<id>.<tracker>.cursor  how far that run is delivered to that tracker (JSON)
      runs/<id>.<tracker>.gate    there while the training process keeps deliveries back
      queue/<id>                  empty; there while something of the run is undelivered
      joined/<digest>             the blocks in one open run of the user's, one a line (JSON)
      shipper-<host>.lock         held by the shipper of this machine while it lives
      shipper-<host>.log          what the shipper had to say
      wake                        touched to make the shipper try again at once

File names come from lrtrack's own hexadecimal ids only, never from a run's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrack.errors import JournalError

_ID = re.compile(r"[0-9a-f]{32}")
_SAFE = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class Layout:
    """Names of all files below one journal directory.

    Attributes:
        root: the journal directory, absolute.
    """

    root: Path

    def create(self) -> None:
        """Make the directories, private to the user.

        Raises:
            JournalError: the directory cannot be made or written.
        """
        try:
            for folder in (self.root, *(self.root / name for name in ("runs", "queue", "joined"))):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="ascii")
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

    def joined(self, *place: str | None) -> Path:
        """The list of the blocks in one open run of the user's; `place` says which run."""
        digest = hashlib.sha256(json.dumps(place).encode()).hexdigest()
        return self.root / "joined" / digest[:32]

    def marker(self, run_id: str) -> Path:
        """The file whose presence says that something of the run is undelivered."""
        return self.root / "queue" / checked_id(run_id)

    @property
    def lock(self) -> Path:
        """Held by the shipper of this machine: journal directories may be shared over a network."""
        return self.root / f"shipper-{host()}.lock"

    @property
    def log(self) -> Path:
        """Where the shipper of this machine writes."""
        return self.root / f"shipper-{host()}.log"

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


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace `path` in one step, private to the user: a reader sees the old text or the new."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
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
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
