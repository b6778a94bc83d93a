"""What is known about mutants: how many were killed, and which of the others are equivalent."""

from __future__ import annotations

import json
import tomllib
from math import sqrt
from pathlib import Path
from typing import Any


def equivalents(file: Path) -> dict[tuple[str, str, str], str]:
    """Returns module, line and changed line of the mutants that no test can kill, and why."""
    listed = tomllib.loads(file.read_text(encoding="utf-8")).get("mutant", [])
    return {(each["file"], each["before"], each["after"]): each["reason"] for each in listed}


def summary(file: Path, equivalent: Path) -> str:
    """Returns a package's result in words, with the mutants that survived."""
    found = json.loads(file.read_text(encoding="utf-8"))
    known = equivalents(equivalent)
    tested = [each for each in found["sample"] if each["killed_by"] != "import"]
    survivors = [each for each in tested if each["killed_by"] == ""]
    reasons = [known.get((each["file"], each["before"], each["after"])) for each in survivors]
    same = sum(reason is not None for reason in reasons)
    real = [each for each, reason in zip(survivors, reasons, strict=True) if reason is None]
    counted = len(tested) - same
    killed = counted - len(real)
    lines = [
        f"{found['package']}: {_rate(killed, counted)}, {same} equivalent, seed {found['seed']}"
    ]
    lines += [_described(each) for each in sorted(real, key=lambda each: each["file"])]
    return "\n".join(lines)


def _rate(killed: int, counted: int) -> str:
    low, high = wilson(killed, counted)
    return (
        f"{killed} of {counted} mutants killed, {100 * killed / max(counted, 1):.1f} % "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a proportion."""
    if trials == 0:
        return 0.0, 1.0
    z = 1.959964
    share, weight = successes / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = z * sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    return middle - half, middle + half


def _described(mutant: dict[str, Any]) -> str:
    where = f"{mutant['file']}:{mutant['line']}"
    return f"  {where} ({mutant['tests']} tests)\n    - {mutant['before']}\n    + {mutant['after']}"
