"""The figures that a comparison's result is made of, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lrtrack.fields import JSON

#: The verdict on a schedule against the best one or the baseline: it is that schedule; the means
#: are equal; no spread is known that a difference could be judged by; the difference is within the
#: spread, or beyond it; at least half of the runs diverged; or there is no value to test.
Verdict = Literal[
    "best", "baseline", "tie", "too-few-runs", "indistinguishable", "better", "worse", "diverged",
    "none",
]  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """One quantity over the runs of a schedule; runs without a value are excluded.

    Attributes:
        mean: None if no run has a value.
        std: sample standard deviation (ddof 1); None below 2 values.
        ci95: 95 % confidence interval of the mean; None below 2 values and without any spread.
        values: one per run, in the order of `ScheduleSummary.run_ids`; None for a run that diverged
            or lacks the metric.
        iqm: interquartile mean, the mean of the middle half of the values (Agarwal et al., 2021);
            None below 4 values.
    """

    mean: float | None
    std: float | None
    median: float | None
    ci95: tuple[float, float] | None
    min: float | None
    max: float | None
    values: tuple[float | None, ...]
    iqm: float | None = None


@dataclass(frozen=True)
class Reach:
    """How many runs reached the target, and the Kaplan-Meier median of when they did.

    Attributes:
        resolution: where the metric is not recorded at each step, a run has reached the target
            between two records. It then counts in their middle, and this is half of their distance,
            the median over runs. None for a metric of every step.
    """

    reached: int
    median: float | None
    resolution: float | None = None


@dataclass(frozen=True)
class MetricReach(Reach):
    """The same on an x axis that the runs log themselves.

    Attributes:
        metric: the metric that is the axis, or `epoch`.
        runs: how many runs have it.
    """

    metric: str = ""
    runs: int = 0


@dataclass(frozen=True)
class Effect:
    """The difference of a schedule's final value to that of the best one, or of the baseline.

    Attributes:
        difference: of the means, adjusted for the seeds that the schedules share.
        ci95: its interval; those of all schedules hold at once in 95 % of cases.
        p: of the hypothesis that there is no difference, corrected for all comparisons.
    """

    difference: float
    ci95: tuple[float, float]
    p: float


@dataclass(frozen=True)
class Procedure:
    """How schedules were compared.

    Attributes:
        name: `tukey` (against the best), `dunnett` (against a baseline) or `sequential`; None where
            no spread is known.
        scale: `linear`, or one of logarithms: see `lrtrack.stats.scale`.
        seeds: how many seeds pair the runs; 0 where they are not paired.
        sigma: the residual standard deviation on that scale, pooled over schedules.
        df: its degrees of freedom.
        own_spread: the largest weight that a schedule's own spread has beside the common one, from
            0 (all share one) to 1 (some spread plainly more), see `lrtrack.stats.shared_spread`.
    """

    name: Literal["tukey", "dunnett", "sequential"] | None
    scale: str
    seeds: int
    sigma: float | None
    df: float
    own_spread: float


#: The procedure where there is nothing to compare.
NOT_COMPARED = Procedure(None, "linear", 0, None, 0.0, 0.0)


@dataclass(frozen=True)
class Trial:
    """One value of a tuned setting: how many runs there are, and the mean of those that ended."""

    value: JSON
    runs: int
    diverged: int
    mean: float | None


@dataclass(frozen=True)
class Tuning:
    """How the value of a setting was chosen at which a schedule is compared.

    Attributes:
        field: the setting.
        value: the best of its values.
        tried: all values, in ascending order.
        chosen_on: the seeds that chose it and do not count otherwise; empty if all runs did both.
        optimistic: whether the same runs chose the value and are compared.
        expected_best: the expected best of k = 1, 2, … values drawn at random.
    """

    field: str
    value: JSON
    tried: tuple[Trial, ...]
    chosen_on: tuple[int, ...]
    optimistic: bool
    expected_best: tuple[float, ...]


@dataclass(frozen=True)
class TaskScore:
    """A schedule on one task.

    Attributes:
        runs: how many runs it has there.
        mean: of the final values, in the metric's unit; None without any.
        score: the mean relative to that of the best schedule on the task, which has 1.
        target: the task's target; None without one.
        steps_to_target: when its runs on the task reached the target; None without a target.
        seconds_to_target: the same in seconds.
        x_to_target: the same on the x axis; None without a target or such an axis.
    """

    task: str
    runs: int
    mean: float | None
    score: float | None
    target: float | None = None
    steps_to_target: Reach | None = None
    seconds_to_target: Reach | None = None
    x_to_target: MetricReach | None = None


@dataclass(frozen=True)
class TargetScore:
    """How soon a schedule reaches the targets of all tasks, relative to the fastest schedule.

    Attributes:
        score: the area under the profile from 1 to `lrtrack.stats.targets.SLOWEST`, as a share of
            the largest possible: 1 for the fastest schedule on every task.
        ratios: for each task with a target, the schedule's time as a multiple of the fastest
            schedule's; None where fewer than half of its runs reached the target.
        profile: the shares of these tasks whose ratio is at most each of
            `lrtrack.stats.targets.RATIOS`.
    """

    score: float
    ratios: tuple[float | None, ...]
    profile: tuple[float, ...]


@dataclass(frozen=True)
class Aggregate:
    """A schedule over all tasks; intervals are by the bootstrap, stratified by task.

    Attributes:
        iqm: the interquartile mean of all scores, with divergence as the worst one; None below 4
            runs, and where divergence reaches into the middle half.
        optimality_gap: by how much runs miss the score 1 on average, where better ones count as
            reaching it; None if a run diverged, as its gap has no bound.
        rank: the mean rank over tasks, from 1.
        profile: the shares of runs whose score is better than each of
            `lrtrack.stats.aggregates.PROFILE`.
        steps_to_target: how soon the schedule reaches the targets, by steps; None without a target.
        seconds_to_target: the same by seconds.
        x_to_target: the same on the x axis; None without a target or such an axis.
    """

    iqm: float | None
    iqm_ci95: tuple[float, float] | None
    optimality_gap: float | None
    optimality_gap_ci95: tuple[float, float] | None
    rank: float
    rank_ci95: tuple[float, float]
    profile: tuple[float, ...]
    steps_to_target: TargetScore | None = None
    seconds_to_target: TargetScore | None = None
    x_to_target: TargetScore | None = None


@dataclass(frozen=True)
class GradNorm:
    """Statistics of the finite gradient norms over all steps of all runs of a schedule."""

    median: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True)
class Notice:
    """A warning about something that makes a comparison less fair than it looks."""

    code: str
    message: str
