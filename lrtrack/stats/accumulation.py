"""Mean losses of incomplete accumulation groups, from `loss` and `loss_count`.

A loop that accumulates over k batches calls `backward()` on `loss / k`. At the end of an epoch
fewer batches may be left. The recorded sum is then smaller than their mean, and `loss_count` is the
number of calls behind it. Every summary of a loss corrects it here first.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History

Floats = NDArray[np.float64]

LOSS, COUNT = "loss", "loss_count"
#: This many steps in a row with one count are no incomplete groups but the loop's own rhythm.
_PHASE = 3


def mean_losses(losses: Floats, counts: Floats | None) -> Floats:
    """Return the losses, with those of unusual groups scaled by the usual count over their own.

    The usual count is the most common one, the larger of two equally common ones. If the counts
    change for a while (k grows in the course of a training), each phase keeps its own.

    Args:
        losses: shape (n,), in step order.
        counts: shape (n,): backward calls behind each loss. If it is NaN or 0, the count is unknown
            or the loss is the user's own, and the loss stays unchanged. None: all are unknown.

    Returns:
        Shape (n,); `losses` itself if nothing has to be corrected.
    """
    if counts is None:
        return losses
    counted = np.flatnonzero(np.isfinite(counts) & (counts > 0.0))
    own = counts[counted]
    if counted.size < 2 or (own == own[0]).all():
        return losses
    odd, reference = _odd(own)
    corrected = np.array(losses, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        corrected[counted[odd]] *= reference[odd] / own[odd]
    return corrected


def several_losses(metrics: Collection[str], prefix: str) -> bool:
    """Whether several optimizers have losses of their own, so that counts tell nothing of batches.

    Args:
        metrics: the names of a run's metrics.
        prefix: precedes them.
    """
    rates = (name for name in metrics if name.startswith(f"{prefix}lr/"))
    return any(f"{prefix}{LOSS}/{rate.removeprefix(f'{prefix}lr/')}" in metrics for rate in rates)


def _odd(counts: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Return which counts belong to unusual groups, and the usual count at each position."""
    values, often = np.unique(counts, return_counts=True)
    usual = values[often == often.max()].max()
    starts = np.flatnonzero(np.concatenate(([True], counts[1:] != counts[:-1])))
    lengths = np.diff(np.append(starts, counts.size))
    own = counts[starts]
    odd = (own != usual) & (lengths < _PHASE)
    regular_before = np.concatenate(([False], ~odd[:-1]))
    regular_after = np.concatenate((~odd[1:], [False]))
    reference = np.where(regular_after, np.append(own[1:], usual), usual)
    reference = np.where(regular_before, np.concatenate(([usual], own[:-1])), reference)
    return np.repeat(odd, lengths), np.repeat(reference, lengths)


def series(history: History, metric: str) -> tuple[NDArray[np.int64], Floats]:
    """Like `History.series`, but each loss is the mean over its step's batches."""
    name = history.name_of(metric)
    if name is None:
        return history.series(metric)
    rows = history.present[name]
    return history.steps[rows], column(history, name)[rows]


def column(history: History, name: str) -> Floats:
    """Return the column `name` of a history, shape (n,), with losses as in `series`."""
    prefix = history.run.prefix
    values, count = history.metrics[name], f"{prefix}{COUNT}"
    if name != f"{prefix}{LOSS}" or count not in history.metrics:
        return values
    if several_losses(history.metrics, prefix):
        return values
    both = history.present[name] & history.present[count]
    return mean_losses(values, np.where(both, history.metrics[count], np.nan))
