"""The folders with event files below a log directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrtrack.errors import NothingFound, warn
from lrtrack.trackers.base import Query

#: Where writers put event files unless they are told otherwise: torch and Lightning.
_USUAL = ("runs", "lightning_logs")
#: What the name of an event file contains.
_MARK = "tfevents"
#: Bounds of a search; real log directories are far from them.
DEEPEST, MOST_FOLDERS = 20, 100_000


@dataclass(frozen=True)
class Folder:
    """A folder with event files.

    Attributes:
        name: the path relative to the log directory; the log directory's own name for itself.
        files: its event files, in the order of their names, which begin with a time.
        size: bytes of all of them.
        changed: when the last of them was written, in seconds since the epoch.
    """

    path: Path
    name: str
    files: tuple[Path, ...]
    size: int
    changed: float


def log_directory(query: Query) -> Path:
    """The log directory that a query's experiment names, relative to its address if it has one.

    Raises:
        NothingFound: there is no such folder.
    """
    base = Path(query.uri).expanduser() if query.uri else Path()
    names = _USUAL if query.experiment is None else (query.experiment,)
    paths = [base / Path(name).expanduser() for name in names]
    for path in paths:
        if path.is_dir():
            return path.absolute()
    listed = " or ".join(map(str, paths))
    raise NothingFound(
        f"There is no folder {listed}. Fix: name the folder of the event files, for example "
        "`lrtrack compare --tracker tensorboard runs`."
    )


def folders_in(root: Path) -> list[Folder]:
    """All folders below `root` with event files, itself included.

    Symbolic links are not followed: whoever can write to a log directory could otherwise show any
    file of this machine.

    Raises:
        NothingFound: there is none.
    """
    folders: list[Folder] = []
    links = 0
    for count, (path, entries) in enumerate(_walk(root), 1):
        links += sum(entry.is_symlink() for entry in entries)
        files = [entry for entry in entries if _MARK in entry.name and _is_file(entry)]
        if files:
            folders.append(_folder(root, path, sorted(files, key=lambda entry: entry.name)))
        if count == MOST_FOLDERS:
            warn(f"{root} has more than {MOST_FOLDERS:,} folders; the others are left out.")
            break
    if links:
        what = "a symbolic link" if links == 1 else f"{links:,} symbolic links"
        warn(f"{root} has {what}, which lrtrack does not follow.")
    if not folders:
        raise NothingFound(
            f"There are no event files below {root}. Fix: name the folder that TensorBoard's "
            "--logdir names."
        )
    return folders


def _walk(root: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Each folder below `root` with its entries, where it can be read."""
    waiting = [(root, 0)]
    while waiting:
        path, depth = waiting.pop()
        try:
            with os.scandir(path) as entries:
                listed = list(entries)
        except OSError as error:
            warn(f"Cannot read {path}: {error.strerror or error}; it is left out.")
            continue
        yield path, listed
        if depth < DEEPEST:
            inner = (Path(e.path) for e in listed if e.is_dir(follow_symlinks=False))
            waiting += [(folder, depth + 1) for folder in inner]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False)  # no pipe, whose reader would wait
    except OSError:
        return False


def _folder(root: Path, path: Path, files: list[os.DirEntry[str]]) -> Folder:
    relative = path.relative_to(root).as_posix()
    stats = [entry.stat(follow_symlinks=False) for entry in files]
    return Folder(
        path,
        root.name if relative == "." else relative,
        tuple(Path(entry.path) for entry in files),
        sum(stat.st_size for stat in stats),
        max(stat.st_mtime for stat in stats),
    )
