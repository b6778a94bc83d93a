"""Fragments of the page: names, swatches, lists, controls and the legend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from lrtrack.reports.axes import title_of
from lrtrack.reports.curves import Curves
from lrtrack.reports.palette import DASHES, Look
from lrtrack.stats.rulers import EPOCH, STEP, TIME

#: Places where a name may be broken: `Cosine|Annealing|LR(|step_size=|30`.
_JOINTS = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[(\[=,])(?=\S)")

#: How to use legend and panels.
_HINTS = (
    "Double-click a {noun} to see it alone. "
    '<span class="mouse">Drag in a panel to zoom; double-click it to zoom out.</span>'
    '<span class="touch">Zoom with two fingers in a panel; tap it twice to zoom out.</span>'
)


def swatch(look: Look) -> str:
    """A short sample of a schedule's line."""
    dashes = " ".join(f"{3 * part:g}" for part in DASHES[look.dash])
    attribute = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<svg class="swatch c{look.colour}" viewBox="0 0 26 10" aria-hidden="true">'
        f'<path d="M1 5H25"{attribute}/></svg>'
    )


def named(name: str, look: Look) -> str:
    """A schedule's name after a sample of its line."""
    return f'<div class="named">{swatch(look)}<span>{breakable(name)}</span></div>'


def breakable(name: str) -> str:
    """A schedule's name, escaped, with possible line breaks between its words and parameters."""
    return "<wbr>".join(map(escape, _JOINTS.split(name)))


def section(title: str, content: str) -> str:
    """A heading and its content; empty if there is no content."""
    return f"<section><h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def titled(title: str, tools: str, content: str) -> str:
    """A section with tools for its table beside the heading."""
    head = f'<div class="head"><h2>{escape(title)}</h2>{tools}</div>'
    return f"<section>{head}\n{content}\n</section>"


def table_tools(noun: str, *, filters: bool, parameters: bool) -> str:
    """The tools of a table, which its script makes visible.

    Args:
        noun: what its rows are, in the plural.
        filters: whether the rows can be filtered.
        parameters: whether it has columns of parameters, which are hidden at first.
    """
    parts = ['<output class="said" aria-live="polite"></output>']
    if filters:
        parts.append(
            f'<label class="filter"><span class="sr">Filter {noun}</span><input type="search" '
            f'placeholder="Filter {noun}" autocomplete="off" spellcheck="false"></label>'
            '<output class="count" aria-live="polite"></output>'
        )
    if parameters:
        parts.append(
            '<label class="switch"><input type="checkbox" class="with" autocomplete="off"> '
            "Parameters as columns</label>"
        )
    parts.append('<button type="button" class="copy">Copy as Markdown</button>')
    return f'<div class="bar" data-noun="{noun}" hidden>{"".join(parts)}</div>'


def items(lines: Iterable[str]) -> str:
    """One paragraph per line."""
    return "\n".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def axis_key(axis: str) -> str:
    """What the page's script calls an axis: a metric may have any name."""
    return axis if axis in (STEP, TIME, EPOCH) else "metric"


def controls(curves: Curves, own: Curves | None, axis: str) -> str:
    """The controls of all panels: the x axis and its scale, smoothing, single runs, more panels.

    Args:
        curves: the curves over steps.
        own: those over the comparison's own axis, if it has one.
        axis: the axis to begin with.
    """
    names = {STEP: "step", TIME: "seconds", EPOCH: "epoch"}
    chosen = {} if own is None or own.x is None else {axis_key(own.x): title_of(own.x)}
    axes = [
        (key, escape(name), key in curves.rulers or key in chosen)
        for key, name in {**names, **chosen}.items()
    ]
    scales = [("linear", "linear", True), ("log", "log", True)]
    single = all(len(runs) == 1 for runs in curves.members)
    return (
        '<div class="tools">'
        + _choice("axis", "x axis", axes, axis_key(axis))
        + _choice("x-scale", "x scale", scales, "linear")
        + '<label class="slide">smoothing <input id="smooth" type="range" min="0" max="10" '
        'step="0.5" value="1" autocomplete="off">'
        '<output id="smooth-value" for="smooth">1 %</output></label>'
        f'<label class="tick"{" hidden" if single else ""}>'
        '<input type="checkbox" id="runs" autocomplete="off"> single runs</label>'
        '<select id="add" aria-label="add a panel" autocomplete="off">'
        '<option value="">add a panel …</option></select>'
        '<button type="button" id="unzoom" hidden>Whole range</button></div>'
    )


def _choice(name: str, title: str, options: Sequence[tuple[str, str, bool]], chosen: str) -> str:
    inputs = "".join(
        f'<label><input type="radio" name="{name}" value="{value}" autocomplete="off"'
        f"{' checked' if value == chosen else ''}{'' if available else ' disabled'}>{text}</label>"
        for value, text, available in options
    )
    return f'<fieldset class="choice"><legend>{title}</legend>{inputs}</fieldset>'


def legend(names: Sequence[str], looks: Sequence[Look], noun: str) -> str:
    """One button per schedule or group, which shows or hides it in all panels."""
    keys = "".join(
        f'<button type="button" class="key" data-s="{at}" aria-pressed="true" '
        f'title="{escape(name)}">{swatch(look)}<span>{escape(name)}</span></button>'
        for at, (name, look) in enumerate(zip(names, looks, strict=True))
    )
    return (
        f'<div class="legend">{keys}</div><div class="tools">'
        '<button type="button" id="all">All</button>'
        '<button type="button" id="none">None</button>'
        '<button type="button" id="best">Best 5</button>'
        f'<span class="note">{_HINTS.format(noun=noun)}</span></div>'
    )
