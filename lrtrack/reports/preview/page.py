"""A preview as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from lrtrack.reports.preview import SUMMARY, Preview
from lrtrack.reports.preview.picture import render as draw

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.2rem; }
svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #ddd; text-align: right;
         white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 13rem; }
td:first-child { font-family: ui-monospace, monospace; }
.note { color: #555; }
"""


def render(preview: Preview) -> str:
    """The page: the picture as inline SVG, and the first, highest and last rates as a table."""
    picture = draw(preview, "svg", words=False).decode()
    picture = picture[picture.index("<svg") :]
    title = escape(preview.title)
    label = f'<svg role="img" aria-label="{title}"'
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style></head>",
            f"<body><h1>{title}</h1>",
            picture.replace("<svg", label, 1).rstrip(),
            '<div class="scroll"><table>',
            f"<thead>{_row(('schedule', *SUMMARY), 'th')}</thead>",
            "<tbody>",
            *(_row((curve.label, *curve.summary), "td") for curve in preview.curves),
            "</tbody></table></div>",
            *(f'<p class="note">{escape(note)}</p>' for note in preview.notes),
            "</body></html>\n",
        ]
    )


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
