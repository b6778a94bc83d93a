"""The thresholds above which a finding is reported, each with its reason."""

from __future__ import annotations

#: Optimizer steps. A run of fewer than `HANDFUL` is a trial and shows no habit of its loop. Below
#: `FEW`, neither shares of steps nor the used part of a schedule are reported.
HANDFUL, FEW = 5, 20
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
#: LR007: many recipes clip almost every step on purpose, to a norm that is a few times too small,
#: and with optimizers such as Adam that changes little. More than `HARD` times, in most steps, is
#: usually a limit for another loss, or gradients that a scaler has not unscaled yet.
CLIPPED, HARD = 0.5, 10.0
#: LR009: single spikes come with unusual batches; several, in more than a thousandth of the steps,
#: or one this large, are reported. Norms far below the highest so far are noise around an optimum.
SPIKES, SPIKE_SHARE, HUGE, FAINT = 3, 1e-3, 100.0, 1e-3
#: LR011: after this many calls, a plateau schedule is expected to have acted if its metric has
#: improved since the first half of them by less than this share.
CALLS, STAGNANT = 10, 0.01
#: LR002: a length that is within this factor of the number of optimizer steps counts them, and not
#: epochs.
NEAR = 1.25
#: LR012: a schedule that ends about where it is used up is as long as it should be, whatever the
#: number of its steps for each optimizer step: it counts micro-batches.
USED_WHOLLY = 0.9
#: LR026: a gradient scaler begins with a scale that is too large, and skips a few steps until it
#: fits; later it tries a larger one every 2,000 steps.
SKIPPED = 0.1
#: LR012: share of optimizer steps before which the scheduler made several steps at once. Skipped
#: optimizer steps and a loaded checkpoint cause a few of these.
REPEATED = 0.5
#: LR030: a change of the rate, as a share of its peak, and as a multiple of the largest other
#: change between two records.
JUMP, USUAL = 0.01, 2.0
