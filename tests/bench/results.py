"""The table of results: stored as JSON and written as RESULTS.md.

A whole run writes everything anew. A part that is measured alone replaces its own rows; the others
stay, and each part says when, where and from which commit it was measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import circumstances
import intervals
from intervals import MISSED, REACHED, WITHIN_NOISE
from reasons import WHY

HERE = Path(__file__).parent
_HEAD = """# What lrtrack costs, measured

{run}

Figures are medians over rounds. In each round all ways of a part run once, in a random order, each
in its own process and an empty directory, and each ratio is taken within a round; loops are forked
from a process that has imported torch, and divided by their own bare loop. The interval is the 95 %
interval of that median by order statistics (the second smallest to the second largest of ten
rounds, the smallest to the largest of six); it assumes nothing about how the rounds are
distributed.

- **reached**: the whole interval is at or below the goal, or, for goals with “≥”, at or above it.
- **reached within noise**: the median is, the interval is not; other rounds may miss the goal.
- **missed**: the median misses the goal.

Fewer than six rounds give no interval, and reach a goal within noise at best. A size, a count and a
figure of a single run, which says so, are compared with the goal as they are. The rows “once more /
the bare loop” compare a loop with itself: their interval and their range are the noise of the part,
and a difference that is smaller than it says nothing.
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
        interval: the 95 % interval of the figure; empty if there is none.
        verdict: “reached”, “reached within noise” or “missed”; follows from `reached` if empty.
        reason: why the target is missed; written only where it is.
        values: the figure in each round.
    """

    what: str
    measured: str
    reach: str = ""
    reached: bool | None = None
    note: str = ""
    interval: str = ""
    verdict: str = ""
    reason: str = ""
    values: tuple[float, ...] = ()


def measured_row(
    what: str,
    values: Sequence[float],
    goal: float | None = None,
    *,
    at_least: bool = False,
    digits: int = 3,
    style: str = "",
    unit: str = "",
    how: str = "",
    reason: str = "",
) -> Row:
    """Returns the row of a figure that each round has once, with its median and interval.

    Args:
        what: what was measured.
        values: the figure of each round.
        goal: the largest median that reaches the goal; None if there is no goal.
        at_least: whether `goal` is the smallest instead.
        digits: decimal places of the figures.
        style: "+" for figures that always have their sign, "," for groups of thousands.
        unit: the unit, after a space; "×" comes without one.
        how: how it was measured.
        reason: why the goal is missed, for a row that misses it.
    """
    found = intervals.middle(values)
    after = unit if unit in ("", "×") else f" {unit}"

    def text(value: float) -> str:
        return f"{value:{style}.{digits}f}"

    spread = f"{found.rounds} rounds, {text(found.smallest)} to {text(found.largest)}"
    if found.rounds == 1:
        spread = "one run, without an interval"
    word = "" if goal is None else intervals.verdict(found, goal, at_least=at_least)
    to = " to " if style == "+" else "–"
    interval = "" if found.low is None else text(found.low) + to + text(found.high or 0.0)
    return Row(
        what,
        f"{text(found.median)}{after}",
        "" if goal is None else f"{'≥' if at_least else '≤'} {goal:{style}g}{after}",
        None if goal is None else word != MISSED,
        f"{how}; {spread}" if how else spread,
        interval,
        word,
        reason,
        tuple(round(each, digits + 2) for each in values),
    )


@dataclass
class Run:
    """One call of the benchmark.

    Attributes:
        folder: where results.json and RESULTS.md are.
        whole: whether all parts are measured, so that nothing of an earlier run stays.
        rounds: the number of rounds.
        started: when the run started, as text.
        commit: the commit that is measured; ends in “, changed” where files differ from it.
    """

    folder: Path
    whole: bool
    rounds: int
    started: str
    commit: str

    @property
    def kept(self) -> Path:
        """The file of all results."""
        return self.folder / "results.json"

    def keep(self, part: str, title: str, rows: Iterable[Row], spent: Mapping[str, Any]) -> None:
        """Stores the rows of one part and rewrites the table.

        Args:
            part: the name of the part.
            title: its heading.
            rows: what was measured.
            spent: what `circumstances.Load.until_now` returned for it.
        """
        earlier = read(self.folder)
        if self.whole:
            earlier = {name: each for name, each in earlier.items() if _of(each) == self._id}
        earlier[part] = {
            "title": title,
            "machine": circumstances.machine(),
            "versions": circumstances.versions(),
            "day": time.strftime("%Y-%m-%d"),
            "run": self._id,
            **spent,
            "rows": [asdict(row) for row in rows],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kept.write_text(json.dumps(earlier, indent=1, ensure_ascii=False) + "\n")
        (self.folder / "RESULTS.md").write_text(written(earlier))

    @property
    def _id(self) -> dict[str, Any]:
        return {
            "started": self.started,
            "commit": self.commit,
            "whole": self.whole,
            "rounds": self.rounds,
        }


def begin(folder: Path, *, whole: bool, rounds: int) -> Run:
    """Begins a run of the benchmark now."""
    started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return Run(folder, whole, rounds, started, circumstances.commit())


def read(folder: Path = HERE) -> dict[str, Any]:
    """Returns all stored parts by name; none if nothing is stored yet."""
    path = folder / "results.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def find(kept: Mapping[str, Any], part: str, what: str) -> dict[str, Any] | None:
    """Returns the stored row of a part that says `what`; None if there is none."""
    rows = kept.get(part, {}).get("rows", ())
    return next((row for row in rows if row["what"] == what), None)


def written(kept: Mapping[str, Any]) -> str:
    """Returns the text of RESULTS.md."""
    parts = [_HEAD.format(run=_origin(kept))]
    for part in kept.values():
        lines = [f"\n## {part['title']}\n", f"{_circumstances(part)}.\n"]
        lines += ["| what | measured | 95 % interval | goal | | how |", "|---|---|---|---|---|---|"]
        for row in part["rows"]:
            cells = (row["what"], row["measured"], row.get("interval", ""), row["reach"],
                     _mark(row), _how(row))  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines) + "\n")
    used = sorted({part["versions"] for part in kept.values()})
    parts.append("\nVersions: " + "; or ".join(used) + ".\n")
    return "".join(parts)


def verdict(row: Mapping[str, Any]) -> str:
    """Returns what a stored row says about its goal; empty if it has none."""
    if row.get("verdict"):
        return str(row["verdict"])
    return {True: REACHED, False: MISSED, None: ""}[row["reached"]]


def _mark(row: Mapping[str, Any]) -> str:
    word = verdict(row)
    return f"**{MISSED}**" if word == MISSED else word


def _how(row: Mapping[str, Any]) -> str:
    if verdict(row) in (MISSED, WITHIN_NOISE) and (why := reason(row)):
        return "; ".join(filter(None, (row["note"], f"why: {why}")))
    return str(row["note"])


def reason(row: Mapping[str, Any]) -> str:
    """Returns why a stored row misses its goal, from `reasons.py` or the row; may be empty."""
    return WHY.get(row["what"], "") or str(row.get("reason", ""))


def _of(part: Mapping[str, Any]) -> dict[str, Any]:
    return dict(part.get("run", {}))


def _origin(kept: Mapping[str, Any]) -> str:
    runs = [_of(part) for part in kept.values()]
    later = [part["title"] for part in kept.values() if _of(part) != runs[0]]
    if not runs or not runs[0].get("whole") or len(later) > len(runs) // 2:
        return (
            "Written by `tox -e bench -- --only PART`, part by part: each says when, where and "
            "from which commit it was measured. `tox -e bench` measures all of them in one run."
        )
    minutes = sum(part["minutes"] for part in kept.values())
    again = f" These parts were measured once more since: {', '.join(later)}." if later else ""
    return (
        f"Written by one run of `tox -e bench`: started {runs[0]['started']}, {minutes:.0f} "
        f"minutes, {runs[0]['rounds']} rounds, commit {runs[0]['commit']}.{again}"
    )


def _circumstances(part: Mapping[str, Any]) -> str:
    words = [part["machine"], part["day"]]
    if "minutes" in part:
        before, after = part["load"]
        words.append(f"{part['minutes']:g} minutes")
        words.append(f"load average {before:g} at the start and {after:g} at the end")
    if _of(part):
        words.append(f"commit {_of(part)['commit']}")
    return "; ".join(words)
