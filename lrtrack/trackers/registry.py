"""Tracker names → trackers, through the entry-point group `lrtrack.trackers`."""

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

#: What `track(tracker=…)` takes.
Spec = str | Tracker | Sequence[str | Tracker]


def names() -> list[str]:
    """Names of all trackers installed here."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@cache
def get(name: str) -> Tracker:
    """The tracker called `name`.

    Raises:
        UsageError: there is none, or its package cannot be loaded.
    """
    for entry in entry_points(group=GROUP, name=name):
        try:
            tracker = entry.load()()
        except Exception as error:  # somebody else's package: whatever it raises
            raise UsageError(f"Tracker {name!r} cannot be loaded: {error}") from error
        if not isinstance(tracker, Tracker) or isinstance(tracker, type):
            raise UsageError(f"{entry.value} is registered as {name!r} but is no tracker.")
        return tracker
    raise UsageError(unknown("tracker", name, names()))


def resolve(spec: Spec | None) -> list[Tracker]:
    """Trackers for a name, several names joined by commas, a tracker object, or a list of these.

    None stands for what the settings say, else `DEFAULT_TRACKER`.

    Raises:
        UsageError: a name is unknown, something is neither name nor tracker, or two objects have
            one name.
    """
    if spec is None:
        spec = settings.read().tracker or DEFAULT_TRACKER
    found: list[Tracker] = []
    for part in spec if isinstance(spec, list | tuple) else [spec]:
        if isinstance(part, str):
            found += [get(name.strip()) for name in part.split(",") if name.strip()]
        elif isinstance(part, Tracker) and not isinstance(part, type):
            found.append(part)
        else:
            raise UsageError(
                f"tracker must be a name ({', '.join(names())}) or a tracker object, not {part!r}"
            )
    if not found:
        raise UsageError(f"tracker names no tracker. There is: {', '.join(names())}.")
    single: dict[str, Tracker] = {}
    for tracker in found:
        known = single.setdefault(tracker.name, tracker)
        # Of portable ones it does not matter which: they are made anew where they write.
        if known is not tracker and not (known.portable and tracker.portable):
            raise UsageError(f"Two trackers are called {tracker.name!r}; give one another name.")
    return list(single.values())
