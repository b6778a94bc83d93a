"""What a comparison compares: when and with what its runs were made, and in what they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lrtrack.errors import clean
from lrtrack.records import History, State
from lrtrack.reports.formatting import count, some
from lrtrack.reports.parameters import parameters_of
from lrtrack.stats import ComparisonResult
from lrtrack.stats.setup_diff import cut, is_decisive, listed, settings_of

#: The most settings of each kind that are shown at first.
_SHOWN = 6
#: Values that say that a setting is not used.
_UNUSED = ("null", "none", "false", "0", "0.0", "")
_MINUTE = "%Y-%m-%d, %H:%M"


@dataclass(frozen=True)
class Fact:
    """One thing that is known about the runs.

    Attributes:
        term: what it is.
        items: its values, the most telling first, without control characters.
        more: the values that only some readers want.
    """

    term: str
    items: tuple[str, ...]
    more: tuple[str, ...] = ()

    @property
    def settings(self) -> bool:
        """Whether it lists settings, which take more room than others."""
        return self.term in (COMMON, DIFFERENT)


COMMON, DIFFERENT = "common setup", "what differs"


def facts_of(comparison: ComparisonResult) -> tuple[Fact, ...]:
    """Everything that is known about the runs; what is known of none is left out."""
    histories = comparison.histories
    facts = (
        Fact("runs", tuple(_numbers(comparison))),
        Fact("recorded", tuple(_dates(histories))),
        Fact("software", tuple(_software(histories))),
        Fact("device", _shares([_device(history) for history in histories])),
        _settings(COMMON, _common(histories)),
        _settings(
            DIFFERENT,
            [*_schedules(comparison), *_varying(histories), *_parameters(comparison)]
            or ["only the seed"],
        ),
    )
    return tuple(fact for fact in facts if fact.items)


def _settings(term: str, texts: Sequence[str]) -> Fact:
    cleaned = tuple(map(clean, texts))
    shown = _SHOWN if len(cleaned) > _SHOWN + 1 else len(cleaned)  # "1 more" needs as much room
    return Fact(term, cleaned[:shown], cleaned[shown:])


def _numbers(comparison: ComparisonResult) -> Iterator[str]:
    sizes = {item.runs for item in comparison.schedules}
    low, high = min(sizes), max(sizes)
    each = f"{low} to {high}" if low < high else str(high)
    runs = sum(item.runs for item in comparison.schedules)
    yield f"{runs}, {each} of each {comparison.noun}"
    diverged = sum(item.diverged for item in comparison.schedules)
    if diverged:
        yield f"{diverged} diverged"
    states = Counter(history.state for history in comparison.histories)
    for state, word in ((State.FAILED, "failed"), (State.RUNNING, "running")):
        if states[state]:
            yield f"{states[state]} {word}"
    if comparison.task is not None and comparison.schedules:
        yield count(len(comparison.schedules[0].tasks), "task")


def _dates(histories: Sequence[History]) -> Iterator[str]:
    """The first start and the last end; nothing for times that no clock showed."""
    known = [history for history in histories if history.run.started > 0]
    if not known:
        return
    ends = [max(history.run.started, history.ended or 0.0) for history in known]
    try:
        first = datetime.fromtimestamp(min(history.run.started for history in known), UTC)
        last = datetime.fromtimestamp(max(ends), UTC)
    except (OverflowError, OSError, ValueError):  # whatever a tracker took for a time
        return
    if first.date() != last.date():
        yield f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    elif f"{first:%H:%M}" == f"{last:%H:%M}":
        yield f"{first:{_MINUTE}} UTC"
    else:
        yield f"{first:{_MINUTE}} to {last:%H:%M} UTC"


def _software(histories: Sequence[History]) -> Iterator[str]:
    versions = {
        "lrtrack": [history.run.version for history in histories],
        "torch": [history.run.torch_version for history in histories],
    }
    if not any(versions["lrtrack"]):  # others recorded these runs
        return
    for name, values in versions.items():
        if not any(values):
            yield f"{name} not recorded"
        for text in _shares(values) if any(values) else ():
            yield f"{name} {text}"


def _shares(values: Sequence[str]) -> tuple[str, ...]:
    """The distinct values, the most frequent first, with how many runs have each if they differ."""
    numbers = Counter(clean(value) for value in values)
    if not any(numbers):
        return ()
    if len(numbers) == 1:
        return tuple(numbers)
    return tuple(f"{name or 'unknown'} ({count(n, 'run')})" for name, n in numbers.most_common())


def _device(history: History) -> str:
    run = history.run
    name = run.device_name or run.device_type
    kind = f" ({run.device_type})" if run.device_type not in ("", name) else ""
    processes = f", {run.world_size} processes" if run.world_size > 1 else ""
    return f"{name}{kind}{processes}" if name else ""


def _common(histories: Sequence[History]) -> list[str]:
    """The settings that all runs share, those that decide most first."""
    runs = [settings_of(history) for history in histories]
    shared = [
        name
        for name, value in (runs[0] if runs else {}).items()
        if all(run.get(name) == value for run in runs)
    ]
    unused = {name for name in shared if runs[0][name] in _UNUSED}
    order = sorted(
        shared,
        key=lambda name: (
            name in unused, name != "optimizer.name", not is_decisive(name),
            name != "optimizer.lr", name.startswith("optimizer."),
        ),
    )  # fmt: skip
    return [_setting(name, runs[0][name]) for name in order]


def _setting(name: str, value: str) -> str:
    if name == "optimizer.name":
        return value
    return f"{_short(name)} {cut(value)}"


def _short(name: str) -> str:
    return name.removeprefix("optimizer.").removeprefix("config.")


def _schedules(comparison: ComparisonResult) -> Iterator[str]:
    """The names of the schedules, if they differ."""
    names = dict.fromkeys(cut(history.run.schedule.name) for history in comparison.histories)
    if len(names) > 1:
        yield f"schedule: {some([*names])}"


def _parameters(comparison: ComparisonResult) -> Iterator[str]:
    """The parameters in which schedules of one name differ, if all of them have it."""
    by_name: dict[str, list[Mapping[str, str]]] = {}
    for history in comparison.histories:
        schedule = history.run.schedule
        by_name.setdefault(schedule.name, []).append(parameters_of(schedule))
    for name, runs in by_name.items():
        for parameter, values in _differences(runs):
            if all(parameter in run for run in runs):
                yield f"{cut(name)} {parameter}: {values}"


def _varying(histories: Sequence[History]) -> Iterator[str]:
    """The settings besides schedule and seed in which runs differ.

    Those that an optimizer lacks are left out where optimizers differ: that says enough.
    """
    runs = [settings_of(history) for history in histories]
    several = len({run.get("optimizer.name") for run in runs}) > 1
    for name, values in _differences(runs):
        if name == "optimizer.name":
            yield f"optimizer: {values}"
        elif not (several and name.startswith("optimizer.") and any(name not in r for r in runs)):
            yield f"{_short(name)}: {values}"


def _differences(runs: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Each name that has not one value in all `runs`, with its values."""
    for name in sorted(_names(runs)):
        values = {run.get(name, "none") for run in runs}
        if len(values) > 1:
            yield name, listed(map(cut, values))


def _names(runs: Iterable[Mapping[str, str]]) -> dict[str, None]:
    return dict.fromkeys(name for run in runs for name in run)
