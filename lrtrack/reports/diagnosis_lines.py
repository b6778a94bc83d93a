"""Diagnoses in words: one line for all runs of a schedule that have the same one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lrtrack.errors import clean
from lrtrack.reports.formatting import count

#: Lines shown; a list that is longer hides the table.
LINES = 8


def lines(diagnoses: Iterable[Mapping[str, str]], names: Mapping[str, str]) -> tuple[str, ...]:
    """`LR001 in 3 runs of StepLR: … → …`, by code; after some lines how many more there are.

    Runs of a schedule differ in their figures: those of the first stand for all.

    Args:
        diagnoses: `{"code", "run_id", "message", "hint"}` each.
        names: run id → what to call its schedule.
    """
    grouped: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for each in diagnoses:
        grouped.setdefault((each["code"], names.get(each["run_id"], "")), []).append(each)
    told = [_line(code, name, grouped[code, name]) for code, name in sorted(grouped)]
    hidden = len(told) - LINES
    if hidden > 1:
        told[LINES:] = [f"… and {hidden} more: --format json has all."]
    return tuple(told)


def codes(diagnoses: Iterable[Mapping[str, str]]) -> str:
    """The codes alone, each once: `LR001 LR006`."""
    return clean(" ".join(sorted({each["code"] for each in diagnoses})))


def _line(code: str, name: str, found: Sequence[Mapping[str, str]]) -> str:
    runs = len({each["run_id"] for each in found})
    who = f"{code} in {count(runs, 'run')}" + (f" of {name}" if name else "")
    said = found[0]
    if not said["message"]:  # a tracker had no room for it
        return clean(f"{who}.")
    example = "e.g. " if runs > 1 else ""
    hint = f" → {said['hint']}." if said["hint"] else ""
    return clean(f"{who}: {example}{said['message']}{hint}")
