"""The result of a comparison as plain frozen values, one to one with `compare --format json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from lrtrack.fields import JSON, plain
from lrtrack.schedules.schedule import DECLARED
from lrtrack.stats.summary import Mode, RunSummary

if TYPE_CHECKING:
    from lrtrack.records import History

#: The verdict on a schedule against the best one or the baseline: it is that schedule; the means
#: are equal; no spread is known that a difference could be judged by; the difference is within the
#: spread, or beyond it; at least half of the runs diverged; or there is no value to test.
Verdict = Literal[
    "best", "baseline", "tie", "too-few-runs", "indistinguishable", "better", "worse", "diverged",
    "none",
]  # fmt: skip

#: The version of the mapping that `ComparisonResult.to_dict` returns.
FORMAT = 2


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
        name: `tukey` (against the best), `dunnett` (against a baseline), `games-howell` where
            spreads plainly differ, or `sequential`; None where no spread is known.
        scale: `linear`, or one of logarithms: see `lrtrack.stats.scale`.
        seeds: how many seeds pair the runs; 0 where they are not paired.
        sigma: the residual standard deviation on that scale, pooled over schedules.
        df: its degrees of freedom.
        p_unequal: Bartlett's p-value of equal spreads; None where it cannot be tested.
    """

    name: Literal["tukey", "dunnett", "games-howell", "sequential"] | None
    scale: str
    seeds: int
    sigma: float | None
    df: float
    p_unequal: float | None


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
        equivalent: whether `vs_best.ci95` lies within the margin; None without a margin.
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


@dataclass(frozen=True)
class ComparisonResult:
    """The numbers of a comparison: schedules, best first, with their runs.

    Attributes:
        baseline: label of the schedule that `vs_best` compares with; None: the best.
        margin: the difference up to which schedules count as equivalent; None: not asked for.
        test: how the schedules were compared.
        diagnoses: mappings with the keys `code`, `run_id`, `message` and `hint`.
        runs: the statistics of each run, by schedule and in the order of `run_ids`.
        histories: the runs with their steps, in the same order; not part of `to_dict`.
    """

    experiment: str | None
    metric: str
    mode: Mode
    target: float | None
    schedules: tuple[ScheduleSummary, ...]
    diagnoses: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[Notice, ...] = ()
    baseline: str | None = None
    margin: float | None = None
    test: Procedure = Procedure(None, "linear", 0, None, 0.0, None)
    runs: tuple[RunSummary, ...] = field(default=(), repr=False, compare=False)
    histories: tuple[History, ...] = field(default=(), repr=False, compare=False)

    def by_schedule(self) -> list[tuple[RunSummary, ...]]:
        """The runs of each schedule, in the order of `schedules`."""
        ends = accumulate(item.runs for item in self.schedules)
        return [
            self.runs[end - item.runs : end] for item, end in zip(self.schedules, ends, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """A strict-JSON mapping; it has `"baseline"` and `"margin"` only if they were given."""
        data = {"format": FORMAT, **asdict(replace(self, runs=(), histories=()))}
        del data["histories"]
        data["runs"] = [run.to_dict() for run in self.runs]
        for name in ("baseline", "margin"):
            if data[name] is None:
                del data[name]
        return dict(plain(data))
