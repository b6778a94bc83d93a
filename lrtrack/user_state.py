"""The user's own state on this machine: the key that proves who wrote something.

A journal, an archive or a cloned repository can contain anything, but not this key. It is outside
every working directory, and only its owner can read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from lrtrack.errors import JournalError

_KEY = "key"
_KEY_BYTES = 32


def directory() -> Path:
    """Returns the directory for the user's own state, created with mode 0700 if it is missing.

    That is `$XDG_STATE_HOME/lrtrack`, by default `~/.local/state/lrtrack`. If the home directory
    cannot be written, as in some containers, it is a directory of the user's under `/var/tmp` or
    `/tmp`.

    Raises:
        JournalError: none of them can be used.
    """
    reasons = []
    for path in _candidates():
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_private(path)
            if not os.access(path, os.W_OK | os.X_OK) and not (path / _KEY).exists():
                raise PermissionError("it cannot be written")
        except OSError as error:
            reasons.append(f"{path}: {error.strerror or error}")
        else:
            return path
    raise JournalError(f"no private directory for lrtrack's state ({'; '.join(reasons)})")


def ensure_home() -> None:
    """Gives this process a home directory if it has none, as under a user id without an account.

    Trackers' clients fail without one. Only for processes of lrtrack's own.
    """
    try:
        Path.home()
    except RuntimeError:
        with contextlib.suppress(JournalError):
            os.environ["HOME"] = str(directory())  # which `_candidates` recognizes


def private_directories(create: bool = True) -> Iterator[Path]:
    """Returns directories that only the user can write to, on several disks; that for state first.

    Args:
        create: create missing ones; otherwise only those that exist are returned.
    """
    memory = Path("/dev/shm") / f"lrtrack-{os.getuid()}"  # noqa: S108 (only where it is private)
    for path in dict.fromkeys((*_candidates(), memory)):
        try:
            if create:
                path.mkdir(mode=0o700, parents=path != memory, exist_ok=True)
            _require_private(path)
        except OSError:
            continue
        yield path


def sign(purpose: str, content: bytes) -> str:
    """Returns an HMAC-SHA256 of `content` under the user's key, as 64 hexadecimal digits.

    Args:
        purpose: what the signature is for; it is valid for no other purpose.
        content: the bytes to sign.

    Raises:
        JournalError: there is no key, and none can be created.
    """
    message = purpose.encode() + b"\0" + content
    return hmac.new(_key(), message, hashlib.sha256).hexdigest()


def is_signed(purpose: str, content: bytes, signature: object) -> bool:
    """Returns whether `signature` is what `sign` returns; False for anything else, of any type."""
    if not isinstance(signature, str):
        return False
    try:
        return hmac.compare_digest(sign(purpose, content).encode(), signature.encode())
    except (JournalError, UnicodeEncodeError):
        return False


def _candidates() -> Iterator[Path]:
    # Where everyone may write: only a directory that is private to this user is used, see below.
    shared = [Path(place, f"lrtrack-{os.getuid()}") for place in ("/var/tmp", "/tmp")]  # noqa: S108
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    if base.is_absolute():
        yield base / "lrtrack"
    else:  # the XDG specification says to ignore relative paths
        with contextlib.suppress(RuntimeError):  # a user without a home directory
            if (home := Path.home()) not in shared:
                yield home / ".local" / "state" / "lrtrack"
    yield from shared


def _require_private(path: Path) -> None:
    """Refuses a directory that another user owns or can write to.

    Raises:
        PermissionError: it does not belong to this user alone.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError("it belongs to somebody else")
    if status.st_mode & 0o022:
        path.chmod(0o700)


def _key() -> bytes:
    path = directory() / _KEY
    try:
        key = _read_key(path)
        if len(key) == _KEY_BYTES:
            return key
        path.unlink()  # torn, by a full disk
    except FileNotFoundError:
        pass
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror or error}") from error
    return _new_key(path)


def _read_key(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid():
            raise PermissionError("it belongs to somebody else")
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        return file.read()


def _new_key(path: Path) -> bytes:
    """Writes a key; if several processes do so at the same time, the first one's is kept."""
    draft = path.with_name(f".{_KEY}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        return _read_key(path)
    except OSError as error:
        raise JournalError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
