"""Trackers by name, through the entry-point group `lrtrack.trackers`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points

from lrtrack import settings
from lrtrack.errors import UsageError, unknown
from lrtrack.trackers.base import Tracker

GROUP = "lrtrack.trackers"

#: The tracker where no argument, setting or open run names another.
DEFAULT_TRACKER = "mlflow"

#: What `track(tracker=…)` accepts.
Spec = str | Tracker | Sequence[str | Tracker]


def names() -> list[str]:
    """The names of all trackers installed here."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@cache
def get(name: str) -> Tracker:
    """The tracker called `name`.

    Raises:
        UsageError: there is no such tracker, or its package cannot be loaded.
    """
    entries = entry_points(group=GROUP, name=name)
    # A package that somebody has installed for a name comes before lrtrack's own tracker.
    for entry in sorted(entries, key=lambda entry: entry.value.startswith("lrtrack.")):
        try:
            tracker = entry.load()()
        except Exception as error:  # a third-party package may raise anything
            raise UsageError(f"Cannot load the tracker {name!r}: {error}") from error
        if not isinstance(tracker, Tracker) or isinstance(tracker, type):
            raise UsageError(f"{entry.value} is registered as {name!r} but is no tracker.")
        return tracker
    raise UsageError(unknown("tracker", name, names()))


def resolve(spec: Spec | None) -> list[Tracker]:
    """The trackers for a name, several names joined by commas, a tracker object, or a list.

    None stands for the tracker that the settings name, else for `DEFAULT_TRACKER`.

    Raises:
        UsageError: a name is unknown, an item is neither a name nor a tracker, there is no item,
            or two objects have one name.
    """
    if spec is None:
        spec = settings.read().tracker or DEFAULT_TRACKER
    trackers: list[Tracker] = []
    for item in spec if isinstance(spec, list | tuple) else [spec]:
        if isinstance(item, str):
            trackers += [get(name.strip()) for name in item.split(",") if name.strip()]
        elif isinstance(item, Tracker) and not isinstance(item, type):
            trackers.append(item)
        else:
            raise UsageError(
                f"tracker must be a name ({', '.join(names())}) or a tracker object, not {item!r}"
            )
    if not trackers:
        raise UsageError(f"No tracker given. Available: {', '.join(names())}.")
    by_name: dict[str, Tracker] = {}
    for tracker in trackers:
        first = by_name.setdefault(tracker.name, tracker)
        # Two portable trackers of one name are the same: both are made anew where they write.
        if first is not tracker and not (first.portable and tracker.portable):
            raise UsageError(
                f"Two trackers are called {tracker.name!r}. Fix: give one of them another name."
            )
    return list(by_name.values())
