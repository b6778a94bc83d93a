"""What is in the way of a file or directory, in words: the system's own say little."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def obstacle(path: Path, error: OSError) -> str:
    """Returns why `path` cannot be used.

    Args:
        path: the file or directory.
        error: what the system said about it, or about something below it.
    """
    if path.is_symlink() and not os.path.lexists(os.path.realpath(path)):
        return f"it is a symbolic link to {path.readlink()}, which does not exist"
    existing = next((p for p in (path, *path.parents) if os.path.lexists(p)), path)
    is_needed = existing != path or isinstance(error, FileExistsError | NotADirectoryError)
    if is_needed and not existing.is_dir():
        return "Not a directory" if existing == path else f"{existing} is not a directory"
    place = error.filename if isinstance(error.filename, str) else str(path)
    if isinstance(error, PermissionError):
        at = Path(place)
        stranger = next(filter(None, map(stranger_of, (at, existing))), None)
        if stranger is not None:
            # In a directory of the user's group, only what is below it may be another user's.
            whose = existing if stranger_of(existing) == stranger else at
            return f"{'it' if whose == path else whose} belongs to the user {stranger}"
    reason = error.strerror or str(error)
    return reason if place == str(path) else f"{reason}: {place}"


def stranger_of(path: Path) -> str | None:
    """Returns the name of the other user to whom `path` belongs; None if it is this user's own."""
    try:
        owner = path.lstat().st_uid
    except OSError:
        return None
    if owner == os.geteuid():
        return None
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"with the id {owner}"
