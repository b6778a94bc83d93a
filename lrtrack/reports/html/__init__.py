"""A comparison as one self-contained HTML file that opens without a network.

Text from trackers passes through `html.escape` here and through `textContent` in the script, and
the page's content security policy allows only that script and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib.resources import files

from lrtrack.reports.axes import title_of
from lrtrack.reports.document import Document
from lrtrack.reports.html.fragments import controls, items, legend, section
from lrtrack.reports.html.header import alerts, facts, header
from lrtrack.reports.html.leaderboard import leaderboard
from lrtrack.reports.html.line_chart import drawn
from lrtrack.reports.html.metrics import further_of
from lrtrack.reports.html.payload import payload_of
from lrtrack.reports.html.runs import runs_table
from lrtrack.reports.html.strip import strip
from lrtrack.reports.palette import COLOURS, DARK, looks_of
from lrtrack.reports.small_charts import charts_of
from lrtrack.stats import STEP

_SCRIPTS = (
    "data.js", "scales.js", "shapes.js", "page.js", "panel.js", "summary.js", "hover.js",
    "zoom.js", "export.js", "panels.js", "controls.js", "tables.js", "rows.js",
)  # fmt: skip
_STYLES = ("page.css", "curves.css", "tables.css")
_HOW = (
    "Curves: the line is the mean over a {noun}'s runs at each step at which more than half of "
    "them have a value, the band is the 95 % confidence interval of that mean, at each step for "
    "itself (Student's t); “single runs” adds each run as a faint line. Diverged runs are excluded "
    "from mean and band of losses and gradient norms; × marks their last finite value.",
    "Each panel is logarithmic if that shows its values better; “log” switches it. Triangles at "
    "its edge mark curves that leave a scale which fits most values; the arrow shows them whole.",
    "Long curves are drawn with fewer points, which include the lowest and the highest value of "
    "each stretch. Smoothing is a moving average; its window is a percentage of the longest run.",
)
_MIXED_TASKS = (
    "These curves average the values themselves over the runs of all tasks. To see one task, "
    "compare its runs alone."
)
_ON_TIME = "On the axis of seconds, each step is at its mean time over the runs."
_ON_METRIC = (
    "On the axis of {x}, means are over the runs at equal {x}. Between two values that a run "
    "logged, its {x} are on a straight line over the steps, from 0 before its first step; after "
    "the last value the curve ends."
)


def render(document: Document, *, axis: str = STEP) -> str:
    """Render the page, with `axis` as its initial x axis.

    Raises:
        UsageError: the comparison has no such axis.
    """
    document.curves_on(axis)
    body = _body(document, axis)
    script = "(() => {\n" + "\n".join(map(_own, _SCRIPTS)) + "})();\n"
    style = _colours() + "".join(map(_own, _STYLES))
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = escape(document.report.title)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            f"<title>{title}</title>",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{style}</style></head>",
            f"<body>{body}<script>{script}</script></body></html>\n",
        ]
    )


def _body(document: Document, axis: str) -> str:
    comparison, report, curves = document.comparison, document.report, document.curves
    names, looks = report.names, looks_of(comparison.schedules)
    further = further_of(comparison, curves, document.own_curves)
    charts = [
        controls(curves, document.own_curves, axis),
        legend(names, looks, comparison.noun),
        '<div id="panels"></div><div id="tip" hidden></div>',
        '<div id="spoken" class="sr" aria-live="polite"></div>',
        *([f'<p class="note">{escape(further.note)}</p>'] if further.note else []),
        "<noscript><p>The curves need JavaScript.</p></noscript>",
        *([] if comparison.task is None else [f'<p class="note">{_MIXED_TASKS}</p>']),
        *(
            f'<p class="note">{escape(why)}</p>'
            for name, why in curves.absent.items()
            if name != comparison.x
        ),
    ]
    how = [*report.footnotes, *(text.format(noun=comparison.noun) for text in _HOW), _ON_TIME]
    if document.own_curves is not None:
        how.append(_ON_METRIC.format(x=title_of(comparison.x)))
    return "\n".join(
        [
            f"<main>{header(report)}",
            facts(document.facts),
            alerts(report),
            leaderboard(document, looks),
            section("Curves", "\n".join(charts)),
            section("Final values, one dot per run", strip(comparison, names, looks)),
            *(section(item.title, drawn(item, names, looks)) for item in charts_of(comparison)),
            runs_table(document, looks),
            section("How it was computed", items(how)),
            "</main>",
            '<script type="application/json" id="data">',
            payload_of(comparison, curves, document.own_curves, further, looks, axis),
            "</script>",
        ]
    )


def _own(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """The hash of a script or style for the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _colours() -> str:
    """Colours by number, for the light and the dark theme; `.c3` has colour 3."""

    def named(colours: tuple[str, ...]) -> str:
        return "".join(f"--c{at}:{colour};" for at, colour in enumerate(colours))

    dark = (
        "color-scheme:dark;--paper:#14171b;--raised:#20252b;--ink:#e8eaed;--faint:#9aa4b1;"
        "--rule:#31373f;--good:#5fd3a2;--bad:#ff8a80;--warn:#2f2814;--warn-rule:#b98900;"
        "--accent:#6cb2f5;" + named(DARK)
    )
    return (
        f":root{{{named(COLOURS)}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{dark}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}}}\n"
        + "".join(f".c{at}{{--own:var(--c{at})}}" for at in range(len(COLOURS)))
        + "\n"
    )
