"""Publishes a comparison's report to the trackers that hold its runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from lrtrack.comparing.reading import takes_uri
from lrtrack.errors import LRTrackError, TrackerError, UsageError
from lrtrack.reports import formats
from lrtrack.stats import ComparisonResult
from lrtrack.trackers import registry
from lrtrack.trackers.base import Publication, Query, Remote, Tracker
from lrtrack.trackers.hooks import Publisher

if TYPE_CHECKING:
    from lrtrack.reports.table import Report

#: The largest weight of a column that is shown in a run's description.
_WEIGHT = 5

#: Called with a tracker's name and the run that holds the report.
OnPublished = Callable[[str, Remote], None]


def publishers(tracker: registry.Spec | None = None) -> list[Publisher]:
    """Return the trackers among `tracker` that can keep reports.

    Args:
        tracker: as in `compare()`.

    Raises:
        UsageError: none of them can, or a tracker does not exist.
    """
    trackers = _resolved(tracker)
    capable: list[Publisher] = [
        candidate for candidate in trackers if isinstance(candidate, Publisher)
    ]
    if not capable:
        names = " and ".join(repr(candidate.name) for candidate in trackers)
        installed = map(registry.get, registry.names())
        keepers = " and ".join(
            candidate.name for candidate in installed if isinstance(candidate, Publisher)
        )
        raise UsageError(
            f"Cannot publish to {names}: only {keepers} keep reports. "
            "Fix: write a file instead, with --output report.md or Comparison.save()."
        )
    return capable


def publish(
    comparison: ComparisonResult,
    tracker: registry.Spec | None = None,
    tracking_uri: str | None = None,
    axis: str | None = None,
    on_published: OnPublished = lambda name, remote: None,
) -> dict[str, Remote]:
    """Publish the report of `comparison` to a run named "lrtrack report" in its experiment.

    MLflow: the report becomes the run's description, and its files become artifacts in a folder
    named after the metric; publishing again replaces both. W&B: an HTML panel and files; earlier
    panels stay under their steps. `compare()` never reads such a run as a training.

    Args:
        comparison: the result of `compare()`.
        tracker, tracking_uri: as in `compare()`; trackers that keep no reports are skipped.
        axis: the x axis of the report's curves: `step`, `time`, `epoch` or a metric; None: that of
            the comparison.
        on_published: called after each tracker that received the report.

    Returns:
        For each tracker's name the run that now holds the report.

    Raises:
        UsageError: none of the trackers keeps reports.
        TrackerError: a tracker cannot be reached, refuses the report, or lacks the experiment; the
            other trackers have received it.
    """
    trackers, resolved = publishers(tracker), _resolved(tracker)
    publication = publication_of(comparison, axis)
    remotes: dict[str, Remote] = {}
    failures: list[LRTrackError] = []
    for keeper in trackers:
        uri = tracking_uri if takes_uri(keeper, resolved) else None
        query = Query(experiment=comparison.experiment, uri=uri)
        try:
            remotes[keeper.name] = keeper.publish(publication, query)
        except LRTrackError as error:
            failures.append(error)
        else:
            on_published(keeper.name, remotes[keeper.name])
    if failures:
        messages = " ".join(str(error) for error in failures)
        raise TrackerError(f"Not published: {messages}") from failures[0]
    return remotes


def _resolved(tracker: registry.Spec | None) -> list[Tracker]:
    return registry.resolve(tracker or None)


def publication_of(comparison: ComparisonResult, axis: str | None = None) -> Publication:
    """Render the report in every format that trackers keep."""
    from lrtrack.reports import markdown, notebook

    document, axis = formats.document_of(comparison, axis)
    report, files = document.report, formats.files(document, axis)
    page = files.get("report.html")
    return Publication(
        metric=comparison.metric,
        folder=re.sub(r"[^A-Za-z0-9_-]+", "_", comparison.metric)[:100] or "_",
        headline=report.headline,
        markdown=markdown.render(_brief(report)),
        page=page.decode() if page is not None else notebook.page(report),
        files=files,
    )


def _brief(report: Report) -> Report:
    """Return the report with short schedule names and fewer columns, for a narrow page."""
    indices = [at for at, column in enumerate(report.columns) if column.weight <= _WEIGHT]
    return replace(
        report,
        columns=tuple(report.columns[at] for at in indices),
        rows=tuple(
            tuple(replace(row[at], text=row[at].short or row[at].text) for at in indices)
            for row in report.rows
        ),
    )
