"""Which credentials belong to a run: those of the process that opened it, as salted hashes.

Variables and files of the environment decide how deliveries authenticate and connect. A run keeps
the names of those that its process had, each with a hash that only this user's key can make, never
a value. Runs with the same hashes are delivered by the same shipper, which was started with these
variables; other credentials are never used for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrack import user_state
from lrtrack.errors import JournalError
from lrtrack.journal.layout import Layout, host, read_json, write_json
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run
from lrtrack.settings import working_directory
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.environment import CONNECTION, CONNECTION_PATHS, is_passed, needed
from lrtrack.trackers.hooks import Access, HasAccess

#: Hexadecimal digits of a stored hash: enough to tell values apart.
DIGITS, KEY_DIGITS = 16, 12
#: Bytes of a file that are hashed: credential files are small.
_LARGEST = 2**20

NETRC = "~/.netrc"

#: Replaces the user's key if that cannot be stored: then hashes differ between processes.
_passing_salt = secrets.token_bytes(32)


def absolute(environ: Mapping[str, str], trackers: Iterable[Tracker]) -> dict[str, str]:
    """Returns the variables with relative paths made absolute.

    A shipper works in another directory than the training that starts it.
    """
    known_accesses = accesses(trackers)
    variables = dict(environ)
    for name, value in environ.items():
        if value and (
            name in CONNECTION_PATHS or any(access.is_path(name) for access in known_accesses)
        ):
            variables[name] = str(working_directory() / value)
    return variables


def hashes(
    trackers: Iterable[Tracker], environ: Mapping[str, str], passed: Iterable[str] = ()
) -> dict[str, str]:
    """Returns the names of the variables and files that decide deliveries to `trackers`, with
    hashes.

    Args:
        trackers: where a run goes.
        environ: the variables, with absolute paths.
        passed: further variables that decide, see `Settings.pass_env`.
    """
    known_accesses, named = accesses(trackers), tuple(passed)
    hashes_by_name = {
        name: _hash(name, value.encode(errors="surrogateescape"))
        for name, value in environ.items()
        if value
        and (
            CONNECTION.fullmatch(name)
            or any(a.decides(name, value) for a in known_accesses)
            or is_passed(name, named)
        )
    }
    files = {NETRC: netrc_of(environ)}
    for access in known_accesses:
        files |= access.files(environ)
    for name, path in files.items():
        with contextlib.suppress(OSError):  # also where the home directory is another user's
            if path.is_file():  # not a pipe, which would block
                with path.open("rb") as file:
                    hashes_by_name[name] = _hash(name, file.read(_LARGEST))
    return dict(sorted(hashes_by_name.items()))


def key_of(credentials: Mapping[str, str]) -> str:
    """Returns a short name for a set of credentials, which identifies its shipper."""
    return hashlib.sha256(json.dumps(sorted(credentials.items())).encode()).hexdigest()[:KEY_DIGITS]


def netrc_of(environ: Mapping[str, str]) -> Path:
    """Returns the file in which clients look for logins by host name."""
    return Path(environ.get("NETRC") or Path(environ.get("HOME") or "/nonexistent", ".netrc"))


def accesses(trackers: Iterable[Tracker]) -> list[Access]:
    """Returns what decides deliveries, for those of the trackers that authenticate."""
    return [tracker.access for tracker in trackers if isinstance(tracker, HasAccess)]


def delivery_variables(
    environ: Mapping[str, str], trackers: Iterable[Tracker], passed: Iterable[str]
) -> dict[str, str]:
    """Returns the variables of `environ` that deliveries to `trackers` need, and no others."""
    by_name = {t.name: t.access if isinstance(t, HasAccess) else None for t in trackers}
    return needed(environ, by_name, passed)


@dataclass(frozen=True)
class Snapshot:
    """A process's environment at one moment, as far as deliveries depend on it.

    Attributes:
        variables: those that the deliveries need, with relative paths made absolute.
        credentials: the hashes of its credentials, see `hashes`.
        trackers: the trackers that it delivers to.
    """

    variables: Mapping[str, str]
    credentials: Mapping[str, str]
    trackers: tuple[Tracker, ...] = ()

    @classmethod
    def take(cls, trackers: Iterable[Tracker], passed: Iterable[str] = ()) -> Snapshot:
        """Takes this process's environment as it is now, for deliveries to `trackers`.

        Args:
            trackers: where runs go.
            passed: further variables for the deliveries, see `Settings.pass_env`.
        """
        kept, named = tuple(trackers), tuple(passed)
        variables = delivery_variables(absolute(os.environ, kept), kept, named)
        return cls(variables, hashes(kept, variables, named), kept)

    @property
    def key(self) -> str:
        """The short name of these credentials."""
        return key_of(self.credentials)


@dataclass(frozen=True)
class Opener:
    """The process that opened a run last.

    Attributes:
        host: its machine; empty: any.
        credentials: the hashes of its credentials.
    """

    host: str
    credentials: Mapping[str, str]

    @property
    def key(self) -> str:
        """The short name of its credentials."""
        return key_of(self.credentials)


def opener(layout: Layout, run: Run) -> Opener:
    """Returns which process opened `run` last, from its journal or from the note of a resume."""
    noted = read_json(layout.opener(run.id))
    if noted is not None:
        content = _opener_content(run.id, noted.get("host"), noted.get("credentials"))
        if user_state.is_signed("opener", content, noted.get("signature")):
            return Opener(noted["host"], noted["credentials"])
    return Opener(run.host, run.credentials)


def note_opener(layout: Layout, run: Run, credentials: Mapping[str, str]) -> None:
    """Notes that this process resumes `run`, whose first record names another process.

    Nothing is noted while another process writes the run, which then stays its own.
    """
    journal, path = layout.journal(run.id), layout.opener(run.id)
    with contextlib.suppress(JournalError):
        if journal.exists() and JournalReader(journal).alive():
            return
    if Opener(run.host, run.credentials) == Opener(host(), credentials):
        path.unlink(missing_ok=True)
        return
    content = _opener_content(run.id, host(), credentials)
    signature = _signed("opener", content)
    write_json(path, {"host": host(), "credentials": dict(credentials), "signature": signature})


def _opener_content(run_id: str, machine: Any, credentials: Any) -> bytes:
    return json.dumps([run_id, machine, credentials], sort_keys=True).encode()


def _hash(name: str, value: bytes) -> str:
    return _signed("credentials", name.encode() + b"\0" + value)[:DIGITS]


def _signed(purpose: str, content: bytes) -> str:
    try:
        return user_state.sign(purpose, content)
    except JournalError:
        salted = purpose.encode() + b"\0" + content
        return hmac.new(_passing_salt, salted, hashlib.sha256).hexdigest()
