"""The table of results: stored as JSON beside this file and written as RESULTS.md.

A part of the benchmark that is measured again replaces its own rows; the others stay, each with the
machine and the day of its measurement.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT, TABLE = HERE / "results.json", HERE / "RESULTS.md"
PACKAGES = ("torch", "mlflow", "wandb", "lightning", "transformers", "accelerate", "pyarrow",
            "numpy", "scipy", "SQLAlchemy", "psycopg2-binary")  # fmt: skip
_HEAD = """# What lrtrack costs, measured

Written by `tox -e bench`; `tox -e bench -- --only loops` measures one part again. Ratios are
medians over rounds. In each round all ways of a part run once, in a random order, each in a fresh
process and an empty directory, and each ratio is taken to its own bare loop of the same round.
"""


@dataclass(frozen=True)
class Row:
    """A result.

    Attributes:
        what: what was measured.
        measured: the figure with its unit.
        reach: the target; empty if there is none.
        reached: None if there is no target.
        note: how it was measured, or why the target was missed.
    """

    what: str
    measured: str
    reach: str = ""
    reached: bool | None = None
    note: str = ""


def keep(part: str, title: str, rows: Iterable[Row]) -> None:
    """Stores the rows of one part and rewrites the table."""
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept[part] = {
        "title": title,
        "machine": machine(),
        "versions": versions(),
        "day": time.strftime("%Y-%m-%d"),
        "rows": [asdict(row) for row in rows],
    }
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    TABLE.write_text(_written(kept))


def _written(kept: dict[str, Any]) -> str:
    parts = [_HEAD]
    for part in kept.values():
        lines = [f"\n## {part['title']}\n", f"{part['machine']}; {part['day']}.\n"]
        lines += ["| what | measured | reach | | how |", "|---|---|---|---|---|"]
        for row in part["rows"]:
            mark = {True: "reached", False: "**missed**", None: ""}[row["reached"]]
            cells = (row["what"], row["measured"], row["reach"], mark, row["note"])
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines) + "\n")
    used = sorted({part["versions"] for part in kept.values()})
    parts.append("\nVersions: " + "; or ".join(used) + ".\n")
    return "".join(parts)


def machine() -> str:
    """Returns processor, cores, memory and operating system."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, no GPU used, {platform.system()}"


def versions() -> str:
    """Returns the versions of Python and of the packages in use."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
