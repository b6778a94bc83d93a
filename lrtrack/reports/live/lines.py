"""Trainings as lines: what is known now, or what has changed since the last look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lrtrack.errors import clean
from lrtrack.records import State
from lrtrack.reports.formatting import number
from lrtrack.reports.live.live_run import LiveRun, duration, place


def present(runs: Sequence[LiveRun], metric: str) -> Iterator[str]:
    """Yield a line for each run, and after it one for each of its diagnoses.

    Args:
        runs: the runs.
        metric: the metric that is shown beside the learning rate.
    """
    for run in runs:
        where = f"{clean(run.label)}, {place(run)}"
        yield f"{clean(run.name)}: {where}{_values(run, metric)}{_pace(run)}"
        yield from (_diagnosis(run, diagnosis) for diagnosis in run.diagnoses)


def changes(
    before: Mapping[str, LiveRun], now: Sequence[LiveRun], metric: str, *, progress: bool
) -> Iterator[str]:
    """Yield a line for each change.

    Args:
        before: the runs at the last look, by id.
        now: the runs.
        metric: the metric that is shown.
        progress: whether steps that were made count as a change.
    """
    for run in now:
        name, earlier = clean(run.name), before.get(run.id)
        if earlier is None:
            yield f"{name}: {clean(run.label)}, {place(run)}"
        known = {one["code"] for one in (earlier.diagnoses if earlier else ())}
        for diagnosis in run.diagnoses:
            if diagnosis["code"] not in known:
                yield _diagnosis(run, diagnosis)
        if run.state is not State.RUNNING:
            if earlier is None or earlier.state is State.RUNNING:
                yield f"{name}: {str(run.state).lower()} at {place(run)}{_values(run, metric)}"
        elif progress and earlier is not None and earlier.step != run.step:
            yield f"{name}: {place(run)}{_values(run, metric)}{_pace(run)}"


def _diagnosis(run: LiveRun, diagnosis: Mapping[str, str]) -> str:
    message, hint = clean(diagnosis["message"]), clean(diagnosis["hint"])
    return f"{clean(run.name)}: {diagnosis['code']}: {message} Fix: {hint}."


def _values(run: LiveRun, metric: str) -> str:
    names = [name for name in dict.fromkeys(("lr", metric)) if name in run.latest]
    return "".join(f", {clean(name)} {number(run.latest[name], trim=True)}" for name in names)


def _pace(run: LiveRun) -> str:
    speed = (
        f", {number(run.steps_per_second, 3, trim=True)} steps/s"
        if run.steps_per_second > 0
        else ""
    )
    left = duration(run.remaining)
    return f"{speed}, {left} left" if left else speed
