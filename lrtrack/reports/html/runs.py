"""The table of single runs, with links to where they can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import urlsplit

from lrtrack.errors import clean
from lrtrack.records import History
from lrtrack.reports.diagnosis_lines import codes
from lrtrack.reports.formatting import NONE, number
from lrtrack.reports.html.fragments import swatch
from lrtrack.reports.palette import Look
from lrtrack.settings import redact
from lrtrack.stats import ComparisonResult, RunSummary

_HEADS = (
    ("schedule", False), ("run", False), ("seed", True), ("state", False), ("steps", True),
    ("final", True), ("best", True), ("at step", True), ("LR peak", True), ("steps/s", True),
    ("diagnoses", False), ("tracker", False), ("id", False),
)  # fmt: skip


def runs_table(comparison: ComparisonResult, names: Sequence[str], looks: Sequence[Look]) -> str:
    """One row a run, schedule by schedule."""
    rows = []
    found: dict[str, list[Mapping[str, str]]] = {}
    for each in comparison.diagnoses:
        found.setdefault(each["run_id"], []).append(each)
    runs = iter(zip(comparison.runs, comparison.histories, strict=True))
    for item, name, look in zip(comparison.schedules, names, looks, strict=True):
        for _ in range(item.runs):
            summary, history = next(runs)
            hint = escape(clean(item.label))
            first = f'<td class="text" title="{hint}"><div>{swatch(look)}{escape(name)}</div></td>'
            rows.append(f"<tr>{first}{_row(summary, history, found.get(summary.run_id, []))}</tr>")
    heads = "".join(
        f'<th class="{"number" if right else "text"}">{head}</th>' for head, right in _HEADS
    )
    return (
        f'<div class="scroll tall"><table class="runs"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(summary: RunSummary, history: History, found: Sequence[Mapping[str, str]]) -> str:
    run = history.run
    final = _number(summary.final)
    if summary.diverged:
        final = f'<td class="number bad">diverged at {summary.diverged_step}</td>'
    hint = escape(" ".join(clean(f"{each['code']}: {each['message']}") for each in found))
    return (
        f'<td class="text"><div>{linked(clean(run.name) or history.id, history.url)}</div></td>'
        + _right(NONE if run.seed is None else str(run.seed))
        + f"<td>{escape(history.state.lower())}</td>"
        + _right(str(summary.steps))
        + final
        + _number(summary.best)
        + _right(NONE if summary.best_step is None else str(summary.best_step))
        + _number(summary.lr_peak)
        + _number(summary.steps_per_second)
        + f'<td class="bad" title="{hint}">{escape(codes(found))}</td>'
        + f"<td>{escape(clean(history.tracker))}</td>"
        + f'<td class="id"><div>{escape(clean(history.id))}</div></td>'
    )


def linked(text: str, url: str | None) -> str:
    """`text` as a link where `url` is one that a browser may follow; else as it is."""
    shown = redact(url or "")
    try:
        known = urlsplit(shown)
        follows = known.scheme in ("http", "https") and bool(known.hostname)
    except ValueError:  # brackets that enclose no address
        follows = False
    if not follows:
        return escape(text)
    return f'<a href="{escape(shown)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'


def _number(value: float | None) -> str:
    return _right(number(value))


def _right(text: str) -> str:
    return f'<td class="number">{escape(text)}</td>'
