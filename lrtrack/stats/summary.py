"""Summary statistics of one run for one metric."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History, State, recorded
from lrtrack.stats.accumulation import column
from lrtrack.stats.spikes import spikes

#: Whether small or large values of a metric are good.
Mode = Literal["min", "max"]

#: Share of a metric's records, at the end of a run, whose mean is the final value.
FINAL_SHARE = 0.05
#: Share of a metric's records in the trailing mean that is compared with a target.
TRAILING_SHARE = 0.01

_LARGE_IS_GOOD = re.compile(
    "acc|accuracy|ap|auc|auprc|auroc|bleu|correct|dice|f1|fbeta|iou|jaccard|kappa|map|mcc|miou|mrr"
    "|ndcg|precision|psnr|r2|recall|return|reward|rouge|score|ssim|top1|top5"
)
_SMALL_IS_GOOD = re.compile("brier|cer|cost|err|error|fid|loss|mae|mse|nll|perplexity|ppl|rmse|wer")


@dataclass(frozen=True)
class RunSummary:
    """Summary statistics of one run for one metric.

    Attributes:
        steps: number of recorded optimizer steps.
        recorded: whether the run has the metric at all.
        final: mean of the last 5 % of the metric's records (at least 1).
        best: best finite value; `best_step`: the first step that has it.
        log_area: area under the natural logarithm of the metric over its steps, divided by their
            span: the average height of the curve on a logarithmic axis. None unless all values are
            finite and above 0.
        diverged: whether a loss, or a value of the metric, is NaN or infinite.
        diverged_step: the first such step.
        unfinished: whether the run is still running or failed.
        spikes: steps whose gradient norm is over 10 times the median of the 101 before it.
        steps_per_second: over the whole span from the first step to the last, including the time
            of evaluations between steps.
        target_step: first step at which the trailing mean of the metric reaches the target.
        target_second: time of that step, in seconds after the first step.
        target_gap: steps since the record before it, within which the target was reached; 1 for a
            metric of every step.
        target_gap_seconds: the same in seconds.
        last_second: time of the last step, in seconds after the first.
    """

    run_id: str
    seed: int | None
    steps: int
    recorded: bool
    final: float | None
    best: float | None
    best_step: int | None
    log_area: float | None
    diverged: bool
    diverged_step: int | None
    unfinished: bool
    lr_peak: float | None
    steps_per_second: float | None
    target_step: int | None
    target_second: float | None
    last_second: float
    spikes: int
    target_gap: int | None = None
    target_gap_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a strict-JSON mapping."""
        return dict(vars(self))


def mode_of(metric: str) -> Mode:
    """Guess whether small or large values of `metric` are good, from the words in its name.

    `"max"` for accuracies, scores, F1, AUC and the like; `"min"` for all else, and wherever a
    word such as loss or error is in the name too (`score_loss`, `brier_score`).
    """
    parted = re.sub(r"([a-z])([A-Z][a-z])", r"\1_\2", metric)
    words = re.findall(r"[a-z0-9]+", parted.lower())
    large = any(_LARGE_IS_GOOD.fullmatch(word) for word in words)
    small = any(_SMALL_IS_GOOD.fullmatch(word) for word in words)
    return "max" if large and not small else "min"


def summarise(history: History, metric: str, mode: Mode, target: float | None) -> RunSummary:
    """Summarise one run; if it lacks the metric, its values are None."""
    steps, times, values = _rows(history, metric)
    lr_steps, lr_times, lr = _rows(history, "lr")
    if not lr_steps.size:
        lr_steps, lr_times = history.steps, history.times
    norms = _rows(history, "grad_norm")[2]
    origin = float(lr_times[0]) if lr_times.size else 0.0
    best, at = _best(values, mode)
    hit = None if target is None else _first_reach(values, mode, target)
    lost = _first_not_finite(history, metric)
    before = (-1, origin) if not hit else (int(steps[hit - 1]), float(times[hit - 1]))
    return RunSummary(
        run_id=history.id,
        seed=history.run.seed,
        steps=int(lr_steps[-1]) + 1 if lr_steps.size else 0,
        recorded=bool(values.size),
        final=finite(final_value(values)) if values.size else None,
        best=best,
        best_step=None if at is None else int(steps[at]),
        log_area=_log_area(steps, values),
        diverged=lost is not None,
        diverged_step=lost,
        unfinished=history.state is not State.FINISHED,
        lr_peak=_largest(lr),
        steps_per_second=_rate(lr_steps, lr_times),
        target_step=None if hit is None else int(steps[hit]),
        target_second=None if hit is None else max(0.0, float(times[hit]) - origin),
        last_second=max(0.0, float(history.times[-1]) - origin) if history.times.size else 0.0,
        spikes=int(spikes(norms).sum()),
        target_gap=None if hit is None else int(steps[hit]) - before[0],
        target_gap_seconds=None if hit is None else max(0.0, float(times[hit]) - before[1]),
    )


