"""The top of the page: the headline, what was compared, and what speaks against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from lrtrack.reports.setup import Fact
from lrtrack.reports.table import Report

#: Up to so many warnings and diagnoses are shown at once; more would push the result off the
#: screen.
_SHOWN = 2


def header(report: Report) -> str:
    """The headline, whose first clause stands out, and the button that switches the theme."""
    first, mark, rest = report.headline.partition("; ")
    others = f"<span>{escape(rest)}</span>" if rest else ""
    return (
        f'<header><p class="about">{escape(report.title)}</p>'
        '<button id="theme" type="button">Light / dark</button>'
        f"<h1>{escape(first + mark)}{others}</h1></header>"
    )


def facts(known: Sequence[Fact]) -> str:
    """What was compared, as a list of terms and values."""
    return f'<dl class="facts">{"".join(map(_fact, known))}</dl>' if known else ""


def _fact(fact: Fact) -> str:
    kind = ' class="wide"' if fact.settings else ""
    return f"<div{kind}><dt>{fact.term}</dt><dd>{_listed(fact)}</dd></div>"


def _listed(fact: Fact) -> str:
    if not fact.settings:
        return escape(", ".join(fact.items))
    shown = _spans(fact.items)
    if not fact.more:
        return shown
    return f"{shown}<details><summary>{len(fact.more)} more</summary>{_spans(fact.more)}</details>"


def _spans(texts: Sequence[str]) -> str:
    return " ".join(f"<span>{escape(text)}</span>" for text in texts)


def alerts(report: Report) -> str:
    """Warnings and diagnoses; many are folded into one line that names their codes."""
    return _alerts(report.warnings, "alerts", "Warnings") + _alerts(
        report.diagnoses, "alerts found", "Diagnoses"
    )


def _alerts(lines: Sequence[str], kind: str, noun: str) -> str:
    listed = f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
    if not lines:
        return ""
    if len(lines) <= _SHOWN:
        return f'<div class="{kind}">{listed}</div>'
    heads = (line.partition(":")[0].partition(" ")[0] for line in lines)
    codes = Counter(code for code in heads if code != "…")  # the line that counts the others
    named = ", ".join(f"{code} ×{n}" if n > 1 else code for code, n in codes.most_common())
    summary = f"<b>{noun}:</b> {escape(named)}"
    return f'<details class="{kind}"><summary>{summary}</summary>{listed}</details>'
