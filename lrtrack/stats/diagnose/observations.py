"""Facts about a block that only the training process can observe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrtrack.stats.diagnose.rate_jumps import RateJump
    from lrtrack.stats.diagnose.rate_source import RateMismatch


@dataclass(frozen=True)
class Unobserved:
    """What happened in a block after the tracked optimizer's last step, or without any.

    Attributes:
        optimizer: the tracked optimizer's class name.
        others: class name of other optimizers → the steps that they made.
        optimizers: how many other optimizers made steps.
        in_backward: whether they did so inside `backward()`.
        compiled: whether torch compiled a step of the tracked optimizer.
        captured: whether a CUDA graph captured one.
        hidden: compiled steps and replays of such graphs that are known to have followed the last
            step that was seen; compiled ones are counted only a few times a second.
        shares: whether one of the others has a parameter of the tracked optimizer.
        engine: the name of an imported engine that makes steps itself; empty if there is none.
        backward_calls: `backward()` calls without a step, where they are more than usual.
        scheduler_steps: steps of the scheduler in the block, where it counts them.
    """

    optimizer: str = ""
    others: Mapping[str, int] = field(default_factory=dict)
    optimizers: int = 0
    in_backward: bool = False
    compiled: bool = False
    captured: bool = False
    hidden: int = 0
    engine: str = ""
    shares: bool = False
    backward_calls: int = 0
    scheduler_steps: int = 0


@dataclass(frozen=True)
class Observations:
    """Facts beside the records, about the block that has just ended and not about earlier ones.

    Attributes:
        steps: optimizer steps that ran in the block.
        total: optimizer steps of the run, with those before it was resumed.
        begun, position: the scheduler's step count when the block begins and when it ends; None
            if it has no count that can be read.
        used: the scheduler's step count when the last optimizer step began.
        moves: optimizer steps before which the scheduler had moved since the previous one.
        repeated: how many of those moves were several steps at once; `factor`: of how many
            steps, most often.
        rested: optimizer steps since the scheduler last moved.
        early: scheduler steps before the optimizer's very first step.
        skipped: steps that a gradient scaler skipped.
        by_hand: whether the user recorded the steps, because no hook sees them.
        unobserved: what happened without steps of the tracked optimizer.
        unreached: names of the param groups that require gradients and got none in the block.
        loss_wanted: whether losses were to be captured.
        taken: steps whose loss counts at an earlier step, as that of another block.
        world_size: processes that train together.
        jumps: large changes of the learning rate where the run was continued.
        mismatch: rates that the scheduler has not set.
        given_rate: the learning rate that the optimizer was created with; None if it is unknown,
            the default of its class, or not that of all parameters.
    """

    steps: int
    total: int
    begun: int | None = None
    position: int | None = None
    used: int = 0
    moves: int = 0
    repeated: int = 0
    factor: int = 1
    rested: int = 0
    early: int = 0
    skipped: int = 0
    by_hand: bool = False
    unobserved: Unobserved = field(default_factory=Unobserved)
    unreached: tuple[str, ...] = ()
    loss_wanted: bool = True
    taken: int = 0
    world_size: int = 1
    jumps: tuple[RateJump, ...] = ()
    mismatch: RateMismatch | None = None
    given_rate: float | None = None
