"""Reports as GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from lrtrack.reports.table import Report, Tone

_SPECIAL = re.compile(r"([\\`*_\[\]~|#!])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})


def render(report: Report) -> str:
    """A heading, the headline, a table and its notes."""
    heads = [escape(column.title) for column in report.columns]
    rules = ["---:" if column.number else "---" for column in report.columns]
    rows = [
        [
            f"**{escape(cell.text)}**" if cell.tone is Tone.GOOD else escape(cell.text)
            for cell in row
        ]
        for row in report.rows
    ]
    blocks = [
        f"### {escape(report.title)}",
        escape(report.headline),
        "\n".join(_line(cells) for cells in (heads, rules, *rows)),
    ]
    if report.warnings:
        blocks.append("\n".join(["> [!WARNING]", *(f"> - {escape(w)}" for w in report.warnings)]))
    if report.diagnoses:
        blocks.append("\n".join(["> [!CAUTION]", *(f"> - {escape(d)}" for d in report.diagnoses)]))
    if report.footnotes:
        blocks.append("\n".join(f"- {escape(note)}" for note in report.footnotes))
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """`text` escaped so that Markdown shows it literally: no markup, HTML, table cells or
    mentions.
    """
    flat = " ".join(text.split())
    # An underscore inside a word is not markup, and parameter names contain many.
    escaped = _SPECIAL.sub(r"\\\1", flat).translate(_ENTITIES)
    return re.sub(r"(?<=\w)\\_(?=\w)", "_", escaped)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
