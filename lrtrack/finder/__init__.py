"""`find_lr()`: the learning-rate range test.

sweep.py      the loop: one batch a learning rate, and everything as it was afterwards
asked.py      what the user asked for, checked before anything moves
snapshot.py   remembering and putting back
suggest.py    learning rates out of the curve
result.py     what the user gets
"""

from lrtrack.finder.range_test import find_lr
from lrtrack.finder.result import LRFinderResult

__all__ = ["LRFinderResult", "find_lr"]
