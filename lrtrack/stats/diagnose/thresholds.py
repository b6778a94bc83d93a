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
#: LR028: a schedule that is over before this share of the training. Many end on purpose at some
#: other share, with a constant rate after it.
ENDS_EARLY = 0.5
#: LR027, LR028: after so many moves of the scheduler its pace is known.
PACED = 3
#: LR027: from so many scheduler steps per optimizer step on, a scheduler is not stepped by epoch.
STEPWISE = 0.5
#: LR012: share of optimizer steps before which the scheduler made several steps at once. Skipped
#: optimizer steps and a loaded checkpoint cause a few of these.
REPEATED = 0.5
#: LR030: a change of the rate, as a share of its peak, and as a multiple of the largest other
#: change between two records.
JUMP, USUAL = 0.01, 2.0
#: LR014: recorded steps, because a schedule for few steps may be meant as it is; a rate that is so
#: low counts as used up; the share of steps in which it was. A schedule for steps may end so low,
#: but a training that spends half of its steps there learns nothing in them.
LONG_ENOUGH, USED_UP, IDLE = 200, 1e-3, 0.5
#: LR014: schedules of at least so large a decay a step are made for epochs (0.99 halves the rate in
#: 69 steps), and so are restarts after so few steps if there are so many of them.
FAST_DECAY, SHORT_CYCLE, RESTARTS = 0.99, 20, 20
#: LR014: the last milestone's place in the training, below which it was not meant in steps.
OVER_EARLY = 0.1
#: LR016: the optimizer's own rate is not used if the schedule's range is far from it. Many
#: trainings create the optimizer with the peak, or with the start, of the schedule.
FAR = 3.0
#: LR019: norms at the start that are needed to tell, at least as the square root of the number of
#: gradients in the sum (they are independent at worst), but not much above their number.
SUMMED, SLOWEST_GROWTH, FASTEST_GROWTH = 40, 0.4, 1.3
#: LR019: the norm of a growing sum changes by about 1/n from the n-th step to the next; those of
#: single batches change by 10 to 50 % at every step.
SMOOTH, SMOOTH_SHARE = 4.0, 0.8
#: LR020, LR021: how far the first loss may be from that of a constant guess, as a factor.
NEAR_GUESS = (0.75, 1.35)
#: LR021: among the first so many losses, one of so many times the first shows that the steps are
#: too large; and so many losses are needed to see whether it recovers, and to exclude that the
#: first one was low by chance.
EARLY_LOSSES, THROWN, ENOUGH_LOSSES = 20, 3.0, 200
#: LR021: a loss that has settled has so little noise, and ends between these multiples of the
#: first, as that of a network that only guesses does.
SETTLED, RECOVERED, NO_BETTER = 0.1, 0.95, 1.5
#: LR021: a loss that has not settled is at all later records above the first by this factor, and no
#: lower than this part of its level. Where it can be lower, the first may have been low by chance.
ABOVE, LOWEST = 1.2, 0.05
#: LR022: a loss that is never lower than where it began by this share, noise included, nor much
#: higher: losses that work against each other wander.
FLAT, RISEN_LITTLE = 0.015, 1.1
#: LR023: the gradient of a layer, as a share of the largest of a layer; networks that train well
#: have a hundredth to a thousandth. The same for the whole gradient and its beginning.
VANISHED, FADED = 1e-5, 1e-4
#: LR025: steps, their seconds, and the seconds of the usual one, below which pauses of the machine
#: itself would be reported: on shared processors, short steps may wait a hundred times as long.
TIMED_STEPS, TIMED_SECONDS, SHORT = 200, 30.0, 0.005
#: LR025: how many times the median is long; how many long steps there have to be, also as a share
#: of all; and the share of the time that they cost.
LONG, LONG_STEPS, LONG_SHARE, LOST = 10.0, 5, 0.01, 0.2
#: LR025: share of the distances between long steps that are equal if they belong to the loop.
REGULAR = 0.4
