"""From where on something is worth telling a user, each with the reason."""

from __future__ import annotations

#: Optimizer steps: under `HANDFUL` a run is a try, and nothing about it can be a habit of its loop;
#: under `FEW` nothing is said about shares of steps, nor about how much of a schedule was used.
HANDFUL, FEW = 5, 20
#: LR002: a run may well be ended early, but one that uses less than half of its schedule is mostly
#: one that was meant for another number of steps.
USED = 0.5
#: LR003: steps past the end of a schedule, as a share of its length, and at least so many: one step
#: more or less at the end is how loops are written, and no rate moves by it.
OVER, OVER_STEPS = 0.02, 1
#: LR003: of a run that no more is known of than its learning rates: at the bottom of its cosine
#: when under the first share of its range, and risen again when above the second.
BOTTOM, RISEN = 0.01, 0.05
#: LR004: a rate so far under its peak moves no float32 weight any more (their last digit is 6e-8 of
#: them); a schedule may end there, but not stay. Found by powers of two, so up to half as strict.
NEAR_ZERO, NEAR_ZERO_SHARE = 1e-6, 0.05
#: LR007: what happens in most steps is no safety net but a part of the schedule.
CLIPPED = 0.5
#: Clipping is seen by what it does to the norm; this much is rounding.
ROUNDING = 1e-3
#: LR009: single spikes come with unusual batches; several, or one so large, are worth a look.
SPIKES, HUGE = 3, 100.0
#: LR011: calls after which it is odd that a plateau schedule never did anything, though it could.
CALLS = 10
#: LR012: of the optimizer steps, the share that has seen several scheduler steps since the last.
#: Skipped steps and a checkpoint that is loaded make a few.
REPEATED = 0.5
