"""Settings other than the schedule in which runs differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lrtrack.fields import JSON, text_of
from lrtrack.records import History
from lrtrack.records.roles import SEEDS
from lrtrack.stats.figures import Notice
from lrtrack.stats.groups import Group, noun_of

_SHOWN = 5
_NAMES_SHOWN, _NAME_WIDTH = 3, 40
#: Words in a config key that make it one of the batch size, the data, or the model.
_DECISIVE = re.compile(
    "batch|batchsize|bs|accumulation|accumulate|data|datas|dataset|datasets|datamodule|corpus|fold"
    "|model|models|arch|architecture|backbone|net|network|encoder|decoder"
)


#: Config keys that say where a run is kept and what it is called: they differ between all runs.
_WHEREABOUTS = re.compile(
    "(output|log|logging|save|run|checkpoint|ckpt|default_root|root|work)_?dir|dirpath"
    "|(run|experiment|exp|job)_?(name|id)"
)


def devices_of(histories: Iterable[History]) -> set[str]:
    """Return the names of all devices that the runs used, as far as they are known."""
    return {item.run.device_name or item.run.device_type for item in histories} - {""}


def mixed(groups: Sequence[Group]) -> Iterator[Notice]:
    """Report each setting in which runs that are averaged together differ."""
    for name, groups_values in sorted(_values(groups).items()):
        inner = [values for values in groups_values if len(values) > 1]
        if inner:
            together = ",".join((*groups[0].fields, name))
            yield Notice(
                "config-differs",
                f"Runs that are averaged together differ in {name} ({listed(set().union(*inner))})"
                f". Fix: use --group-by {together} to compare them separately.",
            )


def unlike(groups: Sequence[Group]) -> Iterator[Notice]:
    """Report each batch size, data set, model or optimizer that differs between schedules.

    Other settings may belong to the schedules. `mixed` reports settings that differ within a group.
    """
    grouped_by = {form for name in groups[0].fields for form in (name, f"config.{name}")}
    split: dict[tuple[int, ...], list[tuple[str, list[str]]]] = {}
    for name, groups_values in sorted(_values(groups).items()):
        if name in grouped_by or not is_decisive(name) or any(len(s) > 1 for s in groups_values):
            continue
        values = [next(iter(settings_of_group)) for settings_of_group in groups_values]
        distinct = list(dict.fromkeys(values))
        if len(distinct) > 1:  # settings that split the schedules the same way share a warning
            split.setdefault(tuple(map(distinct.index, values)), []).append((name, distinct))
    names = _names(groups)
    for parts, settings in split.items():
        sides = sorted(set(parts), key=lambda side: (parts.count(side), side))
        texts = []
        for side in sides:
            users = [name for name, at in zip(names, parts, strict=True) if at == side]
            rest = side == sides[-1] and len(users) > _NAMES_SHOWN
            who = f"the other {len(users)}" if rest else _some(users)
            texts.append(
                f"{_few([f'{name} {values[side]}' for name, values in settings], ', ')} for {who}"
            )
        yield Notice(
            "setup-differs",
            f"{noun_of(groups[0].fields).capitalize()}s ran with different setups "
            f"({_few(texts, '; ')}): this may explain the difference.",
        )


def settings_of(history: History) -> dict[str, str]:
    """Return a run's settings except its seeds, its schedule and where it is kept."""
    return {
        name: text_of(_plain(value))
        for name, value in history.fields().items()
        if name.startswith(("optimizer.", "config.")) and not _is_identity(name)
    }


def _plain(value: JSON) -> JSON:
    """A float without a fraction as an integer: `0` and `0.0` are no difference."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if whole else value


def listed(values: Iterable[str]) -> str:
    """Format a few of `values`, with numbers in numeric order."""
    return _few(sorted(values, key=_natural), ", ")


def cut(label: str) -> str:
    """Shorten a label so that it fits into a sentence."""
    return label if len(label) <= _NAME_WIDTH else label[: _NAME_WIDTH - 1] + "…"


def _values(groups: Sequence[Group]) -> dict[str, list[set[str]]]:
    """Return each setting's values in each group; `none` for runs that lack it."""
    fields = [[settings_of(history) for history in group.histories] for group in groups]
    names = dict.fromkeys(name for group in fields for run in group for name in run)
    return {name: [{run.get(name, "none") for run in group} for group in fields] for name in names}


def _is_identity(name: str) -> bool:
    """Whether a setting is a seed, or says where a run is kept and what it is called."""
    key = re.split(r"[./]", name)[-1].lower()
    seed = name.startswith("config.") and key in SEEDS
    return seed or _WHEREABOUTS.fullmatch(key) is not None


def is_decisive(name: str) -> bool:
    """Whether `name` is the batch size, the data, the model or the optimizer itself."""
    key = re.sub(r"([a-z])([A-Z])", r"\1_\2", name.removeprefix("config.")).lower()
    words = re.split(r"[^a-z]+", key)
    return name == "optimizer.name" or (
        name.startswith("config.") and any(_DECISIVE.fullmatch(word) for word in words)
    )


def _names(groups: Sequence[Group]) -> list[str]:
    """Return the schedules' names if they distinguish the groups, else their labels."""
    names = [group.schedule_name for group in groups]
    return [
        cut(name if names.count(name) == 1 and group.label.startswith(name) else group.label)
        for name, group in zip(names, groups, strict=True)
    ]


def _some(names: Sequence[str]) -> str:
    texts = names[:_NAMES_SHOWN]
    more = len(names) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def _few(texts: Sequence[str], between: str) -> str:
    more = f"{between}… {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return between.join(texts[:_SHOWN]) + more


def _natural(text: str) -> tuple[bool, float, str]:
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
