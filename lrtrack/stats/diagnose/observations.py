"""What only the training process can know of a block."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """Small facts beside the records; of the block that has just ended, not of earlier ones.

    Attributes:
        steps: optimizer steps that ran in the block.
        total: optimizer steps of the run, with those before it was resumed.
        begun, position: how many steps the scheduler counts at the begin and at the end of the
            block; None where it counts none that can be read.
        used: what it counted when the last optimizer step began.
        moves: optimizer steps before which it had moved since the step before.
        repeated: how often by several steps at once, and `factor` by how many, mostly.
        rested: optimizer steps since it last moved.
        early: its steps before the optimizer's first ever.
        unreached: names of the param groups that never had a gradient in the block, and want one.
        loss_wanted: whether losses were to be captured.
        world_size: processes that train together.
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
    unreached: tuple[str, ...] = ()
    loss_wanted: bool = True
    world_size: int = 1