def worst(mode: Mode) -> float:
    """The value of a run that diverged: worse than any other."""
    return math.inf if mode == "min" else -math.inf


def finite(value: float) -> float | None:
    """Return `value` as a plain float; None if JSON cannot hold it."""
    return float(value) if math.isfinite(value) else None


def _rows(
    history: History, metric: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    name = history.name_of(metric)
    if name is None:
        return history.steps[:0], history.times[:0], history.times[:0]
    steps, times, values = (
        recorded(history, name, rows)
        for rows in (history.steps, history.times, column(history, name))
    )
    return steps, times, values


def final_count(size: int) -> int:
    """Return how many of `size` records the final value averages: the last 5 %, at least 1."""
    return max(1, math.ceil(FINAL_SHARE * size))


def final_value(values: NDArray[np.float64]) -> float:
    """Return the mean of the last 5 % of the values, at least of 1.

    NaN and infinity count as values: the mean is infinite if one value is infinite, and NaN if one
    value is NaN.

    Args:
        values: shape (n,), n > 0, in step order.
    """
    return mean_of_last(values, final_count(values.size))


def loss_metrics(losses: NDArray[np.float64], prefix: str = "") -> dict[str, float]:
    """Return the run-level metrics `loss_final` and `loss_best`.

    `loss_best` is the smallest finite loss, NaN if no loss is finite.

    Args:
        losses: shape (n,), in step order, each the mean over its step's batches.
        prefix: precedes both names.

    Returns:
        Both metrics; empty if there are no losses.
    """
    if not losses.size:
        return {}
    best, _ = _best(losses, "min")
    return {
        f"{prefix}loss_final": final_value(losses),
        f"{prefix}loss_best": math.nan if best is None else best,
    }


def mean_of_last(values: NDArray[np.float64], count: int) -> float:
    """Return the mean of the last `count` values, at least of 1; NaN and infinity count as values.

    Args:
        values: shape (n,), n > 0, in step order.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values[-max(1, count) :].mean())


def _best(values: NDArray[np.float64], mode: Mode) -> tuple[float | None, int | None]:
    usable = np.isfinite(values)
    if not usable.any():
        return None, None
    if not usable.all():
        values = np.where(usable, values, worst(mode))
    at = int(values.argmin() if mode == "min" else values.argmax())
    return float(values[at]), at


def _log_area(steps: NDArray[np.int64], values: NDArray[np.float64]) -> float | None:
    if not values.size or not (values.min() > 0.0 and np.isfinite(values.max())):  # NaN is neither
        return None
    logs = np.log(values)
    span = int(steps[-1] - steps[0])
    if not span:
        return float(logs.mean())
    # The trapezoidal rule; not as a scalar product, for which BLAS would wake its threads.
    return float((np.diff(steps) * (logs[1:] + logs[:-1])).sum() / 2.0 / span)


def _first_not_finite(history: History, metric: str) -> int | None:
    """Return the first step at which the loss or `metric` is NaN or infinite."""
    lost = []
    for name in {"loss", metric}:
        column_name = history.name_of(name)
        if column_name is not None:
            steps, values = (
                recorded(history, column_name, rows)
                for rows in (history.steps, history.metrics[column_name])
            )
            usable = np.isfinite(values)
            if not usable.all():
                lost.append(int(steps[usable.argmin()]))
    return min(lost, default=None)


def _largest(values: NDArray[np.float64]) -> float | None:
    largest = np.max(values, initial=-np.inf, where=np.isfinite(values))
    return float(largest) if np.isfinite(largest) else None


def _rate(steps: NDArray[np.int64], times: NDArray[np.float64]) -> float | None:
    if steps.size < 2 or not times[-1] > times[0]:  # a clock that was set back gives no rate
        return None
    return finite((steps[-1] - steps[0]) / (times[-1] - times[0]))


def _first_reach(values: NDArray[np.float64], mode: Mode, target: float) -> int | None:
    """Return the index of the first record at which the trailing mean reaches `target`."""
    width = math.ceil(TRAILING_SHARE * values.size)
    if not width:
        return None
    usable = np.isfinite(values)
    # Running sums cost the same for every window width. They are relative to the target, because
    # rounding errors are smallest there, where the comparison is decided.
    away = np.where(usable, values - target, 0.0)
    sums = _windowed(away, width)
    clean = _windowed((~usable).astype(np.float64), width) == 0.0
    slack = 1e-12 * float(np.abs(away).sum()) if width > 1 else 0.0
    reached = sums <= slack if mode == "min" else sums >= -slack
    hits = np.flatnonzero(clean & reached)
    return int(hits[0]) + width - 1 if hits.size else None


def _windowed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    if width == 1:
        return values
    sums = np.concatenate(([0.0], np.cumsum(values)))
    return np.asarray(sums[width:] - sums[:-width])
