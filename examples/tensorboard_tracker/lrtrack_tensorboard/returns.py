"""Returns of a training to an earlier step, noted with its run: event files keep every point."""

from dataclasses import replace

from lrtrack.trackers import Rewind, Run
from lrtrack_tensorboard.events import Stored


def rewound(stored: Stored, own: Run, rewind: Rewind) -> tuple[Run, float]:
    """The run with a return, and the time from which on its points count; idempotent."""
    run = stored.run() or own
    if any(r.step == rewind.step and r.time >= rewind.time for r in run.rewinds):
        return run, max(r.time for r in run.rewinds)  # the delivery has begun again
    # The stored points may come from a machine whose clock is ahead.
    latest = max((when for *_, when in stored.points), default=0.0)
    rewind = replace(rewind, time=max(rewind.time, latest + 1e-3))
    return run.rewound(rewind), rewind.time


def with_noted(run: Run, stored: Stored) -> Run:
    """The run with the returns that were noted before."""
    noted = stored.run()
    for rewind in noted.rewinds if noted else ():
        run = run.rewound(rewind)
    return run
