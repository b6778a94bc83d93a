"""Putting a comparison's report where its runs are."""

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
    from lrtrack.reports.report import Report

#: Columns of the report that a description shows: those up to this weight.
_WEIGHT = 5

#: Called with a tracker's name and the run that has the report now.
OnPublished = Callable[[str, Remote], None]


def publishers(tracker: registry.Spec | None = None) -> list[Publisher]:
    """The trackers among `tracker` that keep reports; what is None is as in `compare()`.

    Raises:
        UsageError: none of them does, or there is no such tracker.
    """
    trackers = _resolved(tracker)
    found: list[Publisher] = [each for each in trackers if isinstance(each, Publisher)]
    if not found:
        names = " and ".join(repr(each.name) for each in trackers)
        installed = map(registry.get, registry.names())
        keepers = " and ".join(each.name for each in installed if isinstance(each, Publisher))
        raise UsageError(
            f"Nothing can be published to {names}: {keepers} keep reports. "
            "Write a file instead, with --output report.md or Comparison.save()."
        )
    return found


def publish(
    comparison: ComparisonResult,
    tracker: registry.Spec | None = None,
    tracking_uri: str | None = None,
    axis: str = "step",
    on_published: OnPublished = lambda name, remote: None,
) -> dict[str, Remote]:
    """Put the report of `comparison` into a run "lrtrack report" of its experiment.

    MLflow: the report is the run's description, and its files are artifacts in a folder of the
    metric's name; both are replaced the next time. W&B: an HTML panel and files; earlier panels
    stay under their steps. Such a run is never read as a training.

    Args:
        comparison: what `compare()` returned.
        tracker, tracking_uri: as given to `compare()`; trackers that keep no reports are left out.
        axis: the x axis of the report's curves: `step`, `time` or `epoch`.
        on_published: called after each tracker that has the report.

    Returns:
        Tracker name to the run that has the report now.

    Raises:
        UsageError: none of the trackers keeps reports.
        TrackerError: a tracker cannot be reached, refuses, or lacks the experiment; the others
            have got theirs.
    """
    trackers, every = publishers(tracker), _resolved(tracker)
    publication = publication_of(comparison, axis)
    done: dict[str, Remote] = {}
    failed: list[LRTrackError] = []
    for each in trackers:
        uri = tracking_uri if takes_uri(each, every) else None
        query = Query(experiment=comparison.experiment, uri=uri)
        try:
            done[each.name] = each.publish(publication, query)
        except LRTrackError as error:
            failed.append(error)
        else:
            on_published(each.name, done[each.name])
    if failed:
        said = " ".join(str(error) for error in failed)
        raise TrackerError(f"Not published: {said}") from failed[0]
    return done


def _resolved(tracker: registry.Spec | None) -> list[Tracker]:
    return registry.resolve(tracker or None)


def publication_of(comparison: ComparisonResult, axis: str = "step") -> Publication:
    """The report in every form that trackers keep."""
    from lrtrack.reports import markdown, notebook
    from lrtrack.reports.document import Document

    document = Document(comparison)
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
    """The report for a narrow place: schedules in their short form, fewer columns."""
    kept = [at for at, column in enumerate(report.columns) if column.weight <= _WEIGHT]
    return replace(
        report,
        columns=tuple(report.columns[at] for at in kept),
        rows=tuple(
            tuple(replace(row[at], text=row[at].short or row[at].text) for at in kept)
            for row in report.rows
        ),
    )
