"""The line at the end of a block that names the command for a report with the block's run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from lrtrack import settings
from lrtrack.errors import UsageError, clean, notice
from lrtrack.records import TRAIN, Run, State, Target
from lrtrack.redaction import bare_uri
from lrtrack.settings import Settings, owns_process, working_directory
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.hooks import LocatesRuns, Place

#: Commands that this process has named; many runs of one experiment name it once.
_named: set[str] = set()
_silent = False


def silence() -> None:
    """Print no such line in this process, as in one of many workers of a sweep."""
    global _silent
    _silent = True


def show(run: Run, state: State, trackers: Mapping[str, Tracker], configured: Settings) -> None:
    """Name the command on stderr, once a process; never raises.

    Nothing is printed for a run that failed or is a range test, where the settings say so, and in
    lrtrack's own processes.

    Args:
        run: the run, which has at least one step.
        state: how it ended.
        trackers: where it goes, by name.
        configured: the settings when the block began.
    """
    quiet = _silent or configured.quiet or owns_process()
    if quiet or state is not State.FINISHED or run.kind != TRAIN:
        return
    try:
        command = command_for(run, trackers, configured)
    except Exception:  # a third-party tracker may raise anything
        return
    if command is None or command in _named or clean(command) != command:
        return
    _named.add(command)
    notice(f"To compare this run with the experiment's others: {command}")


def command_for(run: Run, trackers: Mapping[str, Tracker], configured: Settings) -> str | None:
    """The command that reports on the run's experiment, for a shell in the working directory.

    None where no command can read the run.

    Args:
        run, trackers, configured: as for `show`.
    """
    for target in run.targets:
        tracker = trackers.get(target.tracker)
        place = _place_of(tracker, target) if tracker is not None else None
        if place is not None and _has_name(target.tracker):
            directory = None if target.delivers else configured.directory
            return _command(target.tracker, place, directory)
    if run.experiment and any(target.delivers for target in run.targets):
        return _command("local", Place(run.experiment), configured.directory)
    return None


def _place_of(tracker: Tracker, target: Target) -> Place | None:
    if isinstance(tracker, LocatesRuns):
        return tracker.place_of(target)
    return Place(target.experiment) if target.experiment else None


def _has_name(tracker: str) -> bool:
    """Whether `--tracker` knows the tracker; a tracker object may have any name."""
    try:
        return registry.get(tracker).name == tracker
    except UsageError:
        return False


def _command(tracker: str, place: Place, directory: Path | None) -> str:
    usual = settings.read({})  # what the shell's own variables add is unknown here
    words = ["lrtrack", "compare"]
    if tracker != (usual.tracker or registry.DEFAULT_TRACKER) or os.environ.get("LRTRACK_TRACKER"):
        words += ["--tracker", tracker]
    if place.uri:
        words += ["--tracking-uri", bare_uri(place.uri)]
    words += ["--", place.experiment] if place.experiment.startswith("-") else [place.experiment]
    command = shlex.join(words)
    if directory is not None and directory != usual.directory:
        command = f"LRTRACK_DIR={shlex.quote(_short(directory))} {command}"
    return command


def _short(directory: Path) -> str:
    """The path as seen from the working directory, if it is below it."""
    here = working_directory()
    return str(directory.relative_to(here) if directory.is_relative_to(here) else directory)
