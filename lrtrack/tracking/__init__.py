"""`track()`: where the parts meet.

options.py   what the user asked for, checked before any training
run.py       the open run: what `with … as run` gives
block.py     entering and leaving the `with` block
"""

from lrtrack.tracking.block import track
from lrtrack.tracking.run import TrackedRun

__all__ = ["TrackedRun", "track"]
