"""Mean losses of incomplete accumulation groups, out of `loss` and `loss_count`.

A loop that accumulates over k batches calls `backward()` on `loss / k`. At the end of an epoch
fewer batches may be left: the recorded sum is then less than their mean, and `loss_count` says of
how many calls it is the sum. Everything that summarises a loss corrects it here first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrtrack.records import History

Floats = NDArray[np.float64]

LOSS, COUNT = "loss", "loss_count"
#: So many steps in a row with one count are no incomplete groups: the loop accumulates so.
_PHASE = 3


def mean_losses(losses: Floats, counts: Floats | None) -> Floats:
    """The losses, those of unusual groups scaled by the usual count over their own.

    The usual count is the most common one, the larger of two that are equally common. Where the
    counts change for a while (k grows in the course of a training), each phase keeps its own.

    Args:
        losses: shape (n,), in step order.
        counts: shape (n,): backward calls behind each loss; NaN or 0 where that is not known or
            the loss is the user's own, which is then left alone. None: known of none.

    Returns:
        Shape (n,); `losses` itself where nothing is to be corrected.
    """
    if counts is None:
        return losses
    known = np.flatnonzero(np.isfinite(counts) & (counts > 0.0))
    own = counts[known]
    if known.size < 2 or (own == own[0]).all():
        return losses
    odd, reference = _odd(own)
    corrected = np.array(losses, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        corrected[known[odd]] *= reference[odd] / own[odd]
    return corrected


def _odd(counts: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which counts are those of unusual groups, and what would have been usual there."""
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
    """As `History.series`, with a loss as the mean over each step's batches."""
    name = history.name_of(metric)
    if name is None:
        return history.series(metric)
    rows = history.present[name]
    return history.steps[rows], column(history, name)[rows]


def column(history: History, name: str) -> Floats:
    """The column `name` of a history, shape (n,), with a loss as in `series`."""
    prefix = history.run.prefix
    values, count = history.metrics[name], f"{prefix}{COUNT}"
    if name != f"{prefix}{LOSS}" or count not in history.metrics:
        return values
    known = history.present[name] & history.present[count]
    return mean_losses(values, np.where(known, history.metrics[count], np.nan))
