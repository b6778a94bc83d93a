"""LR025: steps of very different length."""

from __future__ import annotations

from lrtrack.stats.diagnose.rule import Diagnosis, RunFacts, diagnosis, share
from lrtrack.stats.diagnose.thresholds import LONG, LONG_SHARE, LONG_STEPS, LOST, SHORT


def stalled(run: RunFacts) -> Diagnosis | None:
    """LR025: some steps take far longer than the others, as if they waited for data."""
    stalls = run.statistics.evidence.intervals.stalls()
    if stalls is None or stalls.count < max(LONG_STEPS, LONG_SHARE * stalls.known):
        return None
    if stalls.median < SHORT or stalls.lost < LOST * stalls.seconds:
        return None
    return diagnosis(
        "LR025",
        f"{share(stalls.count, stalls.known)} of the steps ({stalls.count:,} of {stalls.known:,}) "
        f"took over {LONG:.0f} times as long as the median of {_seconds(stalls.median)}, without "
        f"any regularity; the slowest hundredth took at least {_seconds(stalls.slow)}. They cost "
        f"{share(round(1000 * stalls.lost), round(1000 * stalls.seconds))} of the time.",
        "the training probably waits for data, or for processors that other programs use: use more "
        "DataLoader workers (num_workers, prefetch_factor), keep them between epochs "
        "(persistent_workers=True), or move the files to a faster disk",
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1000.0 * seconds:.2g} ms"


OF_TRAINING = EARLY = (stalled,)
