"""What a comparison is: plain frozen values, one to one with `compare --format json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from lrtrack.fields import JSON, plain
from lrtrack.stats.summary import Mode, RunSummary

if TYPE_CHECKING:
    from lrtrack.records import History

#: What the runs say of a schedule against the best or the baseline: it is that one itself, its mean
#: is the same, no p-value could have fallen under 0.05, none did, one did, or it has no value.
Verdict = Literal[
    "best", "baseline", "tie", "too-few-runs", "indistinguishable", "better", "worse", "none"
]

#: Version of the mapping that `ComparisonResult.to_dict` gives.
FORMAT = 1


@dataclass(frozen=True)
class Spread:
    """One figure over the runs of a schedule; the statistics leave out what has no value.

    Attributes:
        mean: None where no run has a value.
        std: sample standard deviation (ddof 1); None under 2 values.
        ci95: 95 % confidence interval of the mean; None under 3 values.
        values: one a run, in the order of `ScheduleSummary.run_ids`; None for a run that diverged
            or lacks the metric.
        iqm: interquartile mean, of the middle half of the values (Agarwal et al., 2021); None
            under 4 values.
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
    """How many runs reached the target, and the Kaplan-Meier median of when."""

    reached: int
    median: float | None


@dataclass(frozen=True)
class GradNorm:
    """Gradient norms over all steps of all runs of a schedule, finite ones only."""

    median: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True)
class Notice:
    """Something that makes a comparison less fair than it looks."""

    code: str
    message: str


@dataclass(frozen=True)
class ScheduleSummary:
    """All runs of one schedule, or of one value of what was grouped by.

    Attributes:
        rank: from 1, the best; runs that diverged count as worse than any value. Schedules whose
            means are equal but for rounding share a rank, and the next one is left out.
        schedule: the schedule's name; several, comma-joined, where the group mixes them.
        id: the schedule's id; None where the group mixes schedules.
        label: what tells this group from the others, for people.
        params: the schedule's parameters; where the group mixes schedules, those all share.
        runs: all runs, with those that diverged or have not finished.
        steps: optimizer steps of a run, the (low) median over the runs.
        final: each run's mean over the last 5 % of the metric's records.
        best: each run's best value.
        lr_peak: the largest learning rate that any run used.
        steps_per_second: median over the runs.
        p_vs_best: Holm-corrected; None for the best (or baseline) itself and where either side
            has under 2 runs.
        indistinguishable_from_best: True unless `p_vs_best` is under 0.05.
        run_ids: in the order of the seeds.
        seeds: one a run, in the order of `run_ids`.
        p_improvement: how probable it is that a run of this schedule is better than one of the
            best (or baseline), ties counting half (Agarwal et al., 2021); None for that one
            itself and where either side has no run to compare.
        verdict: what all this says against the best (or baseline).
        log_area: mean of the runs' `RunSummary.log_area`; None where one has none.
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


@dataclass(frozen=True)
class ComparisonResult:
    """Schedules side by side, best first.

    Attributes:
        baseline: label of the schedule that `p_vs_best` compares with; None: the best.
        diagnoses: `{"code", "run_id", "message", "hint"}` each.
        runs: each run's own figures, schedule by schedule and in the order of `run_ids`.
        histories: the runs themselves, with their steps, in the same order; no part of `to_dict`.
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
        """`runs`, parted as `schedules` are."""
        ends = accumulate(item.runs for item in self.schedules)
        return [
            self.runs[end - item.runs : end] for item, end in zip(self.schedules, ends, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """A strict-JSON mapping; `"baseline"` is in it only where one was chosen."""
        data = {"format": FORMAT, **asdict(replace(self, runs=(), histories=()))}
        del data["histories"]
        data["runs"] = [run.to_dict() for run in self.runs]
        if self.baseline is None:
            del data["baseline"]
        return dict(plain(data))
