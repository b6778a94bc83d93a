"""`track()`: where the parts meet.

options.py     what the user asked for, checked before any training
block.py       entering and leaving the `with` block
run.py         the open run: what `with … as run` gives
given.py       metrics that the user logs
summing.py     the run's figures so far
diagnosing.py  what the end of the block tells
"""

from lrtrack.tracking.context import track
from lrtrack.tracking.run import TrackedRun

__all__ = ["TrackedRun", "track"]
