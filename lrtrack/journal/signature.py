"""Shows who wrote a journal: only this user's own journals count, until the user accepts another.

A journal says where its steps are sent and with which settings. A journal that came with a clone,
an archive or a shared directory must not decide that, so the writer signs its first record with
the user's key. File ownership is not enough: an unpacked archive belongs to whoever unpacked it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrtrack import user_state
from lrtrack.errors import JournalError

#: The key of an event that holds the signature of the event's `run`.
FIELD = "signature"
_PURPOSE = "journal"
_APPROVALS = "approved-journals"


def signed(run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the contents of an event that describes a run, with the user's signature.

    Raises:
        JournalError: as for `sign`.
    """
    return {"run": run, FIELD: sign(run)}


def sign(run: Mapping[str, Any]) -> str:
    """Returns the signature of a run's record.

    Args:
        run: what `Run.to_dict` returns.

    Raises:
        JournalError: the user's key cannot be read or created.
    """
    return user_state.sign(_PURPOSE, _canonical(json.loads(json.dumps(run))))


def counts(event: Mapping[str, Any]) -> bool:
    """Returns whether this user wrote, or has accepted, the `run` or `resume` event of a
    journal.
    """
    content = _canonical(event.get("run"))
    if user_state.is_signed(_PURPOSE, content, event.get(FIELD)):
        return True
    try:
        return _approval(content).is_file()
    except (JournalError, OSError):
        return False


def approve(event: Mapping[str, Any], path: Path) -> None:
    """Accepts the run that an event of a foreign journal describes, as it is now.

    A record that changes afterwards must be accepted again.

    Args:
        event: the journal's first event.
        path: the journal, noted for people who read the list of approvals.

    Raises:
        JournalError: the approval cannot be stored.
    """
    approval = _approval(_canonical(event.get("run")))
    try:
        approval.parent.mkdir(mode=0o700, exist_ok=True)
        approval.write_text(f"{path}\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise JournalError(f"cannot write {approval}: {error.strerror or error}") from error


def _approval(content: bytes) -> Path:
    return user_state.directory() / _APPROVALS / hashlib.sha256(content).hexdigest()


def _canonical(run: object) -> bytes:
    """Returns the same text for equal records, whatever the order of their keys."""
    return json.dumps(run, sort_keys=True, separators=(",", ":")).encode()
