"""From histories to a `Comparison`: group, summarise, rank, test, warn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, median_low

from lrtrack.errors import NothingFound, UsageError, unknown
from lrtrack.records import History
from lrtrack.stats.diagnose import told_of
from lrtrack.stats.groups import Group, fields_of, grouped
from lrtrack.stats.guards import metrics_of, notices
from lrtrack.stats.result import Comparison, Mode, ScheduleSummary, Spread
from lrtrack.stats.significance import LEVEL, Sample, holm, p_value
from lrtrack.stats.spread import grad_norm_of, seconds_to_target, spread_of, steps_to_target
from lrtrack.stats.summary import RunSummary, mode_of, summarise


@dataclass(frozen=True)
class _Entry:
    """A group with its figures, on the way to a `ScheduleSummary`."""

    group: Group
    runs: tuple[RunSummary, ...]
    final: Spread
    sample: Sample

    @property
    def diverged(self) -> int:
        return sum(run.diverged for run in self.runs)


def compare_histories(
    histories: Sequence[History],
    *,
    experiment: str | None,
    metric: str,
    mode: Mode | None = None,
    target: float | None = None,
    group_by: str | Sequence[str] = ("schedule",),
    baseline: str | None = None,
) -> Comparison:
    """Compare schedules by `metric`, best first.

    A run that diverged (a loss or a value of the metric that is NaN or infinite) counts as worse
    than any value: it has none in `Spread.values`, and its schedule ranks behind all that have
    no such run, by the share that diverged, then by the mean of the others. Schedules without
    any value come last.

    Args:
        histories: runs in any order; the order changes nothing.
        mode: None: decided by the metric's name, see `mode_of`.
        target: a value of the metric; the comparison then says when runs reached it.
        group_by: `schedule` (its id), `name`, or fields such as `optimizer.lr`.
        baseline: name, id or label of the schedule to test against instead of the best.

    Raises:
        NothingFound: there are no runs, or none has the metric.
        UsageError: no such field, baseline or mode, or the target is not finite.
    """
    if mode not in (None, "min", "max"):
        raise UsageError(unknown("mode", str(mode), ("min", "max")))
    if target is not None and not math.isfinite(target):
        raise UsageError(f"The target must be a finite number, not {target}.")
    _check_metric(histories, metric, experiment)
    mode = mode_of(metric) if mode is None else mode
    groups = grouped(histories, fields_of(group_by))
    entries = sorted(
        (_entry(group, metric, mode, target) for group in groups),
        key=lambda entry: _rank_key(entry, mode),
    )
    reference = 0 if baseline is None else _find(entries, baseline)
    p_values = _p_values(entries, reference, mode)
    return Comparison(
        experiment=experiment,
        metric=metric,
        mode=mode,
        target=target,
        schedules=tuple(
            _summary(rank, entry, p)
            for rank, (entry, p) in enumerate(zip(entries, p_values, strict=True), start=1)
        ),
        warnings=notices(
            [entry.group for entry in entries],
            [entry.runs for entry in entries],
            [entry.sample for entry in entries],
            reference,
            metric,
        ),
        baseline=None if baseline is None else entries[reference].group.label,
        runs=tuple(run for entry in entries for run in entry.runs),
        histories=tuple(run for entry in entries for run in entry.group.histories),
        diagnoses=told_of(run for entry in entries for run in entry.group.histories),
    )


def _check_metric(histories: Sequence[History], metric: str, experiment: str | None) -> None:
    where = "" if experiment is None else f" in experiment {experiment!r}"
    if not histories:
        raise NothingFound(f"There are no runs to compare{where}.")
    known = metrics_of(histories)
    if not known:
        raise NothingFound(f"No run{where} has recorded a metric yet.")
    if metric not in known and all(not history.series(metric)[0].size for history in histories):
        raise NothingFound(f"No run{where} has it. {unknown('metric', metric, known)}")


def _entry(group: Group, metric: str, mode: Mode, target: float | None) -> _Entry:
    runs = tuple(summarise(history, metric, mode, target) for history in group.histories)
    worst = math.inf if mode == "min" else -math.inf
    tested = [(run, run.final) for run in runs if run.diverged or run.final is not None]
    sample = Sample(
        values=tuple(worst if run.diverged or v is None else v for run, v in tested),
        seeds=tuple(run.seed for run, _ in tested),
    )
    final = spread_of([None if run.diverged else run.final for run in runs])
    return _Entry(group, runs, final, sample)


def _rank_key(entry: _Entry, mode: Mode) -> tuple[int, float, float, str]:
    mean = entry.final.mean
    if mean is None:
        return (
            (1 if entry.diverged else 2),
            entry.diverged / len(entry.runs),
            0.0,
            entry.group.label,
        )
    share = entry.diverged / len(entry.runs)
    return 0, share, mean if mode == "min" else -mean, entry.group.label


def _find(entries: Sequence[_Entry], baseline: str) -> int:
    """Index of the one group whose label, schedule id or schedule name is `baseline`."""
    names = [_names(entry) for entry in entries]
    for kind in range(3):  # a label is the most exact, a name the least
        hits = [index for index, forms in enumerate(names) if forms[kind] == baseline]
        if len(hits) == 1:
            return hits[0]
        if hits:
            labels = "; ".join(names[index][0] for index in hits)
            raise UsageError(
                f"{baseline!r} is several schedules here: {labels}. Name one by label."
            )
    known = {form for forms in names for form in forms if form is not None}
    raise UsageError(unknown("baseline", baseline, known))


def _names(entry: _Entry) -> tuple[str, str | None, str]:
    schedule = entry.group.schedule
    key = None if schedule is None else schedule.id
    return entry.group.label, key, entry.group.schedule_name


def _p_values(entries: Sequence[_Entry], reference: int, mode: Mode) -> list[float | None]:
    base = entries[reference].sample
    return holm(
        [
            None if index == reference else p_value(base, entry.sample, mode)
            for index, entry in enumerate(entries)
        ]
    )


def _summary(rank: int, entry: _Entry, p: float | None) -> ScheduleSummary:
    runs, group = entry.runs, entry.group
    rates = [run.steps_per_second for run in runs if run.steps_per_second is not None]
    peaks = [run.lr_peak for run in runs if run.lr_peak is not None]
    return ScheduleSummary(
        rank=rank,
        schedule=group.schedule_name,
        id=None if group.schedule is None else group.schedule.id,
        label=group.label,
        params=group.params,
        runs=len(runs),
        diverged=entry.diverged,
        unfinished=sum(run.unfinished for run in runs),
        steps=median_low(run.steps for run in runs),
        final=entry.final,
        best=spread_of([None if run.diverged else run.best for run in runs]),
        steps_to_target=steps_to_target(runs),
        seconds_to_target=seconds_to_target(runs),
        lr_peak=max(peaks, default=None),
        grad_norm=grad_norm_of(runs),
        steps_per_second=median(rates) if rates else None,
        p_vs_best=p,
        indistinguishable_from_best=p is None or p >= LEVEL,
        run_ids=tuple(run.run_id for run in runs),
    )
