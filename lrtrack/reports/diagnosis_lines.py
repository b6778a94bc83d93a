"""Diagnoses as text: one line for all runs of a schedule with the same diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lrtrack.errors import clean
from lrtrack.reports.formatting import count

#: The most lines; a longer list would push the table off the screen.
LINES = 8


def lines(diagnoses: Iterable[Mapping[str, str]], names: Mapping[str, str]) -> tuple[str, ...]:
    """Lines such as `LR001 in 3 runs of StepLR: … → …`, sorted by code.

    The numbers in a message differ between runs; the first run's message is shown. Beyond `LINES`
    lines, the last one says how many more there are.

    Args:
        diagnoses: mappings with the keys `code`, `run_id`, `message` and `hint`.
        names: for each run id the name of its schedule.
    """
    grouped: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for diagnosis in diagnoses:
        grouped.setdefault((diagnosis["code"], names.get(diagnosis["run_id"], "")), []).append(
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
    runs = len({diagnosis["run_id"] for diagnosis in diagnoses})
    who = f"{code} in {count(runs, 'run')}" + (f" of {name}" if name else "")
    first = diagnoses[0]
    if not first["message"]:  # the tracker had no room for the message
        return clean(f"{who}.")
    example = "e.g. " if runs > 1 else ""
    hint = f" → {first['hint']}." if first["hint"] else ""
    return clean(f"{who}: {example}{first['message']}{hint}")
