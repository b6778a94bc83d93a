"""A preview as CSV: every step, with unrounded rates."""

from __future__ import annotations

import csv
import io

from lrtrack.reports.preview import Preview


def render(preview: Preview) -> str:
    """One row per step, one column per schedule; the same floats that training uses."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["step", *(curve.label for curve in preview.curves)])
    columns = (curve.rates.tolist() for curve in preview.curves)
    rows.writerows(zip(range(preview.steps), *columns, strict=True))
    return file.getvalue()
