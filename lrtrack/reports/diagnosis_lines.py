"""Diagnoses as text: one line for all runs of a schedule with the same diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lrtrack.errors import clean
from lrtrack.reports.formatting import count

#: The most lines; a longer list would push the table off the screen.
LINES = 8


#: What tells runs apart, as blocks of one run have its id: the id and the prefix.
Key = tuple[str, str]


def key_of(diagnosis: Mapping[str, str]) -> Key:
    """The key of the run that a diagnosis is about."""
    return diagnosis["run_id"], diagnosis.get("prefix", "")


def lines(diagnoses: Iterable[Mapping[str, str]], names: Mapping[Key, str]) -> tuple[str, ...]:
    """Lines such as `LR001 in 3 runs of StepLR: … → …`, sorted by code.

    The numbers in a message differ between runs; the first run's message is shown. Beyond `LINES`
    lines, the last one says how many more there are.

    Args:
        diagnoses: mappings with the keys `code`, `run_id`, `message` and `hint`, perhaps `prefix`.
        names: for each run the name of its schedule.
    """
    grouped: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for diagnosis in diagnoses:
        grouped.setdefault((diagnosis["code"], names.get(key_of(diagnosis), "")), []).append(
            diagnosis
        )
    texts = [_line(code, name, grouped[code, name]) for code, name in sorted(grouped)]
    hidden = len(texts) - LINES
    if hidden > 1:
        texts[LINES:] = [f"… and {hidden} more: --format json has all."]
    return tuple(texts)


def codes(diagnoses: Iterable[Mapping[str, str]]) -> str:
    """The distinct codes, sorted: `LR001 LR006`."""
    return clean(" ".join(sorted({diagnosis["code"] for diagnosis in diagnoses})))


def _line(code: str, name: str, diagnoses: Sequence[Mapping[str, str]]) -> str:
    runs = len({key_of(diagnosis) for diagnosis in diagnoses})
    who = f"{code} in {count(runs, 'run')}" + (f" of {name}" if name else "")
    first = diagnoses[0]
    if not first["message"]:  # the tracker had no room for the message
        return clean(f"{who}.")
    example = "e.g. " if runs > 1 else ""
    hint = f" → {first['hint']}." if first["hint"] else ""
    return clean(f"{who}: {example}{first['message']}{hint}")
