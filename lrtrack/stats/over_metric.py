"""Comparisons over an x axis that runs log themselves: when they reach the target, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lrtrack.errors import NothingFound, unknown
from lrtrack.fields import text_of
from lrtrack.records import History, one_by_one
from lrtrack.stats.figures import MetricReach, Notice, TaskScore
from lrtrack.stats.intervals import reach_of
from lrtrack.stats.result import ComparisonResult, ScheduleSummary
from lrtrack.stats.rulers import EPOCH, STEP, TIME, axis_metrics, placement_of
from lrtrack.stats.setup_diff import cut
from lrtrack.stats.summary import RunSummary
from lrtrack.stats.targets import target_scores, task_field

ResultT = TypeVar("ResultT", bound=ComparisonResult)

NO_EPOCHS = (
    "There is no epoch axis: {missing} of {runs} runs do not say what an epoch is. Record it with "
    "run.log(epoch=...) or give track() config={{'steps_per_epoch': ...}}; --x step and --x time "
    "need neither."
)
_MISSING, _FAULTY = "x-missing", "x-not-a-total"
_TOTAL = "Fix: log the total since the training began, not the amount of a step or an epoch."
_OUT = "they are left out of the curves and of the time to the target"
_SHOWN = 3


@dataclass(frozen=True)
class _Passage:
    """A run on the axis.

    Attributes:
        known: whether it has positions there.
        hit: where it reached the target; None if it did not while its position was known.
        gap: the distance to the record before, where the metric is not recorded at each step.
        end: its last known position.
        fault: as in `Placement`.
    """

    known: bool
    hit: float | None = None
    gap: float | None = None
    end: float = 0.0
    fault: str = ""


def over_metric(comparison: ResultT, x: str) -> ResultT:
    """The comparison with `x` as its x axis: with `x_to_target` and warnings of runs without it.

    Args:
        comparison: any comparison; what it has of another axis is replaced.
        x: `step` or `time`, which every run has, `epoch`, or a metric that grows.

    Raises:
        NothingFound: no run has positions on the axis.
    """
    if x in (STEP, TIME):
        return replace(comparison, x=x)
    passages = [
        _passage(history, run, x)
        for history, run in zip(one_by_one(comparison.histories), comparison.runs, strict=True)
    ]
    if not any(passage.known for passage in passages):
        raise NothingFound(_nothing(comparison.histories, passages, x))
    kept = [item for item in comparison.warnings if item.code not in (_MISSING, _FAULTY)]
    return replace(
        comparison,
        x=x,
        schedules=_schedules(comparison, passages, x),
        warnings=(*kept, *_notices(comparison.histories, passages, x)),
    )


def _passage(history: History, run: RunSummary, x: str) -> _Passage:
    placement = placement_of(history, x)
    ruler, step = placement.ruler, run.target_step
    if ruler is None:
        return _Passage(known=False, fault=placement.fault)
    end, hit = ruler.latest(run.steps - 1), ruler.passed(step)
    if hit is None or step is None or run.target_gap is None:
        return _Passage(known=True, hit=hit, end=end)
    gap = hit - ruler.latest(step - run.target_gap)
    return _Passage(known=True, hit=hit, gap=gap, end=end)


def _schedules(
    comparison: ComparisonResult, passages: Sequence[_Passage], x: str
) -> tuple[ScheduleSummary, ...]:
    start, rows, tasks = 0, [], _tasks_of(comparison)
    for item in comparison.schedules:
        where = range(start, start + item.runs)
        start += item.runs
        scores = tuple(
            _on_task(
                score, [at for at in where if tasks[at] == score.task], comparison, passages, x
            )
            for score in item.tasks
        )
        reach = _reach(where, comparison, passages, x)
        rows.append(replace(item, x_to_target=reach, tasks=scores))
    if comparison.task is None:
        return tuple(rows)
    totals = target_scores([[score.x_to_target for score in row.tasks] for row in rows])
    return tuple(
        replace(row, across=None if row.across is None else replace(row.across, x_to_target=total))
        for row, total in zip(rows, totals, strict=True)
    )


def _tasks_of(comparison: ComparisonResult) -> list[str]:
    """The task of each run; empty if all are of one."""
    if comparison.task is None:
        return []
    field = task_field(comparison.task, comparison.histories)
    return [text_of(history.fields().get(field)) for history in comparison.histories]


def _on_task(
    score: TaskScore,
    where: Sequence[int],
    comparison: ComparisonResult,
    passages: Sequence[_Passage],
    x: str,
) -> TaskScore:
    if score.target is None:
        return score
    return replace(score, x_to_target=_reach(where, comparison, passages, x))


def _reach(
    where: Sequence[int], comparison: ComparisonResult, passages: Sequence[_Passage], x: str
) -> MetricReach:
    """When runs reached the target, of those among `where` that have positions."""
    pairs = [(comparison.runs[at], passages[at]) for at in where if passages[at].known]
    reach = reach_of(
        [run for run, _ in pairs],
        [(passage.hit, passage.gap) for _, passage in pairs],
        [passage.end for _, passage in pairs],
    )
    return MetricReach(reach.reached, reach.median, reach.resolution, metric=x, runs=len(pairs))


def _notices(
    histories: Sequence[History], passages: Sequence[_Passage], x: str
) -> Iterator[Notice]:
    """Warnings of the runs that have no positions on the axis."""
    pairs = list(zip(histories, passages, strict=True))
    lacking = [history for history, passage in pairs if not (passage.known or passage.fault)]
    if lacking:
        what = "do not say what an epoch is" if x == EPOCH else f"have no {x}"
        yield Notice(
            _MISSING, f"{len(lacking)} of {len(pairs)} runs {what} ({_names(lacking)}): {_OUT}."
        )
    faulty = [(history, passage.fault) for history, passage in pairs if passage.fault]
    if faulty:
        example, fault = faulty[0]
        yield Notice(
            _FAULTY,
            f"In {len(faulty)} of {len(pairs)} runs {x} is no running total (in "
            f"{_names([example])} it {fault}): {_OUT}. {_TOTAL}",
        )


def _nothing(histories: Sequence[History], passages: Sequence[_Passage], x: str) -> str:
    """Why no run can be shown over `x`."""
    if x == EPOCH:
        return NO_EPOCHS.format(missing=len(passages), runs=len(passages))
    others = axis_metrics(histories)
    fault = next((passage.fault for passage in passages if passage.fault), "")
    if not fault:
        return f"{unknown('x axis', x, {*others, STEP, TIME})} No run has logged {x}."
    instead = ", ".join(sorted({*others, STEP, TIME}))
    return f"{x} is no running total: it {fault}. {_TOTAL} Other x axes: {instead}."


def _names(histories: Sequence[History]) -> str:
    names = [cut(history.run.name or history.id) for history in histories]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
