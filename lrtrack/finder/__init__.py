"""`find_lr()`: the learning-rate range test.

range_test.py  `find_lr()`: one batch per learning rate, then everything is restored
validation.py  checks of the arguments, before anything is changed
snapshot.py    saves and restores the state of a training
suggest.py     learning rates from the curve
result.py      `LRFinderResult`
"""

from lrtrack.finder.range_test import find_lr
from lrtrack.finder.result import LRFinderResult

__all__ = ["LRFinderResult", "find_lr"]
