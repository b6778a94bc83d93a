"""The result of a comparison as plain frozen values, one to one with `compare --format json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lrtrack.fields import JSON, plain
from lrtrack.schedules.schedule import DECLARED
from lrtrack.stats.figures import (
    NOT_COMPARED,
    Aggregate,
    Effect,
    GradNorm,
    MetricReach,
    Notice,
    Procedure,
    Reach,
    Spread,
    TaskScore,
    Tuning,
    Verdict,
)
from lrtrack.stats.rulers import STEP, TIME
from lrtrack.stats.summary import Mode, RunSummary
from lrtrack.stats.targets import Target

if TYPE_CHECKING:
    from lrtrack.records import History

#: The version of the mapping that `ComparisonResult.to_dict` returns.
FORMAT = 2


@dataclass(frozen=True)
class ScheduleSummary:
    """All runs of one schedule, or of one value of the grouping fields.

    Attributes:
        rank: 1 is the best by the median over runs, where a diverged run is worse than any value,
            then by the mean of those that ended. Schedules in which both differ only by rounding
            share a rank, and the following ranks are skipped.
        schedule: the schedule's name; several, comma-joined, if the group mixes them.
        id: the schedule's id; None if the group mixes schedules.
        label: a text that tells this group from the others.
        params: the schedule's parameters; if the group mixes schedules, those they share.
        runs: the number of runs, including those that diverged or have not finished.
        diverged: how many of them diverged.
        unfinished: how many of them have not finished.
        steps: optimizer steps per run, the (low) median over the runs.
        final: each run's mean over the last 5 % of the metric's records; runs that diverged or have
            not finished are excluded, the latter unless they were asked for.
        best: each run's best value.
        lr_peak: the largest learning rate that any run used.
        steps_per_second: median over the runs.
        ci95_method: how `final.ci95` was computed, see `lrtrack.stats.intervals.Interval`.
        vs_best: the difference to the best schedule (or the baseline); None for that schedule
            itself and where no spread is known.
        p_vs_best: the `p` of `vs_best`.
        could_be_best: whether this schedule may be as good as the best one: it is not shown to be
            worse, and most of its runs did not diverge.
        indistinguishable_from_best: the same as `could_be_best`.
        seeds_to_tell: how many seeds of each schedule would show this difference with 80 % power;
            None where it is shown already, is 0, or cannot be judged.
        run_ids: in the order of the seeds.
        seeds: one per run, in the order of `run_ids`.
        p_improvement: the probability that a run of this schedule is better than one of the best
            (or baseline), ties counting half (Agarwal et al., 2021); None for that schedule itself
            and if either side has no run to compare.
        p_improvement_ci95: its 95 % interval.
        verdict: the conclusion against the best (or baseline).
        log_area: mean of the runs' `RunSummary.log_area`; None if any run has none.
        optimistic: whether new runs would probably end worse than this mean: it is the best of many
            equally good schedules, or was tuned on these runs.
        tuning: how the value of the tuned setting was chosen; None without `tune`.
        tasks: the schedule on each task, if there are several; `final` then holds scores relative
            to the best schedule of each task.
        across: its aggregates over tasks; None without several.
        equivalent: whether `vs_best.ci95` lies within the margin; None without a margin.
        x_to_target: when runs reached the target on the x axis, if that is a metric or the epoch;
            otherwise None.
        source: `"inferred"` if the schedule was found from the learning rates, else `"declared"`.
    """

    rank: int
    schedule: str
    id: str | None
    label: str
    params: Mapping[str, JSON]
    runs: int
    diverged: int
    unfinished: int
    steps: int
    final: Spread
    best: Spread
    steps_to_target: Reach
    seconds_to_target: Reach
    lr_peak: float | None
    grad_norm: GradNorm
    steps_per_second: float | None
    p_vs_best: float | None
    indistinguishable_from_best: bool
    run_ids: tuple[str, ...]
    seeds: tuple[int | None, ...] = ()
    p_improvement: float | None = None
    verdict: Verdict = "none"
    log_area: float | None = None
    source: str = DECLARED
    ci95_method: str | None = None
    vs_best: Effect | None = None
    could_be_best: bool = True
    seeds_to_tell: int | None = None
    p_improvement_ci95: tuple[float, float] | None = None
    optimistic: bool = False
    equivalent: bool | None = None
    tuning: Tuning | None = None
    tasks: tuple[TaskScore, ...] = ()
    across: Aggregate | None = None
    x_to_target: MetricReach | None = None


@dataclass(frozen=True)
class ComparisonResult:
    """The numbers of a comparison: schedules, best first, with their runs.

    Attributes:
        baseline: label of the schedule that `vs_best` compares with; None: the best.
        target: one value for all runs, or one for each task.
        margin: the difference up to which schedules count as equivalent; None: not asked for.
        test: how the schedules were compared.
        task: the field that names the tasks; None if all runs are of one.
        diagnoses: mappings with the keys `code`, `run_id`, `message` and `hint`.
        runs: the statistics of each run, by schedule and in the order of `run_ids`.
        histories: the runs with their steps, in the same order; not part of `to_dict`.
        x: the x axis of its curves: `step`, `time`, `epoch` or a metric; not part of `to_dict`.
        noun: what its rows are called: `schedule`, or `group` if runs are grouped by other fields;
            not part of `to_dict`.
    """

    experiment: str | None
    metric: str
    mode: Mode
    target: Target | None
    schedules: tuple[ScheduleSummary, ...]
    diagnoses: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[Notice, ...] = ()
    baseline: str | None = None
    margin: float | None = None
    task: str | None = None
    test: Procedure = NOT_COMPARED
    runs: tuple[RunSummary, ...] = field(default=(), repr=False, compare=False)
    histories: tuple[History, ...] = field(default=(), repr=False, compare=False)
    x: str = "step"
    noun: str = "schedule"

    def by_schedule(self) -> list[tuple[RunSummary, ...]]:
        """The runs of each schedule, in the order of `schedules`."""
        ends = accumulate(item.runs for item in self.schedules)
        return [
            self.runs[end - item.runs : end] for item, end in zip(self.schedules, ends, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """A strict-JSON mapping.

        `"baseline"`, `"margin"` and `"task"` are there only if given, and `"x_to_target"` only if
        the x axis is a metric or the epoch.
        """
        data = {"format": FORMAT, **asdict(replace(self, runs=(), histories=()))}
        del data["histories"], data["x"], data["noun"]
        for item in data["schedules"] if self.x in (STEP, TIME) else ():
            for figures in (item, item["across"] or {}, *item["tasks"]):
                figures.pop("x_to_target", None)
        data["runs"] = [run.to_dict() for run in self.runs]
        for name in ("baseline", "margin", "task"):
            if data[name] is None:
                del data[name]
        return dict(plain(data))
