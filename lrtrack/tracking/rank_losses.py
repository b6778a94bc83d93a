"""Losses over the processes of a training: `track(…, loss_over="mean")`.

Each process has a thread of its own, which exchanges losses through the process group's store (see
`capture.rank_mail`). The first process holds its rows back until the others have sent their losses
of the same steps, for a limited time: a value that is in a tracker cannot be changed any more.

Steps are matched by how many each process has made since its block began, which a resumed run or a
return to an earlier step does not change.
"""

from __future__ import annotations

import dataclasses
import hashlib

from lrtrack.capture.ensemble import ensemble_of
from lrtrack.capture.optimizers import rank, world_size
from lrtrack.capture.rank_mail import Mailbox
from lrtrack.capture.sharded import is_shared
from lrtrack.records import TRAIN
from lrtrack.tracking.captures import Capture, by_name
from lrtrack.tracking.gathered_losses import GatheredLosses
from lrtrack.tracking.loss_exchange import Alone, Exchange, SentLosses
from lrtrack.tracking.options import Options


def exchange_of(options: Options, capture: Capture) -> Alone:
    """Make the exchange that a block with these options needs in this process."""
    if options.loss_over is None or options.kind != TRAIN or world_size() == 1:
        return Alone()
    parts = ensemble_of(options.optimizer, options.scheduler).parts
    classes = [type(part.optimizer).__name__ for part in parts]
    counts = [len(group["params"]) for part in parts for group in part.optimizer.param_groups]
    kind = hashlib.sha256(repr((options.prefix, classes, counts)).encode()).hexdigest()[:16]
    names = ["loss", *(f"loss/{name}" for name in by_name(capture) if name)]
    exchange: type[Exchange] = GatheredLosses if rank() == 0 else SentLosses
    return exchange(Mailbox(kind), names, options.prefix)


def for_this_rank(options: Options) -> Options:
    """The options of a block in this process, which may only have to send its losses.

    Such a process sends those of all steps. In a resumed run it may not know how many steps there
    were, and so would not know which ones the first process records. Norms are computed for those
    alone, unless parameters are shared: then they are collectives, for which all count alike.
    """
    if options.loss_over is None or options.kind != TRAIN or rank() == 0:
        return options
    parts = ensemble_of(options.optimizer, options.scheduler).parts
    groups = [group for part in parts for group in part.optimizer.param_groups]
    if any(is_shared(parameter) for group in groups for parameter in group["params"]):
        return options
    return dataclasses.replace(options, every=1, norms="off", updates=None)
