"""The thresholds above which a finding is reported, each with its reason."""

from __future__ import annotations

#: Optimizer steps. A run of fewer than `HANDFUL` is a trial and shows no habit of its loop. Below
#: `FEW`, neither shares of steps nor the used part of a schedule are reported.
HANDFUL, FEW = 5, 20
#: Optimizer steps after which something that has never come is missed while the training runs.
MISSED = 100
#: LR002: runs may be ended early, but one that uses less than half of its schedule usually has a
#: schedule that was written for another number of steps.
USED = 0.5
#: LR003: steps past the end of a schedule, as a share of its length, and the smallest number of
#: them: loops often make one step more or less at the end, which hardly moves the rate.
OVER, OVER_STEPS = 0.02, 1
#: LR003, if only the learning rates of a run are known: it is at the bottom of its cosine below the
#: first share of the cosine's range, and has risen again above the second.
BOTTOM, RISEN = 0.01, 0.05
#: LR004: a rate so far below its peak no longer changes a float32 weight (whose last digit is 6e-8
#: of it). A schedule may end there but not stay there. Steps are counted by powers of two of their
#: rate, so the effective threshold is up to a factor of two lower.
NEAR_ZERO, NEAR_ZERO_SHARE = 1e-6, 0.05
#: LR007: clipping that is active in most steps is no safety net but part of the schedule.
CLIPPED = 0.5
#: LR007: clipping is detected by its effect on the norm; smaller differences are rounding.
ROUNDING = 1e-3
#: LR026: a schedule that is over before this share of the training. Many end on purpose at some
#: other share, with a constant rate after it.
ENDS_EARLY = 0.5
#: LR026, LR027: after so many moves of the scheduler its pace is known.
PACED = 3
#: LR009: single spikes come with unusual batches; several, or one this large, are reported.
SPIKES, HUGE = 3, 100.0
#: LR011: after this many calls a plateau schedule that could act is expected to have acted.
CALLS = 10
#: LR012: share of optimizer steps before which the scheduler made several steps at once. Skipped
#: optimizer steps and a loaded checkpoint cause a few of these.
REPEATED = 0.5
#: LR030: a change of the rate, as a share of its peak, and as a multiple of the largest other
#: change between two records.
JUMP, USUAL = 0.01, 2.0
