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
#: are equal; p < 0.05 was out of reach, not reached, or reached; or there is no value to test.
Verdict = Literal[
    "best", "baseline", "tie", "too-few-runs", "indistinguishable", "better", "worse", "none"
]

#: The version of the mapping that `ComparisonResult.to_dict` returns.
FORMAT = 1


@dataclass(frozen=True)
class Spread:
    """One quantity over the runs of a schedule; runs without a value are excluded.

    Attributes:
        mean: None if no run has a value.
        std: sample standard deviation (ddof 1); None below 2 values.
        ci95: 95 % confidence interval of the mean; None below 3 values.
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
    """How many runs reached the target, and the Kaplan-Meier median of when they did."""

    reached: int
    median: float | None


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
        rank: 1 is the best; runs that diverged count as worse than any value. Schedules whose means
            differ only by rounding share a rank, and the following ranks are skipped.
        schedule: the schedule's name; several, comma-joined, if the group mixes them.
        id: the schedule's id; None if the group mixes schedules.
        label: a text that tells this group from the others.
        params: the schedule's parameters; if the group mixes schedules, those they share.
        runs: the number of runs, including those that diverged or have not finished.
        diverged: how many of them diverged.
        unfinished: how many of them have not finished.
        steps: optimizer steps per run, the (low) median over the runs.
        final: each run's mean over the last 5 % of the metric's records.
        best: each run's best value.
        lr_peak: the largest learning rate that any run used.
        steps_per_second: median over the runs.
        p_vs_best: Holm-corrected; None for the best (or baseline) itself and if either side has
            fewer than 2 runs.
        indistinguishable_from_best: True unless `p_vs_best` is below 0.05.
        run_ids: in the order of the seeds.
        seeds: one per run, in the order of `run_ids`.
        p_improvement: the probability that a run of this schedule is better than one of the best
            (or baseline), ties counting half (Agarwal et al., 2021); None for that schedule itself
            and if either side has no run to compare.
        verdict: the conclusion against the best (or baseline).
        log_area: mean of the runs' `RunSummary.log_area`; None if any run has none.
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


@dataclass(frozen=True)
class ComparisonResult:
    """The numbers of a comparison: schedules, best first, with their runs.

    Attributes:
        baseline: label of the schedule that `p_vs_best` compares with; None: the best.
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
    runs: tuple[RunSummary, ...] = field(default=(), repr=False, compare=False)
    histories: tuple[History, ...] = field(default=(), repr=False, compare=False)

    def by_schedule(self) -> list[tuple[RunSummary, ...]]:
        """The runs of each schedule, in the order of `schedules`."""
        ends = accumulate(item.runs for item in self.schedules)
        return [
            self.runs[end - item.runs : end] for item, end in zip(self.schedules, ends, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """A strict-JSON mapping; it has the key `"baseline"` only if one was chosen."""
        data = {"format": FORMAT, **asdict(replace(self, runs=(), histories=()))}
        del data["histories"]
        data["runs"] = [run.to_dict() for run in self.runs]
        if self.baseline is None:
            del data["baseline"]
        return dict(plain(data))
